//! The calls of one connection, from their hand-over until their outcome was taken.

use std::task::Waker;

use bytes::Bytes;
use slab::Slab;

use crate::CallError;
use crate::proto::{CallId, LEVELS, slots_at};

/// A call as its caller sees it.
#[derive(Debug)]
pub(super) enum Ticket {
    /// In the inbox.
    Queued(Option<Waker>),
    /// In the machine.
    Sent {
        call: CallId,
        waker: Option<Waker>,
        /// Its caller says that it waits when it looks next.
        asked: bool,
    },
    /// Once it is taken, the machine is to hear that of this call.
    Settled(Result<Bytes, CallError>, Option<CallId>),
    /// Its caller is gone; whoever meets it removes it.
    Abandoned,
}

/// The tickets, counted by hop level: calls of one level wait for those of the next, and so may not be
/// kept out by them.
///
/// Invariant: `at_level` counts the tickets of each level; notifications, which take no slot of the
/// peer, have the last one.
#[derive(Debug)]
pub(super) struct Tickets {
    all: Slab<(u8, Ticket)>,
    at_level: [usize; LEVELS + 1],
    /// Slots of the peer at level 0.
    slots: u32,
    /// Most that wait for a slot.
    queue: usize,
}

impl Tickets {
    /// None, of which `queue` may wait for a slot. There are none yet.
    pub(super) fn new(queue: usize) -> Self {
        Self {
            all: Slab::new(),
            at_level: [0; LEVELS + 1],
            slots: 0,
            queue,
        }
    }

    /// The peer takes so many calls at once, at level 0.
    pub(super) fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    /// Whether one more call of `level` has a slot or a place in the queue: as the machine says, but
    /// that the outcome of each was taken.
    pub(super) fn has_room(&self, level: usize) -> bool {
        if self.all.len() < self.queue {
            return true;
        }
        let slots = |level| match level {
            LEVELS => 0,
            level => slots_at(level, self.slots) as usize,
        };
        let waiting = |level: usize| self.at_level[level].saturating_sub(slots(level));
        self.at_level[level] < slots(level) || (0..=LEVELS).map(waiting).sum::<usize>() < self.queue
    }

    pub(super) fn insert(&mut self, level: usize) -> usize {
        self.at_level[level] += 1;
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        self.all.insert((level, Ticket::Queued(None)))
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<Ticket> {
        let (level, ticket) = self.all.try_remove(key)?;
        self.at_level[usize::from(level)] -= 1;
        Some(ticket)
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Ticket> {
        self.all.get_mut(key).map(|(_, ticket)| ticket)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ticket> {
        self.all.iter().map(|(_, (_, ticket))| ticket)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Ticket)> {
        self.all.iter_mut().map(|(key, (_, ticket))| (key, ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_its_slots_whatever_the_others_hold() {
        let mut tickets = Tickets::new(3);
        let fill = |tickets: &mut Tickets, level| {
            let mut taken = Vec::new();
            while tickets.has_room(level) {
                taken.push(tickets.insert(level));
            }
            taken
        };
        // Before anything is known of the peer, they wait.
        assert_eq!(fill(&mut tickets, 0).len(), 3);
        tickets.set_slots(16);
        let first = fill(&mut tickets, 0);
        assert_eq!(first.len(), 16);
        for level in 1..LEVELS {
            assert_eq!(fill(&mut tickets, level).len(), 2, "level {level}");
        }
        // Those that take no slot share the queue, which is full.
        assert!(!tickets.has_room(LEVELS));
        tickets.remove(first[0]).expect("it was there");
        assert!(tickets.has_room(LEVELS) && tickets.has_room(0) && tickets.has_room(8));
        let last = tickets.insert(LEVELS);
        assert!(!tickets.has_room(0) && !tickets.has_room(8));
        tickets.remove(last).expect("it was there");
        assert!(tickets.remove(last).is_none() && tickets.has_room(8));
    }
}
