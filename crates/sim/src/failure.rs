//! Why a run failed and how to see it again.

use crate::builder::Config;
use crate::choices::Choices;
use crate::replay::Replay;
use crate::trace::TraceLine;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Tasks that a report lists; the rest is counted.
const LISTED: usize = 100;

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The [`always!`](crate::always) with this id was false.
    Assertion(&'static str),
    /// A client, or a host that must not fail, panicked, or an act of the script did.
    Panic,
    /// A client, or a host that must not fail, ended with an error; or a client crashed and was not
    /// started again.
    ClientError,
    /// Nothing can run, nothing will happen, and clients are not done.
    Deadlock,
    /// So many [polls](crate::Builder::livelock_after) in a row moved nothing, or woke the next one
    /// without moving anything.
    Livelock,
    /// The horizon was reached with live clients.
    Horizon,
    /// A host that was done, or asked to stop, still has tasks, sockets, timers, jobs or paths; see
    /// [`Builder::ignore_leaks`](crate::Builder::ignore_leaks).
    Leak,
    /// The world was described or acted upon in a way that makes no sense: the message names the
    /// cause.
    Setup,
    /// Something from outside the world reached in: no run could repeat it.
    Nondeterminism,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureKind::Assertion(id) => write!(f, "assertion {id:?} failed"),
            FailureKind::Panic => f.write_str("panic"),
            FailureKind::ClientError => f.write_str("error"),
            FailureKind::Deadlock => f.write_str("deadlock"),
            FailureKind::Livelock => f.write_str("livelock"),
            FailureKind::Horizon => f.write_str("horizon reached"),
            FailureKind::Leak => f.write_str("leak"),
            FailureKind::Setup => f.write_str("impossible world"),
            FailureKind::Nondeterminism => f.write_str("nondeterminism"),
        }
    }
}

/// What one live task did when the run failed: it ran, or waited for something.
#[derive(Clone, Debug)]
pub struct WaitLine {
    pub(crate) host: String,
    pub(crate) task: u32,
    pub(crate) location: &'static Location<'static>,
    pub(crate) waits: String,
    pub(crate) since: u64,
    pub(crate) running: bool,
}

impl WaitLine {
    /// Name of the task's host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where the task was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Whether it ran: the failure is its own, or happened while it was polled.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// What it waits for, in words; of a task that ran, what it last waited for.
    pub fn waits_for(&self) -> &str {
        &self.waits
    }
}

impl fmt::Display for WaitLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, task) = (&self.host, self.task);
        write!(f, "{host}/{task} spawned at {} ", self.location)?;
        match self.running {
            true => f.write_str("was running"),
            false => write!(f, "waits for {} since t={} ns", self.waits, self.since),
        }
    }
}

/// A host that ended by itself, with an error or a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCrash {
    /// Its name.
    pub host: String,
    /// Virtual time since the world began.
    pub at: Duration,
    /// What it ended with.
    pub kind: FailureKind,
    /// The text of the error or panic.
    pub message: String,
}

impl fmt::Display for HostCrash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostCrash {
            host,
            at,
            kind,
            message,
        } = self;
        write!(f, "host {host} ended at t={at:?}: {kind}: {message}")
    }
}

#[derive(Clone, Debug)]
struct Details {
    kind: FailureKind,
    replay: Replay,
    config_hash: u64,
    event_index: u64,
    virtual_time: u64,
    host: Option<String>,
    message: String,
    crashed: Vec<HostCrash>,
    wait_graph: Vec<WaitLine>,
    tail: Vec<TraceLine>,
    choices: Choices,
}

/// A failed run: what went wrong, where, and the line that runs it again.
///
/// Its `Display` is the whole report; of a great many tasks it lists the first.
#[derive(Clone)]
pub struct Failure(Arc<Details>);

impl Failure {
    #[expect(
        clippy::too_many_arguments,
        reason = "made in one place, from parts of the state"
    )]
    pub(crate) fn new(
        kind: FailureKind,
        config: &Config,
        event_index: u64,
        virtual_time: u64,
        host: Option<String>,
        message: String,
        crashed: Vec<HostCrash>,
        wait_graph: Vec<WaitLine>,
        tail: Vec<TraceLine>,
        choices: Choices,
    ) -> Failure {
        Failure(Arc::new(Details {
            kind,
            replay: Replay::of(config),
            config_hash: config.hash(),
            event_index,
            virtual_time,
            host,
            message,
            crashed,
            wait_graph,
            tail,
            choices,
        }))
    }

    /// The failure of a world that was never built.
    pub(crate) fn of_setup(config: &Config, message: String) -> Failure {
        let (wait_graph, tail) = (Vec::new(), Vec::new());
        Failure::new(
            FailureKind::Setup,
            config,
            0,
            0,
            None,
            message,
            Vec::new(),
            wait_graph,
            tail,
            Choices::default(),
        )
    }

    /// What went wrong.
    pub fn kind(&self) -> &FailureKind {
        &self.0.kind
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.0.replay.seed()
    }

    /// A hash of how the world was built; another one explains another run for the same seed.
    pub fn config_hash(&self) -> u64 {
        self.0.config_hash
    }

    /// How many events had happened.
    pub fn event_index(&self) -> u64 {
        self.0.event_index
    }

    /// Virtual time of the failure since the world began.
    pub fn virtual_time(&self) -> Duration {
        Duration::from_nanos(self.0.virtual_time)
    }

    /// The host in whose name code ran, if any did.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// What went wrong, in words.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The first hosts that ended by themselves before it, at most 20: often its cause.
    pub fn crashed_hosts(&self) -> &[HostCrash] {
        &self.0.crashed
    }

    /// Every live task and what it did, those of clients first.
    pub fn wait_graph(&self) -> &[WaitLine] {
        &self.0.wait_graph
    }

    /// The last events before the failure, oldest first.
    pub fn tail(&self) -> &[TraceLine] {
        &self.0.tail
    }

    /// The choices made before it, as far as
    /// [`Builder::record_choices`](crate::Builder::record_choices) asked.
    pub fn choices(&self) -> &Choices {
        &self.0.choices
    }

    /// One line to paste that runs this again up to the failure; see
    /// [`Builder::replay_with`](crate::Builder::replay_with).
    pub fn replay_line(&self) -> String {
        self.0.replay.line(self.0.event_index)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        write!(f, "simulation failed: {}", d.kind)?;
        if let Some(host) = &d.host {
            write!(f, " on host {host}")?;
        }
        writeln!(
            f,
            " at t={}.{:09}s, event {}: {}",
            d.virtual_time / 1_000_000_000,
            d.virtual_time % 1_000_000_000,
            d.event_index,
            d.message
        )?;
        for crash in &d.crashed {
            writeln!(f, "  {crash}")?;
        }
        for line in d.wait_graph.iter().take(LISTED) {
            writeln!(f, "  {line}")?;
        }
        if let Some(more @ 1..) = d.wait_graph.len().checked_sub(LISTED) {
            writeln!(f, "  and {more} more tasks")?;
        }
        if !d.tail.is_empty() {
            writeln!(f, "last events:")?;
            for line in &d.tail {
                writeln!(f, "  {line}")?;
            }
        }
        write!(f, "replay: {}", self.replay_line())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}
