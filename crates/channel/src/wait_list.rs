//! A first-in first-out list of waiting operations, any of which can leave.

use crate::work;

/// Names one entry of a [`WaitList`] until its owner removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// No entry.
const NIL: u32 = u32::MAX;

/// Above this many slots an emptied list gives its memory back.
const KEPT_SLOTS: usize = 64;

/// A doubly linked list inside a slab: every operation takes constant time,
/// and entering allocates nothing once as many have waited before.
///
/// An entry is *queued* (linked, waits its turn) or *settled* (unlinked, its
/// owner has yet to fetch the outcome). Only its owner removes it, so a key
/// stays valid as long as its owner keeps it.
///
/// Invariants:
/// 1. `head..tail` links exactly the queued entries, oldest first.
/// 2. `free` links exactly the vacant slots through `next`.
/// 3. `occupied` counts the slots that are not vacant, `queued` those linked.
#[derive(Debug)]
pub(crate) struct WaitList<W> {
    /// As long as it is large; a vector would carry its length twice.
    slots: Box<[Slot<W>]>,
    head: u32,
    tail: u32,
    free: u32,
    queued: u32,
    occupied: u32,
}

#[derive(Debug)]
struct Slot<W> {
    prev: u32,
    next: u32,
    queued: bool,
    waiter: Option<W>,
}

impl<W> WaitList<W> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Box::default(),
            head: NIL,
            tail: NIL,
            free: NIL,
            queued: 0,
            occupied: 0,
        }
    }

    /// Queues a waiter behind all others.
    #[inline]
    pub(crate) fn push_back(&mut self, waiter: W) -> Key {
        if self.free == NIL {
            self.grow();
        }
        let (index, prev) = (self.free, self.tail);
        let slot = self.at(index);
        let next_free = std::mem::replace(&mut slot.next, NIL);
        slot.prev = prev;
        slot.queued = true;
        // It is vacant, so there is nothing to drop; assigning would look.
        std::mem::forget(slot.waiter.replace(waiter));
        self.free = next_free;
        match self.slots.get_mut(prev as usize) {
            None => self.head = index,
            Some(last) => last.next = index,
        }
        self.tail = index;
        self.queued += 1;
        self.occupied += 1;
        Key(index)
    }

    /// Makes vacant slots, as many as there are.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let len = self.slots.len();
        let grown = (len * 2).max(4);
        // An entry takes dozens of bytes, so memory ends long before numbers do.
        let last = u32::try_from(grown).expect("fewer than 2^32 waiters");
        let mut slots = std::mem::take(&mut self.slots).into_vec();
        slots.reserve_exact(grown - len);
        slots.extend((len as u32 + 1..=last).map(|next| Slot {
            prev: NIL,
            next: if next == last { NIL } else { next },
            queued: false,
            waiter: None,
        }));
        self.slots = slots.into_boxed_slice();
        self.free = len as u32;
    }

    /// Whether nobody is queued.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// How many are queued.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.queued as usize
    }

    /// The queued waiter that came first.
    #[inline]
    pub(crate) fn front(&self) -> Option<Key> {
        (self.head != NIL).then_some(Key(self.head))
    }

    /// The queued waiter behind the queued `key`.
    pub(crate) fn after(&self, key: Key) -> Option<Key> {
        let next = self.slots[key.0 as usize].next;
        (next != NIL).then_some(Key(next))
    }

    /// The waiter named by `key`, queued or settled.
    #[inline]
    pub(crate) fn find(&mut self, key: Key) -> Option<&mut W> {
        work::touch();
        self.slots.get_mut(key.0 as usize)?.waiter.as_mut()
    }

    /// Takes the waiter that came first out of the queue, but keeps it until it
    /// is removed, if `settle` settles it.
    #[inline]
    pub(crate) fn settle_front<R>(
        &mut self,
        settle: impl FnOnce(&mut W) -> Option<R>,
    ) -> Option<R> {
        work::touch();
        // What is no number of a slot is none of a waiter.
        let slot = self.slots.get_mut(self.head as usize)?;
        let settled = settle(slot.waiter.as_mut()?)?;
        slot.queued = false;
        self.head = slot.next;
        match self.slots.get_mut(self.head as usize) {
            None => self.tail = NIL,
            Some(next) => next.prev = NIL,
        }
        self.queued -= 1;
        Some(settled)
    }

    /// Removes a waiter, queued or settled, if `is_plain` says that there is
    /// nothing in it to keep or to drop.
    #[inline]
    pub(crate) fn remove_plain(&mut self, key: Key, is_plain: impl FnOnce(&W) -> bool) -> bool {
        work::touch();
        let Some(slot) = self.slots.get_mut(key.0 as usize) else {
            return false;
        };
        if !slot.waiter.as_ref().is_some_and(is_plain) {
            return false;
        }
        std::mem::forget(slot.waiter.take());
        if slot.queued {
            self.unlink(key.0);
        }
        self.vacate(key.0);
        true
    }

    /// Takes a waiter out of the queue but keeps it until it is removed.
    pub(crate) fn settle(&mut self, key: Key) -> Option<&mut W> {
        self.unlink(key.0);
        self.find(key)
    }

    /// Removes a waiter, queued or settled.
    pub(crate) fn remove(&mut self, key: Key) -> Option<W> {
        self.unlink(key.0);
        let waiter = self.at(key.0).waiter.take()?;
        self.vacate(key.0);
        Some(waiter)
    }

    /// Counts a slot without a waiter among the vacant ones.
    #[inline]
    fn vacate(&mut self, index: u32) {
        let free = self.free;
        self.at(index).next = free;
        self.free = index;
        self.occupied -= 1;
        if self.occupied == 0 && self.slots.len() > KEPT_SLOTS {
            self.shrink();
        }
    }

    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        self.slots = Box::default();
        self.free = NIL;
    }

    #[inline]
    fn unlink(&mut self, index: u32) {
        let slot = self.at(index);
        if !slot.queued {
            return;
        }
        slot.queued = false;
        let (prev, next) = (slot.prev, slot.next);
        match prev {
            NIL => self.head = next,
            prev => self.at(prev).next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => self.at(next).prev = prev,
        }
        self.queued -= 1;
    }

    #[inline]
    fn at(&mut self, index: u32) -> &mut Slot<W> {
        work::touch();
        &mut self.slots[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(list: &mut WaitList<u32>) -> Vec<u32> {
        std::iter::from_fn(|| {
            let key = list.front()?;
            list.remove(key)
        })
        .collect()
    }

    #[test]
    fn entries_leave_from_anywhere_and_the_rest_keep_their_order() {
        for gone in 0..5 {
            let mut list = WaitList::new();
            let keys: Vec<_> = (0..5).map(|n| list.push_back(n)).collect();
            assert_eq!(list.remove(keys[gone]), Some(gone as u32));
            list.push_back(5);
            let expected: Vec<_> = (0..6).filter(|n| *n != gone as u32).collect();
            assert_eq!(list.queued(), 5);
            assert_eq!(drain(&mut list), expected);
            assert!(list.is_empty());
        }
    }

    #[test]
    fn a_slot_is_used_again_and_a_vacant_one_holds_nobody() {
        let mut list = WaitList::new();
        let old = list.push_back(1);
        list.remove(old);
        assert_eq!(list.find(old), None);
        let new = list.push_back(2);
        assert_eq!(old, new);
        assert_eq!(list.find(new), Some(&mut 2));
        assert_eq!(list.slots.len(), 4);
    }

    #[test]
    fn a_settled_entry_is_out_of_the_queue_but_can_be_fetched() {
        let mut list = WaitList::new();
        let first = list.push_back(1);
        let second = list.push_back(2);
        assert_eq!(list.after(first), Some(second));
        assert_eq!(list.settle(first), Some(&mut 1));
        assert_eq!(list.front(), Some(second));
        assert_eq!(list.remove(first), Some(1));
        assert_eq!(drain(&mut list), [2]);
    }

    #[test]
    fn the_first_leaves_the_queue_if_it_is_settled_and_its_slot_when_it_is_done() {
        let mut list = WaitList::new();
        assert_eq!(list.settle_front(|_| Some(())), None);
        let first = list.push_back(1);
        let second = list.push_back(2);
        assert_eq!(list.settle_front(|_| None::<()>), None);
        assert_eq!(list.queued(), 2);
        assert_eq!(
            list.settle_front(|n| Some(std::mem::replace(n, 7))),
            Some(1)
        );
        assert_eq!((list.front(), list.queued()), (Some(second), 1));
        assert!(!list.remove_plain(first, |n| *n == 1));
        assert!(list.remove_plain(first, |n| *n == 7));
        assert!(!list.remove_plain(first, |_| true));
        // One that is queued, too.
        let third = list.push_back(3);
        assert!(list.remove_plain(second, |_| true));
        assert_eq!((list.front(), list.queued()), (Some(third), 1));
        assert_eq!(list.settle_front(|n| Some(*n)), Some(3));
        assert!(list.is_empty());
        list.push_back(4);
        assert_eq!(drain(&mut list), [4]);
    }

    #[test]
    fn an_emptied_list_gives_a_burst_of_slots_back() {
        let mut list = WaitList::new();
        let keys: Vec<_> = (0..1_000).map(|n| list.push_back(n)).collect();
        for key in keys {
            list.remove(key);
        }
        assert_eq!(list.slots.len(), 0);
        list.push_back(7);
        assert_eq!(drain(&mut list), [7]);
    }
}
