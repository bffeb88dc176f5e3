//! The queue of what is still to happen.
//!
//! Invariants
//! 1. Keys are unique: the sequence number is.
//! 2. An entry is removed exactly, never left behind as a tombstone, so the earliest entry is
//!    always real and time never jumps to something cancelled.

use crate::faults::{FaultKind, Undo};
use crate::host::Signal;
use crate::script::Act;
use crate::table::SocketRef;
use crate::tcp::{Segment, Syn};
use crate::udp::Packet;
use crate::wire::Way;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Order of events: time, then class, then the drawn tie, then age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventKey {
    pub(crate) time: u64,
    class: u8,
    tie: u32,
    sequence: u64,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// The timer in this slot is due.
    Timer(usize),
    /// The blocking job in this slot is done.
    Job(usize),
    /// A connection request arrives.
    Syn(Syn),
    /// A segment of a connection arrives.
    Segment {
        from: SocketRef,
        to: SocketRef,
        segment: Segment,
    },
    /// A datagram arrives.
    Datagram(Box<Packet>),
    /// The answer to a datagram: nobody is at the port.
    Unreachable { to: SocketRef, peer: SocketAddr },
    /// A signal arrives at a host.
    Signal { host: u32, signal: Signal },
    /// A fault strikes.
    Fault(FaultKind),
    /// A fault ends.
    Undo(Undo),
    /// All faults end.
    Heal,
    /// A host that was done may have nothing left by now.
    Unsettled(u32),
    /// The hosts that were asked to stop may not run any more.
    Unstopped,
    /// The script acts.
    Act(Act),
    /// Something must be true by now; who looks does so after every event.
    Look,
    /// No answer to a connection request yet.
    ConnectRetry(SocketRef),
    /// No answer yet to the listener's answer.
    HandshakeRetry(SocketRef),
    /// Nothing was heard for a timeout.
    Retransmit(SocketRef),
    /// An acknowledgement waits no longer for something to go back with.
    DelayedAck(SocketRef),
    /// An idle connection may need a probe.
    Keepalive(SocketRef),
    /// A closed window may have opened.
    Persist(SocketRef),
    /// A clog ends, unless it was healed since.
    Unclog { way: Way, heals: u32 },
}

impl Event {
    fn is_probe(&self) -> bool {
        matches!(self, Event::Keepalive(_) | Event::Persist(_))
    }

    fn may_revive(&self) -> bool {
        matches!(self, Event::Act(_) | Event::Heal)
    }

    fn class(&self) -> u8 {
        match self {
            Event::Syn(_)
            | Event::Segment { .. }
            | Event::Datagram(_)
            | Event::Unreachable { .. }
            | Event::Signal { .. }
            | Event::Unclog { .. }
            | Event::Fault(_)
            | Event::Undo(_)
            | Event::Heal
            | Event::Act(_) => 0,
            Event::ConnectRetry(_)
            | Event::HandshakeRetry(_)
            | Event::Retransmit(_)
            | Event::DelayedAck(_)
            | Event::Keepalive(_)
            | Event::Persist(_)
            | Event::Timer(_) => 1,
            Event::Job(_) => 2,
            Event::Look => 3,
            Event::Unsettled(_) | Event::Unstopped => 3,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Scheduled {
    pub(crate) event: Event,
    /// Trace index of the event that caused this one.
    pub(crate) cause: u64,
}

#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    entries: BTreeMap<EventKey, Scheduled>,
    sequence: u64,
    /// How many are [`Event::Keepalive`] or [`Event::Persist`].
    probes: usize,
    /// How many may start a host again.
    revivals: usize,
}

impl EventQueue {
    pub(crate) fn push(&mut self, time: u64, tie: u32, event: Event, cause: u64) -> EventKey {
        let key = EventKey {
            time,
            class: event.class(),
            tie,
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.probes += usize::from(event.is_probe());
        self.revivals += usize::from(event.may_revive());
        self.entries.insert(key, Scheduled { event, cause });
        key
    }

    pub(crate) fn cancel(&mut self, key: EventKey) -> Option<Event> {
        let removed = self.entries.remove(&key)?;
        self.forget(&removed.event);
        Some(removed.event)
    }

    pub(crate) fn next_time(&self) -> Option<u64> {
        self.entries.keys().next().map(|key| key.time)
    }

    pub(crate) fn pop(&mut self) -> Option<(EventKey, Scheduled)> {
        let first = self.entries.pop_first()?;
        self.forget(&first.1.event);
        Some(first)
    }

    fn forget(&mut self, event: &Event) {
        self.probes -= usize::from(event.is_probe());
        self.revivals -= usize::from(event.may_revive());
    }

    /// Whether anything is to come that may start a host again.
    pub(crate) fn may_revive(&self) -> bool {
        self.revivals > 0
    }

    /// The probes that are due, and when, if there is nothing else.
    pub(crate) fn only_probes(&self) -> Option<Vec<(u64, SocketRef)>> {
        if self.probes == 0 || self.probes < self.entries.len() {
            return None;
        }
        let probe = |(key, scheduled): (&EventKey, &Scheduled)| match scheduled.event {
            Event::Keepalive(socket) | Event::Persist(socket) => Some((key.time, socket)),
            _ => None,
        };
        Some(self.entries.iter().filter_map(probe).collect())
    }
}
