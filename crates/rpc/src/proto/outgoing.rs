//! Calls of ours: waiting for a slot, in flight, and given up but not yet ended by the peer.

mod ends;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use bowline_backend::time::Instant;

use super::IdHash;
use super::{CallId, CancelReason, Open};

/// Hop levels: 0 to 8.
pub(crate) const LEVELS: usize = 9;

/// How many calls of each hop level may be open, when level 0 has `max_calls`.
pub(crate) fn slots_at(level: usize, max_calls: u32) -> u32 {
    if level == 0 {
        max_calls
    } else if max_calls == 0 {
        0
    } else {
        (max_calls / 8).max(1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No call.
    Free,
    /// Waits for a slot; nothing of it is anywhere else.
    Queued,
    /// Its OPEN was handed out; no answer yet.
    InFlight,
    /// It has its outcome, but the peer has not ended it: it still takes a slot of the peer.
    Settled,
    /// Settled, and the rest of a reply of several frames is being skipped.
    Skipping,
    /// Ended on both sides; its place waits for its last event to be polled.
    Over,
}

#[derive(Debug)]
struct Call {
    generation: u32,
    state: State,
    /// Whether its terminal event has been polled.
    reported: bool,
    level: u8,
    codec: u8,
    wire: u64,
    /// Position of its OPEN in all bytes ever handed out.
    start: u64,
    credit: u32,
    deadline: Instant,
    open: Option<Open>,
}

// Invariants
// O1 `by_wire` holds exactly the calls in `InFlight`, `Settled` and `Skipping`, and `at_level`
//    counts them.
// O2 Calls in `Queued`, and no others, have `open`; `queued` and `queued_bytes` add them up.
// O3 A place is in `free` exactly when its state is `Free`.
// O4 Entries of `queues` and `deadlines` whose generation or state does not fit any more are dead;
//    each is compacted before it has more than 64 entries beyond twice the live ones.
// O5 `cancels` has at most one entry per call that was in flight when it was last emptied, which
//    every transmission does before it puts more calls in flight.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    calls: Vec<Call>,
    free: Vec<u32>,
    by_wire: HashMap<u64, u32, IdHash>,
    at_level: [u32; LEVELS],
    /// Their places, generations and priorities, the highest first and each priority in order.
    queues: [VecDeque<(u32, u32, u8)>; LEVELS + 1],
    queued_at: [usize; LEVELS + 1],
    queued: usize,
    queued_bytes: usize,
    deadlines: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    with_deadline: usize,
    cancels: VecDeque<(u32, u32, CancelReason)>,
    last_wire: u64,
    opened: u64,
}

/// A call that was given up or ended, and what is known about how far it got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) call: CallId,
    /// Nothing of it was handed out.
    pub(super) queued: bool,
    pub(super) start: u64,
    /// Its number on the wire; 0 if it has none.
    pub(super) wire: u64,
}

impl Outgoing {
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Whether one more call of `level` finds a slot, or fewer than `most` calls wait for one: those
    /// that have not been sent and will find a slot then do not count.
    pub(super) fn has_room(&self, level: usize, max_calls: u32, most: usize) -> bool {
        if self.queued < most {
            return true;
        }
        let free = |level: usize| match self.at_level.get(level) {
            Some(taken) => slots_at(level, max_calls).saturating_sub(*taken) as usize,
            // Notifications take none.
            None => 0,
        };
        let waiting = |level: usize| self.queued_at[level].saturating_sub(free(level));
        self.queued_at[level] < free(level) || (0..=LEVELS).map(waiting).sum::<usize>() < most
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// How many calls of a hop level take a slot of the peer.
    pub(super) fn at_level(&self, level: usize) -> u32 {
        self.at_level[level]
    }

    /// How many calls wait, or take a slot of the peer.
    pub(super) fn open(&self) -> usize {
        self.queued + self.by_wire.len()
    }

    /// How many calls were ever sent.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    pub(super) fn last_wire(&self) -> u64 {
        self.last_wire
    }

    /// Puts a call into its queue.
    pub(super) fn push(&mut self, open: Open) -> CallId {
        let level = open.level() as u8;
        let (deadline, codec, priority) = (open.deadline, open.codec.0, open.priority);
        self.queued += 1;
        self.queued_at[usize::from(level)] += 1;
        self.queued_bytes += held(&open);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.calls.push(Call {
                generation: 0,
                state: State::Free,
                reported: false,
                level: 0,
                codec: 0,
                wire: 0,
                start: 0,
                credit: 0,
                deadline: Instant::NEVER,
                open: None,
            });
            (self.calls.len() - 1) as u32
        });
        let call = &mut self.calls[slot as usize];
        call.generation = (call.generation + 1) & 0x7FFF_FFFF;
        call.state = State::Queued;
        call.reported = false;
        call.wire = 0;
        call.level = level;
        call.codec = codec;
        call.deadline = deadline;
        call.open = Some(open);
        let generation = call.generation;
        let queue = &mut self.queues[usize::from(level)];
        let at = match queue.back() {
            Some((.., last)) if *last < priority => {
                queue.partition_point(|(.., waits)| *waits >= priority)
            }
            _ => queue.len(),
        };
        queue.insert(at, (slot, generation, priority));
        if !deadline.is_never() {
            self.with_deadline += 1;
            self.deadlines.push(Reverse((deadline, slot, generation)));
        }
        self.compact(usize::from(level));
        CallId::ours(generation, slot)
    }

    /// O4.
    fn compact(&mut self, level: usize) {
        let calls = &self.calls;
        if self.queues[level].len() > 2 * self.queued_at[level] + 64 {
            self.queues[level].retain(|(slot, generation, _)| {
                let call = &calls[*slot as usize];
                call.generation == *generation && call.state == State::Queued
            });
        }
        if self.deadlines.len() > 2 * self.with_deadline + 64 {
            self.deadlines.retain(|Reverse((_, slot, generation))| {
                let call = &calls[*slot as usize];
                call.generation == *generation
                    && matches!(call.state, State::Queued | State::InFlight)
            });
        }
    }

    /// The first queued call that may be opened when level 0 has `max_calls` slots; `f` looks at
    /// it. The call stays queued until [`send`](Self::send) or [`give_up`](Self::give_up). Notifications
    /// take no slot, but go only if they `may_notify`.
    pub(super) fn front(&mut self, max_calls: u32, may_notify: bool) -> Option<CallId> {
        if self.queued == 0 {
            return None;
        }
        // The deepest level first: what waits for nothing must not wait for what does.
        for level in (0..=LEVELS).rev() {
            let may_go = match self.at_level.get(level) {
                Some(taken) => *taken < slots_at(level, max_calls),
                None => may_notify,
            };
            if self.queued_at[level] == 0 || !may_go {
                continue;
            }
            while let Some((slot, generation, _)) = self.queues[level].front().copied() {
                let call = &self.calls[slot as usize];
                if call.generation == generation && call.state == State::Queued {
                    return Some(CallId::ours(generation, slot));
                }
                self.queues[level].pop_front();
            }
        }
        None
    }

    pub(super) fn queued_open(&self, id: CallId) -> Option<&Open> {
        self.live(id).and_then(|call| call.open.as_ref())
    }

    /// Takes the call out of its queue: its OPEN starts at position `start` of all bytes ever
    /// handed out. Gives its number on the wire.
    pub(super) fn send(
        &mut self,
        id: CallId,
        parity: u64,
        start: u64,
        credit: u32,
    ) -> Option<(u64, Open)> {
        let slot = self.live_slot(id)?;
        let open = self.unqueue(slot)?;
        let call = &mut self.calls[slot];
        let wire = if self.last_wire == 0 {
            2 - parity
        } else {
            self.last_wire + 2
        };
        self.last_wire = wire;
        self.opened += 1;
        if usize::from(call.level) == LEVELS {
            call.state = State::Over;
            call.wire = wire;
            self.forget_deadline(slot);
            return Some((wire, open));
        }
        self.at_level[usize::from(call.level)] += 1;
        call.state = State::InFlight;
        call.wire = wire;
        call.start = start;
        call.credit = credit;
        self.by_wire.insert(wire, slot as u32);
        Some((wire, open))
    }

    /// O2.
    fn unqueue(&mut self, slot: usize) -> Option<Open> {
        let call = &mut self.calls[slot];
        let open = call.open.take()?;
        self.queued -= 1;
        self.queued_at[usize::from(call.level)] -= 1;
        self.queued_bytes -= held(&open);
        Some(open)
    }

    /// The codec and the id of a call on the wire.
    pub(super) fn on_wire(&self, wire: u64) -> Option<(u8, CallId)> {
        let slot = *self.by_wire.get(&wire)?;
        let call = &self.calls[slot as usize];
        Some((call.codec, CallId::ours(call.generation, slot)))
    }

    /// The peer grants `amount` for a call: `None` if there is none, `false` if that is too much.
    pub(super) fn grant(&mut self, wire: u64, amount: u32) -> Option<bool> {
        let slot = *self.by_wire.get(&wire)?;
        let call = &mut self.calls[slot as usize];
        match call.credit.checked_add(amount) {
            Some(credit) if credit <= 1 << 31 => {
                call.credit = credit;
                Some(true)
            }
            _ => Some(false),
        }
    }

    /// The next CANCEL to send: number and reason.
    pub(super) fn next_cancel(&mut self) -> Option<(u64, CancelReason)> {
        while let Some((slot, generation, reason)) = self.cancels.pop_front() {
            let call = &self.calls[slot as usize];
            if call.generation == generation
                && matches!(call.state, State::Settled | State::Skipping)
            {
                return Some((call.wire, reason));
            }
        }
        None
    }

    /// Calls without outcome, those not yet sent and those sent with a number above `wire`, in the
    /// order of their places.
    pub(super) fn waiting_above(&self, wire: u64) -> Vec<CallId> {
        let all = self.calls.iter().enumerate();
        all.filter(|(_, call)| match call.state {
            State::Queued => true,
            State::InFlight => call.wire > wire,
            _ => false,
        })
        .map(|(slot, call)| CallId::ours(call.generation, slot as u32))
        .collect()
    }

    /// The number on the wire of a call without outcome; 0 if it is not sent yet.
    pub(super) fn wire_of_waiting(&self, id: CallId) -> Option<u64> {
        let call = self.live(id)?;
        match call.state {
            State::Queued => Some(0),
            State::InFlight => Some(call.wire),
            _ => None,
        }
    }

    /// Whether a call with this number waits for its outcome.
    pub(super) fn is_waiting(&self, wire: u64) -> bool {
        self.by_wire
            .get(&wire)
            .is_some_and(|slot| self.calls[*slot as usize].state == State::InFlight)
    }

    /// The number on the wire of a call that was sent and has not ended.
    pub(super) fn wire(&self, id: CallId) -> Option<u64> {
        self.live(id)
            .filter(|call| self.by_wire.contains_key(&call.wire))
            .map(|call| call.wire)
    }

    /// The number on the wire of the last call in this place, if that is `id` and was sent.
    pub(super) fn number(&self, id: CallId) -> Option<u64> {
        let call = self.calls.get(id.slot())?;
        let fits = CallId::ours(call.generation, id.slot() as u32) == id && call.wire != 0;
        fits.then_some(call.wire)
    }

    pub(super) fn memory(&self) -> usize {
        let queues: usize = self.queues.iter().map(|queue| queue.capacity() * 12).sum();
        self.calls.capacity() * size_of::<Call>()
            + self.free.capacity() * 4
            + self.by_wire.capacity() * 20
            + queues
            + self.deadlines.capacity() * 16
            + self.cancels.capacity() * 12
            + self.queued_bytes
    }

    fn live(&self, id: CallId) -> Option<&Call> {
        self.live_slot(id).map(|slot| &self.calls[slot])
    }

    fn live_slot(&self, id: CallId) -> Option<usize> {
        let call = self.calls.get(id.slot())?;
        let fits =
            call.state != State::Free && CallId::ours(call.generation, id.slot() as u32) == id;
        fits.then_some(id.slot())
    }
}

fn held(open: &Open) -> usize {
    let name = match &open.target {
        super::Target::Name(name) => name.len(),
        super::Target::Method(_) => 0,
    };
    open.body.len() + open.extensions.len() + name
}
