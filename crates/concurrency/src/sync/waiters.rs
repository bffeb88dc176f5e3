//! Those who wait for one thing, first in, first out; any of them can leave.

use super::guarded::After;
use crate::ambient;
use crate::node::{NodeRef, Waiting};
use slab::Slab;
use std::task::{Context, Waker};

/// No place.
const NIL: usize = usize::MAX;

/// Above this many places an emptied list gives its memory back.
const KEPT_PLACES: usize = 32;

/// A doubly linked list inside a slab: every operation but the search for one who is not frozen
/// takes constant time.
///
/// A waiter is *queued* (linked, waits its turn) or *settled* (unlinked: what it waits for is
/// its own, and it has yet to fetch it), until its future removes it.
///
/// Invariants:
/// 1. `head..tail` links exactly the queued waiters, oldest first; `queued` counts them.
/// 2. A waiter is removed by its future only, so the key in a future is never stale.
/// 3. A settled waiter has no waker; a queued one has none only between being woken without
///    having been settled and its next poll.
pub(crate) struct Waiters<X> {
    places: Slab<Place<X>>,
    head: usize,
    tail: usize,
    queued: usize,
}

struct Place<X> {
    prev: usize,
    next: usize,
    queued: bool,
    waker: Option<Waker>,
    /// Where it waits: cancelled, it is frozen and passed over.
    context: Option<NodeRef>,
    extra: X,
}

impl<X> Place<X> {
    fn is_frozen(&self) -> bool {
        self.context.as_ref().is_some_and(|c| c.is_cancelled())
    }
}

/// What a waiter needs to be woken and judged, made before the lock is taken.
pub(crate) struct Arrival {
    pub(super) waker: Waker,
    pub(super) context: Option<NodeRef>,
}

impl Arrival {
    /// Of the code that runs here.
    pub(super) fn here(cx: &Context<'_>) -> Arrival {
        Arrival {
            waker: cx.waker().clone(),
            context: ambient::current(),
        }
    }

    /// Says in the task tree what it waits for.
    pub(super) fn wait_for(&self, what: Waiting) {
        if let Some(context) = &self.context {
            context.wait_for(what);
        }
    }
}

impl<X> Waiters<X> {
    pub(crate) const fn new() -> Self {
        Waiters {
            places: Slab::new(),
            head: NIL,
            tail: NIL,
            queued: 0,
        }
    }

    /// Queues a waiter behind all others.
    pub(crate) fn push_back(&mut self, arrival: Arrival, extra: X) -> usize {
        let key = self.places.insert(Place {
            prev: self.tail,
            next: NIL,
            queued: true,
            waker: Some(arrival.waker),
            context: arrival.context,
            extra,
        });
        match self.tail {
            NIL => self.head = key,
            tail => self.places[tail].next = key,
        }
        self.tail = key;
        self.queued += 1;
        key
    }

    /// How many are queued, frozen ones included.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// How many are queued and not frozen.
    pub(crate) fn live(&self) -> usize {
        let mut count = 0;
        let mut key = self.head;
        while key != NIL {
            count += usize::from(!self.places[key].is_frozen());
            key = self.places[key].next;
        }
        count
    }

    /// The oldest queued waiter that is not frozen.
    pub(crate) fn first_live(&self) -> Option<usize> {
        let mut key = self.head;
        while key != NIL {
            let place = &self.places[key];
            if !place.is_frozen() {
                return Some(key);
            }
            key = place.next;
        }
        None
    }

    /// Whether the waiter has what it waits for.
    pub(crate) fn is_settled(&self, key: usize) -> bool {
        !self.places[key].queued
    }

    pub(crate) fn extra(&self, key: usize) -> &X {
        &self.places[key].extra
    }

    /// What is kept for a waiter, and where it waits. Settled, it needs the latter no more.
    pub(crate) fn entry(&mut self, key: usize) -> (&mut X, &mut Option<NodeRef>) {
        let place = &mut self.places[key];
        (&mut place.extra, &mut place.context)
    }

    /// Takes a waiter out of the queue, wakes it, and keeps its place until it is removed.
    pub(crate) fn settle(&mut self, key: usize, after: &mut After) -> &mut X {
        let place = &mut self.places[key];
        if place.queued {
            place.queued = false;
            let (prev, next) = (place.prev, place.next);
            self.detach(prev, next);
        }
        let place = &mut self.places[key];
        if let Some(waker) = place.waker.take() {
            after.wake(waker);
        }
        &mut place.extra
    }

    /// Settles every queued waiter that is not frozen, oldest first.
    pub(crate) fn settle_live(&mut self, after: &mut After, mut each: impl FnMut(&mut X)) {
        let mut key = self.head;
        while key != NIL {
            let place = &self.places[key];
            let (next, frozen) = (place.next, place.is_frozen());
            if !frozen {
                each(self.settle(key, after));
            }
            key = next;
        }
    }

    /// Wakes a queued waiter that keeps its place, unless it was woken since its last poll.
    pub(crate) fn nudge(&mut self, key: usize, after: &mut After) {
        if let Some(waker) = self.places[key].waker.take() {
            after.wake(waker);
        }
    }

    /// Whether a queued waiter would wake `waker` and waits at `address` of the tree.
    pub(crate) fn knows(&self, key: usize, waker: &Waker, address: usize) -> bool {
        let place = &self.places[key];
        place.context.as_ref().map_or(0, |c| c.address()) == address
            && place.waker.as_ref().is_some_and(|w| w.will_wake(waker))
    }

    /// Notes who polls a queued waiter now.
    pub(crate) fn renew(&mut self, key: usize, arrival: Arrival, after: &mut After) {
        let place = &mut self.places[key];
        let waker = place.waker.replace(arrival.waker);
        let context = std::mem::replace(&mut place.context, arrival.context);
        after.discard(waker, context);
    }

    /// Removes a waiter; says also whether it was settled.
    pub(crate) fn remove(&mut self, key: usize, after: &mut After) -> (X, bool) {
        let place = self.places.remove(key);
        if place.queued {
            self.detach(place.prev, place.next);
        }
        if place.waker.is_some() || place.context.is_some() {
            after.discard(place.waker, place.context);
        }
        if self.places.capacity() > KEPT_PLACES && self.places.is_empty() {
            self.places = Slab::new();
        }
        (place.extra, !place.queued)
    }

    /// Closes the gap that a waiter leaves between its neighbours.
    fn detach(&mut self, prev: usize, next: usize) {
        match prev {
            NIL => self.head = next,
            prev => self.places[prev].next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => self.places[next].prev = prev,
        }
        self.queued -= 1;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Arrival, Waiters};
    use crate::sync::guarded::After;
    use std::task::Waker;

    fn push(waiters: &mut Waiters<u32>, extra: u32) -> usize {
        let arrival = Arrival {
            waker: Waker::noop().clone(),
            context: None,
        };
        waiters.push_back(arrival, extra)
    }

    fn drain(waiters: &mut Waiters<u32>) -> Vec<u32> {
        let mut after = After::default();
        std::iter::from_fn(|| {
            let key = waiters.first_live()?;
            Some(waiters.remove(key, &mut after).0)
        })
        .collect()
    }

    #[test]
    fn waiters_leave_from_anywhere_and_the_rest_keep_their_order() {
        for gone in 0..5 {
            let mut waiters = Waiters::new();
            let keys: Vec<_> = (0..5).map(|n| push(&mut waiters, n)).collect();
            let removed = waiters.remove(keys[gone as usize], &mut After::default());
            assert_eq!(removed, (gone, false));
            push(&mut waiters, 5);
            let expected: Vec<_> = (0..6).filter(|n| *n != gone).collect();
            assert_eq!(waiters.queued(), 5);
            assert_eq!(drain(&mut waiters), expected);
            assert_eq!(waiters.queued(), 0);
        }
    }

    #[test]
    fn a_settled_waiter_is_out_of_the_queue_but_keeps_its_place() {
        let mut waiters = Waiters::new();
        let mut after = After::default();
        let first = push(&mut waiters, 1);
        push(&mut waiters, 2);
        *waiters.settle(first, &mut after) += 10;
        assert!(waiters.is_settled(first));
        assert_eq!(waiters.queued(), 1);
        assert_eq!(waiters.remove(first, &mut after), (11, true));
        assert_eq!(drain(&mut waiters), [2]);
    }

    #[test]
    fn an_emptied_list_gives_a_burst_of_places_back() {
        let mut waiters = Waiters::new();
        for n in 0..1000 {
            push(&mut waiters, n);
        }
        assert_eq!(drain(&mut waiters).len(), 1000);
        assert_eq!(waiters.places.capacity(), 0);
        push(&mut waiters, 7);
        assert_eq!(drain(&mut waiters), [7]);
    }
}
