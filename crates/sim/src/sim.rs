//! The way in: one-host worlds, builders, and acts for code inside a host.

use crate::builder::{Builder, Config};
use crate::check::Telling;
use crate::current::{self, Shared};
use crate::driver::{self, Turn};
use crate::ending::{self, Exit};
use crate::failure::FailureKind;
use crate::host;
use crate::limits::HostLimits;
use crate::machine::Role;
use crate::observers;
use crate::oracle::Label;
use crate::state::{Running, State};
use crate::task::Body;
use crate::trace::EventKind;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The simulator as seen by code that runs in it, and the start of every world.
#[derive(Debug)]
pub enum Sim {}

impl Sim {
    /// Begins the description of a world of several hosts.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Whether a world turns on this thread: true in polls, jobs and destructors of a world.
    pub fn is_running() -> bool {
        current::is_running()
    }

    /// Virtual time since the world began.
    ///
    /// # Panics
    /// Outside a world.
    pub fn now() -> Duration {
        Duration::from_nanos(current::with("now", |state| state.now))
    }

    /// Starts a task on this host.
    ///
    /// # Panics
    /// Outside a world.
    #[track_caller]
    pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        host::spawn(future);
    }

    /// A choice in `range`, drawn from this host's stream of that label. The start is the tame one.
    ///
    /// # Panics
    /// Outside a world, and for an empty range.
    pub fn choose(label: &'static str, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "a choice among nothing");
        let count = range.end - range.start;
        range.start
            + current::with("choose", |state| {
                state.choose(Label::of_program(label), count)
            })
    }

    /// Name of the host in whose name this code runs.
    ///
    /// # Panics
    /// Outside a world.
    pub fn host_name() -> String {
        current::with("host_name", |state| state.machine().name.to_string())
    }

    /// Acts on the world's one value of type `T`, which its first use makes.
    ///
    /// It lies outside the modelled network: every host sees it at once. It is for what tests know
    /// and programs do not, such as what a store should hold by now.
    ///
    /// # Panics
    /// Outside a world, and if `act` asks for the value it was given.
    pub fn ghost<T: Default + 'static, R>(act: impl FnOnce(&mut T) -> R) -> R {
        match current::shared() {
            Some(shared) => shared.observers.ghost(act),
            None => panic!("ghost: no simulated world turns on this thread"),
        }
    }

    /// Writes `value` into the trace, so that it counts in the hash.
    ///
    /// # Panics
    /// Outside a world.
    pub fn note(label: &'static str, value: u64) {
        current::with("note", |state| {
            state.record(EventKind::Note, label, value, 0);
        });
    }
}

/// Runs `future` in a world of one host, made from `seed`.
///
/// The future is polled where it is, so it needs to be neither `Send` nor `'static`. When it is
/// done, tasks that remain are dropped inside the world before this returns, as at the end of every
/// runtime; that is no [leak](FailureKind::Leak). A panic of a spawned task ends that task alone.
///
/// # Panics
/// With the future's own panic; with a report and the line to run it again when nothing can run
/// and the future is not done (a deadlock), when an assertion of the world failed, or when
/// something outside reached in; and inside a world, for worlds do not nest.
///
/// ```
/// use bowline_sim::{block_on, host};
///
/// let slept = block_on(7, async {
///     let start = host::now();
///     host::Sleep::new(start + 3_600_000_000_000).await; // an hour, in no time
///     host::now() - start
/// });
/// assert!(slept >= 3_600_000_000_000);
/// ```
#[track_caller]
pub fn block_on<F: Future>(seed: u64, future: F) -> F::Output {
    let mut telling = Telling {
        replay_with: "the same call of `block_on` with the seed {seed} # fails at event {event}"
            .into(),
        ..Telling::default()
    };
    block_on_telling(seed, future, &mut telling)
}

/// As [`block_on`], adding to what `telling` says.
#[track_caller]
pub(crate) fn block_on_telling<F: Future>(
    seed: u64,
    future: F,
    telling: &mut Telling,
) -> F::Output {
    let location = Location::caller();
    let mut config = Config::new(seed);
    config.replay_with = Some(Arc::from(telling.replay_with.as_str()));
    let mut state = State::new(config);
    let limits = HostLimits {
        descriptors: usize::MAX,
        ..HostLimits::default()
    };
    state.add_machine("localhost", Role::Main, limits, None, location);
    let shared = Shared::new(state);
    let entered = current::enter(&shared);
    let mut future = pin!(Some(future));
    let mut output = None;
    let mut poll = |context: &mut std::task::Context<'_>| {
        if let Some(running) = future.as_mut().as_pin_mut()
            && let std::task::Poll::Ready(value) = running.poll(context)
        {
            output = Some(value);
        }
        output.is_some()
    };
    let mut panic = loop {
        let turn = driver::turn(&shared, Some(&mut poll), u64::MAX);
        observers::look(&shared);
        match turn {
            Turn::Polled | Turn::Fired | Turn::Reached => {}
            Turn::Idle => shared.act(|state| {
                let message = "nothing can run and the main future is not done".to_owned();
                state.fail(FailureKind::Deadlock, message);
            }),
            Turn::Failed | Turn::MainDone => break None,
            Turn::MainPanicked(payload) => break Some(payload),
        }
    };
    // What was to become true is waited for, as long as something goes on.
    while panic.is_none() && shared.observers.is_promised() {
        let turn = driver::turn(&shared, None, u64::MAX);
        observers::look(&shared);
        if matches!(turn, Turn::Failed) {
            break;
        }
    }
    shared.act(|state| {
        state.running = Some(Running {
            host: 0,
            task: None,
            number: 0,
        });
    });
    let dropped = catch_unwind(AssertUnwindSafe(|| future.set(None)));
    panic = panic.or(dropped.err());
    shared.act(|state| state.running = None);
    let exit = if panic.is_none() {
        Exit::Done
    } else {
        Exit::Panic
    };
    ending::end_host(&shared, 0, exit);
    let (failure, sometimes) = shared.act(|state| {
        let sometimes = std::mem::take(&mut state.sometimes);
        (state.failure.clone(), sometimes)
    });
    drop(entered);
    for (id, was_true) in sometimes {
        *telling.sometimes.entry(id).or_insert(false) |= was_true;
    }
    if let Some(failure) = failure {
        telling.told = true;
        panic!("{failure}");
    }
    match (panic, output) {
        (Some(payload), _) => resume_unwind(payload),
        (None, Some(value)) => value,
        (None, None) => unreachable!("a main future that ended has a value"),
    }
}

impl State {
    /// Adds a host; its main task starts with the world.
    pub(crate) fn add_machine(
        &mut self,
        name: &str,
        role: Role,
        limits: HostLimits,
        start: Option<crate::machine::Start>,
        location: &'static Location<'static>,
    ) {
        let index = self.machines.len();
        let host = index as u32;
        self.machines
            .push(crate::machine::Machine::new(index, name, role, limits));
        if role == Role::Client {
            self.has_clients = true;
            self.live_clients += 1;
        }
        self.machines[index].start = start;
        self.machines[index].location = Some(location);
        self.start_main(host, location);
    }

    /// Starts the main task of a host that has no other.
    pub(crate) fn start_main(&mut self, host: u32, location: &'static Location<'static>) {
        let body = match self.machines[host as usize].start.clone() {
            None => Body::Caller,
            Some(start) => Body::Future(Box::pin(async move {
                let outcome = start().await;
                current::with("host", |state| state.machine().outcome = Some(outcome));
            })),
        };
        let spawned = self.spawn(host, true, body, location);
        debug_assert!(spawned.is_ok(), "a new host takes tasks");
    }
}
