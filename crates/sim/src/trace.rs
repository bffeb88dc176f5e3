//! The event log: always hashed, kept as far as asked.

use crate::wire::Way;
use crate::xxhash::{RollingHash, xxh64};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Version of the record that is hashed. A change of it explains a change of every hash.
pub(crate) const TRACE_VERSION: u64 = 5;

/// How much of the trace a world keeps; the hash always covers all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Nothing but the hash.
    Off,
    /// The last events, at most this many.
    Tail(usize),
    /// All of it. Grows with the run.
    Full,
}

/// What an event of the trace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A task was polled.
    Poll,
    /// A task was spawned.
    Spawn,
    /// A task ended.
    End,
    /// A timer fired.
    Timer,
    /// A blocking job ran.
    Job,
    /// A TCP segment arrived.
    Segment,
    /// Bytes were taken from a writer.
    Write,
    /// Bytes were given to a reader.
    Read,
    /// A socket was opened.
    Open,
    /// A socket was closed.
    Close,
    /// A connection was given to an acceptor.
    Accept,
    /// A name was resolved.
    Resolve,
    /// Entropy was given out.
    Entropy,
    /// A note of the program.
    Note,
    /// A host ended; its label says how.
    Exit,
    /// A datagram arrived, or the answer to one.
    Datagram,
    /// A signal was delivered.
    Signal,
    /// A wall clock was set.
    Clock,
    /// An [`eventually!`](crate::eventually) was reached, or became true.
    Check,
    /// Something was done to a host or the network from outside; its label says what.
    Fault,
    /// A link lost a packet.
    Lost,
}

impl EventKind {
    /// Whether it is progress: a byte moved, something came due or a task is done.
    pub(crate) fn moves(self) -> bool {
        matches!(
            self,
            EventKind::End
                | EventKind::Timer
                | EventKind::Job
                | EventKind::Segment
                | EventKind::Datagram
                | EventKind::Signal
                | EventKind::Write
                | EventKind::Read
        )
    }

    /// Whether it is a packet that arrives.
    pub(crate) fn arrives(self) -> bool {
        matches!(self, EventKind::Segment | EventKind::Datagram)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            EventKind::Poll => "poll",
            EventKind::Spawn => "spawn",
            EventKind::End => "end",
            EventKind::Timer => "timer",
            EventKind::Job => "job",
            EventKind::Segment => "segment",
            EventKind::Write => "write",
            EventKind::Read => "read",
            EventKind::Open => "open",
            EventKind::Close => "close",
            EventKind::Accept => "accept",
            EventKind::Resolve => "resolve",
            EventKind::Entropy => "entropy",
            EventKind::Note => "note",
            EventKind::Exit => "exit",
            EventKind::Datagram => "datagram",
            EventKind::Signal => "signal",
            EventKind::Clock => "clock",
            EventKind::Check => "check",
            EventKind::Fault => "fault",
            EventKind::Lost => "lost",
        }
    }
}

/// One event of a world.
///
/// It holds no address, no hash order and nothing of the machine's own time, so equal runs have
/// equal events.
///
/// What its [label](Self::label) and its two [values](Self::values) are depends on its kind; values
/// that a line here does not name are 0:
///
/// | kind | label | values |
/// |---|---|---|
/// | [`Poll`](EventKind::Poll), [`End`](EventKind::End), [`Job`](EventKind::Job) | none | none |
/// | [`Spawn`](EventKind::Spawn) | none | the new task's number; its host |
/// | [`Timer`](EventKind::Timer) | none for a sleep; `connect`, `handshake`, `retransmit`, `persist`, `keepalive`, `delayed ack` of TCP | the socket; how often before, of `retransmit`, `persist` and `keepalive` |
/// | [`Segment`](EventKind::Segment) | `syn` | the socket that connects; the port asked for |
/// | | `syn-ack`, `established`, `fin`, `probe`, `rst` | the socket that it comes to |
/// | | `data`, `ack`, `window` | the socket that it comes to; bytes |
/// | [`Datagram`](EventKind::Datagram) | `udp`; `dropped` for want of room | the port that it comes to; bytes |
/// | | `unreachable`: nobody has the port | the socket that is told; the port |
/// | [`Lost`](EventKind::Lost) | as of what arrives; of `udp` the port in place of the socket | as of what arrives |
/// | [`Open`](EventKind::Open) | `connect`, `listen`, `udp`, or which Unix socket | the socket; the port asked for, or that it has |
/// | [`Accept`](EventKind::Accept) | `tcp`, `unix` | the socket; the peer's port |
/// | [`Write`](EventKind::Write), [`Read`](EventKind::Read) | `tcp`, `udp`, `unix`, `unix datagram` | the socket; bytes |
/// | [`Close`](EventKind::Close) | `close`, `reset`, `listener`, `udp`, `unix`; `shutdown`, `unix shutdown` | the socket |
/// | [`Resolve`](EventKind::Resolve) | none | a hash of the name; addresses found |
/// | [`Entropy`](EventKind::Entropy) | none | bytes; a hash of them |
/// | [`Note`](EventKind::Note) | as noted | as noted |
/// | [`Check`](EventKind::Check) | the id | 0 when armed, 1 when true; when it is due, in nanoseconds |
/// | [`Signal`](EventKind::Signal) | its name | none |
/// | [`Exit`](EventKind::Exit) | `ended`, `failed`, `panicked` by itself; `killed`, `lost power`, `restarted`, `signalled` from outside; `world over` | the host; which of its lives, from 0 |
/// | [`Clock`](EventKind::Clock) | none | the host; seconds since 1970 |
/// | [`Fault`](EventKind::Fault) | `cut`, `mend`, `hold`, `release`, `clog`, `unclog`, `flap`, `steady`, `spike`, or `heal` | the hosts from which and to which the link goes; none for a `heal` of all |
/// | | `power loss`, `pause`, `resume` | the host |
/// | | `slow`, `drift`, `stall` | the host; the factor, parts per million in two's complement, nanoseconds |
/// | | `name` | a hash of the name; 0 for another meaning, 1 for its own |
/// | | a [site](crate::Sim::site) | 1 |
///
/// A [`Write`](EventKind::Write) has a hash of its bytes besides, see [`payload`](Self::payload).
///
/// Hosts are numbered in the order in which they were added. A socket's number is its own among those
/// of its family (TCP, UDP, Unix) that are open at the time; it is given again when it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    pub(crate) index: u64,
    pub(crate) time: u64,
    pub(crate) host: u32,
    pub(crate) task: u32,
    pub(crate) kind: EventKind,
    pub(crate) label: &'static str,
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) cause: u64,
    /// A hash of the bytes it moved; 0 where there is none.
    pub(crate) payload: u32,
    /// From which host to which a packet came; no part of the hash, which has it by other means.
    pub(crate) way: Option<Way>,
}

impl TraceEvent {
    /// Its place in the trace, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Virtual time in nanoseconds since the world began.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// The host it happened on, as a place in the order in which hosts were added; `None` for the
    /// world's own.
    pub fn host(&self) -> Option<usize> {
        (self.host != u32::MAX).then_some(self.host as usize)
    }

    /// The number of the task on its host; 0 outside tasks.
    pub fn task(&self) -> u32 {
        self.task
    }

    /// Index of the event that caused it.
    pub fn cause(&self) -> u64 {
        self.cause
    }

    /// From which host to which it came, of a packet that arrived between hosts that are known.
    pub fn way(&self) -> Option<(usize, usize)> {
        self.way.map(|(from, to)| (from as usize, to as usize))
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The label given by the program or the kind's detail.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// The two small numbers of the event; what they are depends on the kind, see [`TraceEvent`].
    pub fn values(&self) -> (u64, u64) {
        (self.a, self.b)
    }

    /// A hash of the bytes that a [`Write`](EventKind::Write) took from the program, unless payloads are
    /// [ignored](crate::Builder::ignore_payloads). What was written is in no trace.
    pub fn payload(&self) -> Option<u32> {
        (self.payload != 0).then_some(self.payload)
    }

    fn record(&self) -> [u8; RollingHash::RECORD] {
        let label = xxh64(self.label.as_bytes(), 0);
        let head = u64::from(self.host) << 32 | u64::from(self.task);
        let words = [
            TRACE_VERSION,
            self.time,
            head,
            self.kind as u64,
            label ^ u64::from(self.payload) << 32,
            self.a,
            self.b,
            self.cause,
        ];
        let mut record = [0; RollingHash::RECORD];
        for (chunk, word) in record.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        record
    }
}

/// One line of a trace as text, such as `t=1.002003004s a/3 write tcp 5 64 #0a1b2c3d <- 118`.
///
/// It is the virtual time; the host and the number of the task, 0 outside tasks, or `world/0`; the kind
/// and the label, `-` if it has none; the two values, which [`TraceEvent`] explains; of a write the hash
/// of its bytes; and the index of the event that caused it.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceLine {
    pub(crate) event: TraceEvent,
    pub(crate) host: String,
    /// The names of the hosts between which a packet went.
    pub(crate) way: Option<[Arc<str>; 2]>,
}

impl TraceLine {
    /// The event behind the line.
    pub fn event(&self) -> &TraceEvent {
        &self.event
    }

    /// Name of the host it happened on.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Names of the hosts from which and to which it came, of a packet that arrived; see
    /// [`TraceEvent::way`].
    pub fn way(&self) -> Option<(&str, &str)> {
        self.way.as_ref().map(|[from, to]| (&**from, &**to))
    }
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.event;
        write!(
            f,
            "t={}.{:09}s {}/{} {} {} {} {}",
            e.time / 1_000_000_000,
            e.time % 1_000_000_000,
            self.host,
            e.task,
            e.kind.name(),
            if e.label.is_empty() { "-" } else { e.label },
            e.a,
            e.b
        )?;
        if let Some(payload) = e.payload() {
            write!(f, " #{payload:08x}")?;
        }
        write!(f, " <- {}", e.cause)
    }
}

impl fmt::Debug for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug)]
pub(crate) struct Trace {
    keep: Keep,
    hash: RollingHash,
    next: u64,
    kept: VecDeque<TraceEvent>,
    /// After how many events the hash so far is kept; 0 for never.
    checkpoint_every: u64,
    checkpoints: Vec<u64>,
    /// What checkers have not seen, if there are any.
    fresh: Option<Vec<TraceEvent>>,
}

impl Trace {
    pub(crate) fn new(keep: Keep, checkpoint_every: u64) -> Trace {
        Trace {
            keep,
            hash: RollingHash::new(),
            next: 0,
            kept: VecDeque::new(),
            checkpoint_every,
            checkpoints: Vec::new(),
            fresh: None,
        }
    }

    /// From here on, events wait for checkers.
    pub(crate) fn keep_fresh(&mut self) {
        self.fresh = Some(Vec::new());
    }

    /// The events that no checker has seen.
    pub(crate) fn take_fresh(&mut self) -> Vec<TraceEvent> {
        self.fresh.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Appends `event`, giving it the next index.
    pub(crate) fn push(&mut self, mut event: TraceEvent) -> u64 {
        event.index = self.next;
        self.next += 1;
        self.hash.update(&event.record());
        // No event count but none is a multiple of 0.
        if self.next.is_multiple_of(self.checkpoint_every) {
            self.checkpoints.push(self.hash.digest());
        }
        if let Some(fresh) = &mut self.fresh {
            fresh.push(event);
        }
        let limit = match self.keep {
            Keep::Off => 0,
            Keep::Tail(limit) => limit,
            Keep::Full => usize::MAX,
        };
        if limit > 0 {
            if self.kept.len() >= limit {
                self.kept.pop_front();
            }
            self.kept.push_back(event);
        }
        event.index
    }

    pub(crate) fn len(&self) -> u64 {
        self.next
    }

    pub(crate) fn checkpoints(&self) -> &[u64] {
        &self.checkpoints
    }

    pub(crate) fn digest(&self) -> u64 {
        self.hash.digest()
    }

    pub(crate) fn kept(&self) -> impl DoubleEndedIterator<Item = &TraceEvent> {
        self.kept.iter()
    }
}
