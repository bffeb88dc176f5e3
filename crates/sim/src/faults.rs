//! Faults that a world does to itself: which there are in a run, how often, to whom.
//!
//! Invariants
//! 1. What kinds a run has, how often they strike, whom and for how long is drawn from a stream per
//!    kind that nothing else draws from: one more kind changes no other.
//! 2. Choice 0 is none: a run of zeros has no fault.
//! 3. At the heal everything that lasts ends, and nothing strikes after it.

mod heal;
mod mix;
mod origin;
mod site;
mod strike;

pub(crate) use heal::heal;
pub(crate) use origin::{Lasting, Origin};
use site::Sites;
pub(crate) use strike::{Undo, strike, undo};

use crate::event::EventKey;
use crate::limits::HostLimits;
use crate::link::Link;
use crate::names::Names;
use crate::oracle::Label;
use crate::wire::Way;
use std::collections::{BTreeMap, BTreeSet};

/// A kind of fault that [`Faults`] may have.
///
/// Those that strike come again and again, each after a time of its own, and end after a while; a
/// host that was crashed is started again. The others hold until the [heal](crate::Builder::heal_at).
/// What a program has by then keeps the size it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// A host that serves is killed.
    Kill,
    /// A host that serves loses its power.
    PowerLoss,
    /// A host or client stands still.
    Pause,
    /// A host or client is slow.
    Slow,
    /// The clocks of a host or client go at another rate, by up to 200 parts per million.
    Drift,
    /// A wall clock is set by up to an hour, forward or back.
    ClockStep,
    /// The blocking jobs of a host or client take longer.
    StallBlocking,
    /// The hosts are cut into halves.
    Partition,
    /// The links of one host are cut.
    Isolation,
    /// One direction between two hosts is cut.
    OneWay,
    /// What two hosts send to each other is kept for a while.
    Hold,
    /// Some links are clogged and come free in random order.
    Clog,
    /// Everything between two hosts takes longer.
    Spike,
    /// A link is up for a time and down for a time, over and over.
    Flapping,
    /// All links lose packets.
    Loss,
    /// All links lose packets in bursts, in place of evenly.
    Bursts,
    /// All links carry few bytes a second, and drop what does not fit into their queues.
    Bandwidth,
    /// All links carry short packets.
    Mtu,
    /// All links forget connections through which nothing goes, as address translators do.
    Forgetting,
    /// All links have jitter.
    Jitter,
    /// All links double datagrams, and let them overtake each other.
    Datagrams,
    /// Timers fire late, by up to a millisecond.
    TimerJitter,
    /// Tasks are picked by another strategy than the world's.
    Scheduling,
    /// TCP sockets for which no size is asked have small buffers, down to a byte.
    Buffers,
    /// UDP sockets for which no size is asked have small buffers, down to the least of Linux.
    UdpBuffers,
    /// Unix sockets for which no size is asked have small buffers, down to the least of Linux.
    UnixBuffers,
    /// Hosts buffer little in all sockets together, and less of it datagrams.
    Memory,
    /// Hosts have few threads for blocking jobs.
    Threads,
    /// Hosts have few descriptors, down to 32.
    Descriptors,
    /// Hosts have few ports to give out, down to 100.
    Ports,
    /// Look-ups of names are slow, and some fail or get no answer.
    Names,
    /// The fault sites of the program say yes at times: see [`Sim::site`](crate::Sim::site).
    Sites,
}

impl FaultKind {
    /// All kinds there are.
    pub const ALL: [FaultKind; 32] = [
        FaultKind::Kill,
        FaultKind::PowerLoss,
        FaultKind::Pause,
        FaultKind::Slow,
        FaultKind::Drift,
        FaultKind::ClockStep,
        FaultKind::StallBlocking,
        FaultKind::Partition,
        FaultKind::Isolation,
        FaultKind::OneWay,
        FaultKind::Hold,
        FaultKind::Clog,
        FaultKind::Spike,
        FaultKind::Flapping,
        FaultKind::Loss,
        FaultKind::Bursts,
        FaultKind::Bandwidth,
        FaultKind::Mtu,
        FaultKind::Forgetting,
        FaultKind::Jitter,
        FaultKind::Datagrams,
        FaultKind::TimerJitter,
        FaultKind::Scheduling,
        FaultKind::Buffers,
        FaultKind::UdpBuffers,
        FaultKind::UnixBuffers,
        FaultKind::Memory,
        FaultKind::Threads,
        FaultKind::Descriptors,
        FaultKind::Ports,
        FaultKind::Names,
        FaultKind::Sites,
    ];

    /// Its name, as in [`Report::faults_by_kind`](crate::Report::faults_by_kind).
    pub fn name(self) -> &'static str {
        self.label().name
    }

    const fn label(self) -> Label {
        Label::new(match self {
            FaultKind::Kill => "fault kill",
            FaultKind::PowerLoss => "fault power loss",
            FaultKind::Pause => "fault pause",
            FaultKind::Slow => "fault slow",
            FaultKind::Drift => "fault drift",
            FaultKind::ClockStep => "fault clock step",
            FaultKind::StallBlocking => "fault stall",
            FaultKind::Partition => "fault partition",
            FaultKind::Isolation => "fault isolation",
            FaultKind::OneWay => "fault one way",
            FaultKind::Hold => "fault hold",
            FaultKind::Clog => "fault clog",
            FaultKind::Spike => "fault spike",
            FaultKind::Flapping => "fault flapping",
            FaultKind::Loss => "fault loss",
            FaultKind::Bursts => "fault bursts",
            FaultKind::Bandwidth => "fault bandwidth",
            FaultKind::Mtu => "fault mtu",
            FaultKind::Forgetting => "fault forgetting",
            FaultKind::Jitter => "fault jitter",
            FaultKind::Datagrams => "fault datagrams",
            FaultKind::TimerJitter => "fault timer jitter",
            FaultKind::Scheduling => "fault scheduling",
            FaultKind::Buffers => "fault buffers",
            FaultKind::UdpBuffers => "fault udp buffers",
            FaultKind::UnixBuffers => "fault unix buffers",
            FaultKind::Memory => "fault memory",
            FaultKind::Threads => "fault threads",
            FaultKind::Descriptors => "fault descriptors",
            FaultKind::Ports => "fault ports",
            FaultKind::Names => "fault names",
            FaultKind::Sites => "fault sites",
        })
    }

    /// Whether it comes again and again.
    fn strikes(self) -> bool {
        !matches!(
            self,
            FaultKind::Loss
                | FaultKind::Bursts
                | FaultKind::Bandwidth
                | FaultKind::Mtu
                | FaultKind::Forgetting
                | FaultKind::Jitter
                | FaultKind::Datagrams
                | FaultKind::TimerJitter
                | FaultKind::Scheduling
                | FaultKind::Buffers
                | FaultKind::UdpBuffers
                | FaultKind::UnixBuffers
                | FaultKind::Memory
                | FaultKind::Threads
                | FaultKind::Descriptors
                | FaultKind::Ports
                | FaultKind::Names
                | FaultKind::Sites
        )
    }
}

/// The faults of a run; see [`Builder::faults`](crate::Builder::faults).
///
/// ```
/// use bowline_sim::{FaultKind, Faults, Sim, host};
/// use std::time::Duration;
///
/// let world = Sim::builder()
///     .client("client", || host::Sleep::new(60_000_000_000))
///     .faults(Faults::swarm().without(FaultKind::PowerLoss))
///     .heal_at(Duration::from_secs(30));
/// let faults = |seed| world.clone().seed(seed).run().map(|report| report.faults_by_kind);
/// assert_eq!(faults(3)?, faults(3)?);
/// # Ok::<(), bowline_sim::Failure>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    kinds: BTreeSet<FaultKind>,
    drawn: bool,
}

impl Faults {
    /// No faults: the default.
    pub fn none() -> Faults {
        Faults::default()
    }

    /// Faults of all kinds, of which each seed first draws a part: many narrow mixes find more than
    /// one broad mix does (swarm testing; Groce and others, 2012).
    pub fn swarm() -> Faults {
        Faults {
            kinds: FaultKind::ALL.into(),
            drawn: true,
        }
    }

    /// Faults of these kinds, and in every run of each of them.
    pub fn of(kinds: impl IntoIterator<Item = FaultKind>) -> Faults {
        Faults {
            kinds: kinds.into_iter().collect(),
            drawn: false,
        }
    }

    /// The same but for one kind.
    #[must_use]
    pub fn without(mut self, kind: FaultKind) -> Faults {
        self.kinds.remove(&kind);
        self
    }
}

/// The faults of a world that turns.
#[derive(Debug, Default)]
pub(crate) struct Plague {
    /// What strikes, and after how long on average.
    gaps: BTreeMap<FaultKind, u64>,
    /// Strikes and ends that are still to come.
    pending: BTreeSet<EventKey>,
    /// The links that hold for the run: which, what it was, what it is.
    links: Vec<(Option<Way>, Link, Link)>,
    /// What the hosts had before they were given less.
    limits: Vec<HostLimits>,
    /// By how much timers may be late, in place of what the world says.
    pub(crate) timer_jitter: Option<u64>,
    /// Whether tasks are picked by another rule than the world says.
    picks: bool,
    /// How look-ups went that fail for the run, and how they do.
    names: Option<(Names, Names)>,
    /// The fault sites of the program.
    sites: Sites,
    /// How many strikes that last there were.
    strikes: u64,
    /// How often each kind struck.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// When the clients must be done, once the world was healed.
    pub(crate) settled_by: Option<u64>,
}

impl Plague {
    /// The event happens now.
    pub(crate) fn comes(&mut self, key: EventKey) {
        self.pending.remove(&key);
    }
}
