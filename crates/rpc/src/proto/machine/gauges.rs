//! What is to be seen of a connection while it is open.

use std::time::Duration;

use super::{Machine, Stats};
use crate::proto::CallId;
use crate::proto::outgoing::slots_at;

/// What a connection has open, and what either side may still send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Calls of ours that the peer has not ended, and those that wait.
    pub(crate) calls_sent: u64,
    /// Calls of the peer that were not answered.
    pub(crate) calls_received: u64,
    /// Calls the peer takes now, of those that no handler makes.
    pub(crate) call_credit: u64,
    /// Notifications the peer takes now.
    pub(crate) notify_credit: u64,
    /// Bytes the peer may send now beyond the windows of its calls.
    pub(crate) reassembly_credit: u64,
    /// What the last heartbeat took.
    pub(crate) round_trip: Option<Duration>,
    /// What was counted.
    pub(crate) counted: Stats,
}

impl Machine {
    /// How often the peer has granted credit.
    pub(crate) fn credits(&self) -> u64 {
        self.credits
    }

    /// The number on the wire of a call of ours, until another one has its place; none if it was never sent.
    pub(crate) fn number_of(&self, call: CallId) -> Option<u64> {
        self.outgoing.number(call)
    }

    /// What is to be seen of it now.
    pub(crate) fn gauges(&self) -> Gauges {
        let taken = self.outgoing.at_level(0);
        let slots = slots_at(0, self.agreed.max_calls);
        Gauges {
            calls_sent: self.outgoing.open() as u64,
            calls_received: self.incoming.open() as u64,
            call_credit: slots.saturating_sub(taken).into(),
            notify_credit: self.agreed.notify_window.into(),
            reassembly_credit: self.budget().saturating_sub(self.inlets.used_by_peer()) as u64,
            round_trip: self.round_trip,
            counted: self.stats,
        }
    }
}
