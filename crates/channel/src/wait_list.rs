//! A first-in first-out list of waiting operations, any of which can leave.

/// Names one entry of a [`WaitList`]; stale once the entry was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    index: usize,
    stamp: u64,
}

/// No entry.
const NIL: usize = usize::MAX;

/// Above this many slots an emptied list gives its memory back.
const KEPT_SLOTS: usize = 32;

/// A doubly linked list inside a slab: every operation takes constant time.
///
/// An entry is *queued* (linked, waits its turn) or *settled* (unlinked, its
/// owner has yet to fetch the outcome), until it is removed.
///
/// Invariants:
/// 1. `head..tail` links exactly the queued entries, oldest first.
/// 2. `free` links exactly the vacant slots through `next`.
/// 3. No two entries ever have the same stamp, so a stale key finds nothing.
#[derive(Debug)]
pub(crate) struct WaitList<W> {
    slots: Vec<Slot<W>>,
    head: usize,
    tail: usize,
    free: usize,
    occupied: usize,
    queued: usize,
    next_stamp: u64,
}

#[derive(Debug)]
struct Slot<W> {
    prev: usize,
    next: usize,
    queued: bool,
    stamp: u64,
    waiter: Option<W>,
}

impl<W> WaitList<W> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            head: NIL,
            tail: NIL,
            free: NIL,
            occupied: 0,
            queued: 0,
            next_stamp: 0,
        }
    }

    /// Queues a waiter behind all others.
    pub(crate) fn push_back(&mut self, waiter: W) -> Key {
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        let slot = Slot {
            prev: self.tail,
            next: NIL,
            queued: true,
            stamp,
            waiter: Some(waiter),
        };
        let index = if self.free == NIL {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let index = self.free;
            self.free = self.slots[index].next;
            self.slots[index] = slot;
            index
        };
        match self.tail {
            NIL => self.head = index,
            tail => self.slots[tail].next = index,
        }
        self.tail = index;
        self.occupied += 1;
        self.queued += 1;
        Key { index, stamp }
    }

    /// Whether nobody is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// The queued waiter that came first.
    pub(crate) fn front(&self) -> Option<Key> {
        (self.head != NIL).then(|| Key {
            index: self.head,
            stamp: self.slots[self.head].stamp,
        })
    }

    /// The waiter named by `key`, queued or settled, unless it was removed.
    pub(crate) fn find(&mut self, key: Key) -> Option<&mut W> {
        let slot = self.slots.get_mut(key.index)?;
        if slot.stamp != key.stamp {
            return None;
        }
        slot.waiter.as_mut()
    }

    /// Takes a waiter out of the queue but keeps it until it is removed.
    pub(crate) fn settle(&mut self, key: Key) -> Option<&mut W> {
        self.find(key)?;
        self.unlink(key.index);
        self.slots[key.index].waiter.as_mut()
    }

    /// Removes a waiter, queued or settled.
    pub(crate) fn remove(&mut self, key: Key) -> Option<W> {
        self.find(key)?;
        self.unlink(key.index);
        let slot = &mut self.slots[key.index];
        let waiter = slot.waiter.take();
        slot.next = self.free;
        self.free = key.index;
        self.occupied -= 1;
        if self.occupied == 0 && self.slots.len() > KEPT_SLOTS {
            self.slots = Vec::new();
            self.free = NIL;
        }
        waiter
    }

    fn unlink(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if !slot.queued {
            return;
        }
        slot.queued = false;
        let (prev, next) = (slot.prev, slot.next);
        match prev {
            NIL => self.head = next,
            prev => self.slots[prev].next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => self.slots[next].prev = prev,
        }
        self.queued -= 1;
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
            assert_eq!(drain(&mut list), expected);
            assert!(list.is_empty());
        }
    }

    #[test]
    fn a_stale_key_finds_nothing_even_when_its_slot_is_used_again() {
        let mut list = WaitList::new();
        let old = list.push_back(1);
        list.remove(old);
        let new = list.push_back(2);
        assert_eq!(old.index, new.index);
        assert_eq!(list.find(old), None);
        assert_eq!(list.remove(old), None);
        assert_eq!(list.find(new), Some(&mut 2));
    }

    #[test]
    fn a_settled_entry_is_out_of_the_queue_but_can_be_fetched() {
        let mut list = WaitList::new();
        let first = list.push_back(1);
        let second = list.push_back(2);
        assert_eq!(list.settle(first), Some(&mut 1));
        assert_eq!(list.front(), Some(second));
        assert_eq!(list.remove(first), Some(1));
        assert_eq!(drain(&mut list), [2]);
    }

    #[test]
    fn an_emptied_list_gives_a_burst_of_slots_back() {
        let mut list = WaitList::new();
        let keys: Vec<_> = (0..1_000).map(|n| list.push_back(n)).collect();
        for key in keys {
            list.remove(key);
        }
        assert_eq!(list.slots.capacity(), 0);
        list.push_back(7);
        assert_eq!(drain(&mut list), [7]);
    }
}
