//! Messages on their way out that are more than one frame, or one of many: whose turn it is, and how much
//! of them waits.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bowline_backend::time::Instant;
use bytes::Bytes;

use super::IdHash;
use super::frame::CHARGE;
use super::outlet::{FRAGMENT, Message, Outlet, Part, Terms};
use super::{CallId, Failure};
use crate::{Certainty, Code};

/// Priorities: 0 to 7.
const PRIORITIES: usize = 8;

// Invariants
// L1 `rings` name each outlet at most once, those and only those that can send.
// L2 `held` is what all queues hold, and `held_by_calls` what those of calls of ours do.
// L6 `long` is the sum of `Outlet::long`, of calls of the peer and of ours.
// L7 `due` has each outlet that has a `due`, and no other.
// L8 `short` names the outlets that are `short`, and perhaps some that are gone; `roomy` those that were.
#[derive(Debug, Default)]
pub(super) struct Outlets {
    by_wire: HashMap<u64, Box<Outlet>, IdHash>,
    rings: [VecDeque<u64>; PRIORITIES],
    /// Turns each priority has left before all get theirs anew.
    turns: [u8; PRIORITIES],
    /// How many the rings name.
    ready: usize,
    held: usize,
    held_by_calls: usize,
    long: [usize; 2],
    due: BTreeSet<(Instant, u64)>,
    short: Vec<u64>,
    roomy: Vec<u64>,
}

impl Outlets {
    pub(super) fn open(&mut self, wire: u64, terms: Terms) {
        self.by_wire.insert(wire, Box::new(Outlet::new(terms)));
    }

    pub(super) fn contains(&self, wire: u64) -> bool {
        self.by_wire.contains_key(&wire)
    }

    /// Whether items may be pushed.
    pub(super) fn streams(&self, wire: u64) -> bool {
        self.by_wire.get(&wire).is_some_and(|outlet| outlet.streams)
    }

    /// No more items are pushed.
    pub(super) fn end(&mut self, wire: u64) {
        if let Some(outlet) = self.by_wire.get_mut(&wire) {
            outlet.streams = false;
        }
    }

    /// Somebody waits for room.
    pub(super) fn want(&mut self, wire: u64) {
        if let Some(outlet) = self.by_wire.get_mut(&wire) {
            outlet.wanted = true;
        }
    }

    /// Whether nothing waits and nothing will come.
    pub(super) fn is_done(&self, wire: u64) -> bool {
        self.by_wire
            .get(&wire)
            .is_some_and(|outlet| !outlet.streams && outlet.queue.is_empty())
    }

    /// Whether an item of `length` bytes may be pushed, when long messages may be `most` bytes in all; if
    /// not, whether there is room is looked at whenever there might be.
    pub(super) fn has_room(&mut self, wire: u64, length: usize, most: usize) -> Option<bool> {
        let outlet = self.by_wire.get_mut(&wire)?;
        let fits = length + CHARGE <= outlet.room();
        let long = self.long[usize::from(outlet.call.is_ours())];
        let alone = outlet.takes_one();
        let room = fits || (alone && (!outlet.is_long(length) || long + length <= most));
        outlet.wanted |= !room;
        if alone && !room && !outlet.short {
            outlet.short = true;
            self.short.push(wire);
        }
        Some(room)
    }

    /// What may be pushed of charge so that it has its credit already.
    pub(super) fn room(&self, wire: u64) -> u64 {
        let outlet = self.by_wire.get(&wire);
        outlet.map_or(0, |outlet| outlet.room() as u64)
    }

    /// Bytes of long answers and items to the peer that wait.
    pub(super) fn long_to_peer(&self) -> usize {
        self.long[0]
    }

    /// One that can be pushed to again, since others have sent their long messages.
    pub(super) fn next_roomy(&mut self) -> Option<CallId> {
        while let Some(wire) = self.roomy.pop() {
            if let Some(outlet) = self.by_wire.get_mut(&wire)
                && std::mem::take(&mut outlet.wanted)
            {
                return Some(outlet.call);
            }
        }
        None
    }

    pub(super) fn push(&mut self, wire: u64, message: Message) {
        if let Some(outlet) = self.by_wire.get_mut(&wire) {
            let (held, long) = (message.held(), outlet.long);
            outlet.push(message);
            let (ours, long_now) = (outlet.call.is_ours(), outlet.long);
            self.account(ours, (0, long), (held, long_now));
            self.enlist(wire);
        }
    }

    /// The first part of the arguments went out in the OPEN: this is the rest.
    pub(super) fn push_rest(&mut self, wire: u64, rest: Bytes) {
        self.change(wire, |outlet| {
            outlet.push(Message::Item(rest));
            outlet.begin_front();
        });
    }

    /// Nothing of the messages of a call of the peer that wait is sent any more, but this.
    pub(super) fn replace(&mut self, wire: u64, failure: Box<Failure>) {
        self.change(wire, |outlet| {
            outlet.empty();
            outlet.push(Message::Fail(failure));
        });
    }

    /// Nobody waits after `due` for the answer that has been pushed.
    pub(super) fn wait_until(&mut self, wire: u64, due: Instant) {
        if let Some(outlet) = self.by_wire.get_mut(&wire)
            && !outlet.queue.is_empty()
        {
            outlet.due = Some(due);
            self.due.insert((due, wire));
        }
    }

    /// When the next answer is given up.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Gives up the answers that are due by `now`, and what waits before them: the peer gets an error instead.
    pub(super) fn give_up_due(&mut self, now: Instant) {
        while let Some((due, wire)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            self.change(wire, |outlet| {
                outlet.due = None;
                let failure = match outlet.empty() {
                    Some(Message::Fail(failure)) => failure,
                    _ => Box::new(too_late()),
                };
                outlet.push(Message::Fail(failure));
            });
        }
    }

    /// Changes what waits in an outlet.
    // Invariants L2, L6 and L8.
    fn change(&mut self, wire: u64, change: impl FnOnce(&mut Outlet)) {
        if let Some(outlet) = self.by_wire.get_mut(&wire) {
            let before = (outlet.held(), outlet.long);
            change(outlet);
            let now = (outlet.held(), outlet.long);
            let ours = outlet.call.is_ours();
            self.account(ours, before, now);
            self.enlist(wire);
        }
    }

    fn account(&mut self, ours: bool, before: (usize, usize), now: (usize, usize)) {
        self.held = self.held - before.0 + now.0;
        if ours {
            self.held_by_calls = self.held_by_calls - before.0 + now.0;
        }
        let long = &mut self.long[usize::from(ours)];
        *long = *long - before.1 + now.1;
        if now.1 < before.1 {
            for wire in self.short.drain(..) {
                if let Some(outlet) = self.by_wire.get_mut(&wire) {
                    outlet.short = false;
                    self.roomy.push(wire);
                }
            }
        }
    }

    /// The peer grants more: `None` if there is no such outlet, `Some(None)` if it is too much;
    /// otherwise the call, if somebody waits for that.
    pub(super) fn grant(&mut self, wire: u64, amount: u32) -> Option<Option<Option<CallId>>> {
        let outlet = self.by_wire.get_mut(&wire)?;
        let Some(credit) = outlet.credit.checked_add(amount).filter(|c| *c <= 1 << 31) else {
            return Some(None);
        };
        outlet.credit = credit;
        let wanted = std::mem::take(&mut outlet.wanted).then_some(outlet.call);
        self.enlist(wire);
        Some(Some(wanted))
    }

    pub(super) fn remove(&mut self, wire: u64) {
        if self.by_wire.is_empty() {
            return;
        }
        if let Some(outlet) = self.by_wire.remove(&wire) {
            let before = (outlet.held(), outlet.long);
            self.account(outlet.call.is_ours(), before, (0, 0));
            if let Some(due) = outlet.due {
                self.due.remove(&(due, wire));
            }
            if outlet.in_ring {
                self.ready -= 1;
                self.rings[usize::from(outlet.priority)].retain(|other| *other != wire);
            }
        }
        if self.by_wire.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether one of them can send.
    pub(super) fn is_ready(&self) -> bool {
        self.ready > 0
    }

    // Invariant L1.
    fn enlist(&mut self, wire: u64) {
        let Some(outlet) = self.by_wire.get_mut(&wire) else {
            return;
        };
        if !outlet.in_ring && outlet.can_send() {
            outlet.in_ring = true;
            self.ready += 1;
            self.rings[usize::from(outlet.priority)].push_back(wire);
        }
    }

    /// Whose turn it is: a priority has one turn more than the one below it, and within one every
    /// call has one part per turn.
    fn next_wire(&mut self) -> Option<u64> {
        for _ in 0..2 {
            for priority in (0..PRIORITIES).rev() {
                if self.turns[priority] > 0
                    && let Some(wire) = self.rings[priority].pop_front()
                {
                    self.turns[priority] -= 1;
                    self.ready -= 1;
                    return Some(wire);
                }
            }
            self.turns = [1, 2, 3, 4, 5, 6, 7, 8];
        }
        None
    }

    /// The next part to send, of at most `room` bytes, and the call that has room again if somebody
    /// waits for that.
    pub(super) fn next(&mut self, room: usize) -> Option<(u64, Part, Option<CallId>)> {
        let wire = self.next_wire()?;
        let outlet = self.by_wire.get_mut(&wire)?;
        outlet.in_ring = false;
        let waiting = outlet.queue.len();
        let (held, long) = (outlet.held_by_front(), outlet.long);
        let part = outlet.take_part(room.min(FRAGMENT))?;
        let held_now = match outlet.queue.len() {
            left if left < waiting => 0,
            _ => outlet.held_by_front(),
        };
        let room = outlet.wanted && outlet.takes_one();
        let wanted = room.then_some(outlet.call);
        outlet.wanted &= !room;
        let (ours, long_now) = (outlet.call.is_ours(), outlet.long);
        self.account(ours, (held, long), (held_now, long_now));
        self.enlist(wire);
        Some((wire, part, wanted))
    }

    /// Whether `wire` has sent the reply or the error that ends its call.
    pub(super) fn is_over(&self, wire: u64) -> bool {
        self.by_wire
            .get(&wire)
            .is_some_and(|outlet| outlet.reply && outlet.queue.is_empty())
    }

    /// The same of calls of ours: arguments and items.
    pub(super) fn held_by_calls(&self) -> usize {
        self.held_by_calls
    }

    /// Bytes of bodies that wait, whole ones where a part has gone out.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn memory(&self) -> usize {
        let rings: usize = self.rings.iter().map(|ring| ring.capacity() * 8).sum();
        self.by_wire.capacity() * (size_of::<(u64, Box<Outlet>)>() + 1)
            + self.by_wire.len() * size_of::<Outlet>()
            + rings
            + (self.short.capacity() + self.roomy.capacity()) * 8
            + self.due.len() * 4 * size_of::<(Instant, u64)>()
            + self.held
    }
}

/// The answer to a call whose reply had waited for credit when its time was over.
fn too_late() -> Failure {
    Failure::new(Code::DeadlineExceeded)
        .certainty(Certainty::Executed)
        .message("the reply waited for credit")
}
