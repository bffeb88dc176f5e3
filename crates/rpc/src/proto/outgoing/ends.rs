//! How calls of ours end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use bowline_backend::time::Instant;

use super::{Ended, LEVELS, Outgoing, State};
use crate::proto::{CallId, CancelReason};

impl Outgoing {
    /// Settles a call that has no outcome yet; what is on the wire stays there until the peer
    /// ends it.
    pub(in crate::proto) fn give_up(
        &mut self,
        id: CallId,
        reason: Option<CancelReason>,
    ) -> Option<Ended> {
        let slot = self.live_slot(id)?;
        let queued = match self.calls[slot].state {
            State::Queued => {
                drop(self.unqueue(slot));
                self.calls[slot].state = State::Over;
                true
            }
            State::InFlight => {
                self.calls[slot].state = State::Settled;
                if let Some(reason) = reason {
                    self.cancels
                        .push_back((slot as u32, self.calls[slot].generation, reason));
                }
                false
            }
            _ => return None,
        };
        self.forget_deadline(slot);
        Some(Ended {
            call: id,
            queued,
            start: self.calls[slot].start,
            wire: if queued { 0 } else { self.calls[slot].wire },
        })
    }

    pub(super) fn forget_deadline(&mut self, slot: usize) {
        if !self.calls[slot].deadline.is_never() {
            self.with_deadline -= 1;
        }
    }

    /// The peer ended the call with this number: it leaves the wire. `Some(Some(_))` if it was
    /// waiting for it, `Some(None)` if it had its outcome, `None` if there is no such call.
    pub(in crate::proto) fn end(&mut self, wire: u64) -> Option<Option<Ended>> {
        let slot = self.by_wire.remove(&wire)? as usize;
        let call = &mut self.calls[slot];
        self.at_level[usize::from(call.level)] -= 1;
        let waiting = call.state == State::InFlight;
        call.state = State::Over;
        let ended = Ended {
            call: CallId::ours(call.generation, slot as u32),
            queued: false,
            start: call.start,
            wire,
        };
        if waiting {
            self.forget_deadline(slot);
        } else {
            self.release(slot);
        }
        Some(waiting.then_some(ended))
    }

    /// The reply to this call comes in several frames: skip the others.
    pub(in crate::proto) fn skip(&mut self, wire: u64) {
        if let Some(slot) = self.by_wire.get(&wire) {
            self.calls[*slot as usize].state = State::Skipping;
        }
    }

    /// Whether the rest of a reply to this call is being skipped; `None` if there is no such call.
    pub(in crate::proto) fn is_skipping(&self, wire: u64) -> Option<bool> {
        let slot = *self.by_wire.get(&wire)?;
        Some(self.calls[slot as usize].state == State::Skipping)
    }

    /// The terminal event of `id` was polled: its place may be used again.
    pub(in crate::proto) fn reported(&mut self, id: CallId) {
        if let Some(slot) = self.live_slot(id) {
            self.calls[slot].reported = true;
            self.release(slot);
        }
    }

    /// O3.
    fn release(&mut self, slot: usize) {
        let call = &mut self.calls[slot];
        if call.state == State::Over && call.reported {
            call.state = State::Free;
            self.free.push(slot as u32);
        }
    }

    /// A call whose deadline is not after `now`.
    pub(in crate::proto) fn expired(&mut self, now: Instant) -> Option<CallId> {
        match self.next_deadline() {
            Some(deadline) if deadline <= now => {
                let Reverse((_, slot, generation)) = self.deadlines.pop()?;
                Some(CallId::ours(generation, slot))
            }
            _ => None,
        }
    }

    /// The earliest deadline of a call without outcome.
    pub(in crate::proto) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse((deadline, slot, generation))) = self.deadlines.peek().copied() {
            let call = &self.calls[slot as usize];
            if call.generation == generation
                && matches!(call.state, State::Queued | State::InFlight)
            {
                return Some(deadline);
            }
            self.deadlines.pop();
        }
        None
    }

    /// The connection is gone: nothing is on the wire any more. Call after all have been given up.
    pub(in crate::proto) fn clear(&mut self) {
        self.by_wire = HashMap::default();
        self.at_level = [0; LEVELS];
        self.queues = Default::default();
        self.deadlines = BinaryHeap::new();
        self.cancels = VecDeque::new();
        for slot in 0..self.calls.len() {
            let call = &mut self.calls[slot];
            if matches!(call.state, State::Settled | State::Skipping) {
                call.state = State::Over;
                self.release(slot);
            }
        }
    }
}
