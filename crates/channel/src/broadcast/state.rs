//! What the lock of a broadcast protects: pure bookkeeping, no foreign code.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::Lag;
use super::aftermath::{Aftermath, Batch};
use super::item::{Item, Shared};
use crate::error::TryBroadcastRecvError;
use crate::wait_list::{Key, WaitList};

/// How many emptied allocations are kept for values to come.
const SPARES: usize = 64;

/// The protected part. Values are numbered in the order of their sending.
///
/// A receiver *listens* until it is cut off.
///
/// Invariants, true whenever the lock is free:
/// 1. `values` holds the numbers `first..first + values.len()`, at most
///    `capacity` of them. Each is wanted by those who listen and whose `next` is
///    not above its number, and the oldest by somebody.
/// 2. A receiver that listens and whose `next` is below `first` missed what lies
///    between.
/// 3. A send is queued only while there is no room, by [`Lag::Block`].
/// 4. A receiver waits only while it has had every value and the channel is open,
///    or until [`rouse`](Self::rouse) comes to it; `waiting` counts them.
/// 5. `spare` holds empty allocations that nobody else knows.
pub(super) struct State<T> {
    values: VecDeque<Value<T>>,
    spare: Vec<Shared<T>>,
    first: u64,
    capacity: usize,
    lag: Lag,
    places: Vec<Option<Place>>,
    listening: usize,
    waiting: usize,
    pub(super) receivers: usize,
    pub(super) senders: usize,
    pub(super) closed: bool,
    sending: WaitList<Sending<T>>,
}

struct Value<T> {
    shared: Shared<T>,
    /// How many receivers have yet to have it.
    wanted: usize,
}

/// How far a receiver has come.
#[derive(Debug)]
struct Place {
    next: u64,
    /// It lagged under [`Lag::Close`]; what it missed is still to be told.
    cut_off: Option<u64>,
    told: bool,
    waker: Option<Waker>,
}

pub(super) enum Sending<T> {
    Waiting(T, Waker),
    Sent,
    Returned(T),
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize, lag: Lag) -> Self {
        Self {
            values: VecDeque::new(),
            spare: Vec::new(),
            first: 0,
            capacity,
            lag,
            places: Vec::new(),
            listening: 0,
            waiting: 0,
            receivers: 0,
            senders: 1,
            closed: false,
            sending: WaitList::new(),
        }
    }

    fn end(&self) -> u64 {
        self.first + self.values.len() as u64
    }

    /// A receiver that starts where `like` is, or with the next value.
    pub(super) fn join(&mut self, like: Option<usize>) -> usize {
        let like = like.and_then(|place| self.places[place].as_ref());
        let place = Place {
            next: like.map_or_else(|| self.end(), |like| like.next),
            cut_off: like.and_then(|like| like.cut_off),
            told: like.is_some_and(|like| like.told),
            waker: None,
        };
        self.receivers += 1;
        if place.cut_off.is_none() {
            self.listening += 1;
            for value in self.wanted_from(place.next) {
                value.wanted += 1;
            }
        }
        match self.places.iter().position(Option::is_none) {
            Some(free) => {
                self.places[free] = Some(place);
                free
            }
            None => {
                self.places.push(Some(place));
                self.places.len() - 1
            }
        }
    }

    /// The values from the number `next` on.
    fn wanted_from(&mut self, next: u64) -> impl Iterator<Item = &mut Value<T>> {
        let had = next.saturating_sub(self.first) as usize;
        self.values.iter_mut().skip(had)
    }

    /// Forgets a receiver, and the values that only it wanted.
    pub(super) fn leave(&mut self, place: usize, after: &mut Aftermath<T>) {
        after.stale = self.wait_no_more(place);
        let Some(gone) = self.places[place].take() else {
            return;
        };
        self.receivers -= 1;
        if gone.cut_off.is_none() {
            self.listening -= 1;
            for value in self.wanted_from(gone.next) {
                value.wanted -= 1;
            }
        }
        self.forget_unwanted(after);
        if self.receivers == 0 {
            self.return_sending(after);
        } else {
            self.admit(after);
        }
    }

    /// Whether sends are in vain.
    pub(super) fn is_over(&self) -> bool {
        self.closed || self.receivers == 0
    }

    /// Whether a value can be taken now.
    pub(super) fn has_room(&self) -> bool {
        self.values.len() < self.capacity || self.lag != Lag::Block
    }

    /// How many values some receiver has yet to have.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Takes a value for which there is room; what lagging receivers lose goes.
    pub(super) fn accept(&mut self, value: T, after: &mut Aftermath<T>) {
        if self.values.len() == self.capacity {
            match self.lag {
                Lag::Close => self.cut_off(after),
                _ => self.forget_oldest(after),
            }
        }
        if self.listening == 0 {
            after.gone.push(Item::Own(value));
            self.first += 1;
            return;
        }
        let mut shared = self.spare.pop().unwrap_or_default();
        match Arc::get_mut(&mut shared) {
            Some(place) => *place = Some(value),
            // Never, by invariant 5; a value is worth an allocation.
            None => shared = Arc::new(Some(value)),
        }
        self.values.push_back(Value {
            shared,
            wanted: self.listening,
        });
        after.news |= self.waiting > 0;
    }

    /// Lets nobody who has not had the oldest value have any other.
    fn cut_off(&mut self, after: &mut Aftermath<T>) {
        let missed = self.values.len() as u64 + 1;
        let mut count = 0;
        for place in self.places.iter_mut().flatten() {
            if place.cut_off.is_none() && place.next <= self.first {
                place.cut_off = Some(missed);
                count += 1;
            }
        }
        self.listening -= count;
        for value in &mut self.values {
            value.wanted -= count;
        }
        self.forget_unwanted(after);
    }

    /// What the receiver at `place` gets next.
    pub(super) fn take(
        &mut self,
        place: usize,
        after: &mut Aftermath<T>,
    ) -> Result<Item<T>, TryBroadcastRecvError> {
        let first = self.first;
        let Some(here) = &mut self.places[place] else {
            return Err(TryBroadcastRecvError::Closed);
        };
        if let Some(missed) = here.cut_off {
            return Err(if std::mem::replace(&mut here.told, true) {
                TryBroadcastRecvError::Closed
            } else {
                TryBroadcastRecvError::Lagged(missed)
            });
        }
        if here.next < first {
            let missed = first - std::mem::replace(&mut here.next, first);
            return Err(TryBroadcastRecvError::Lagged(missed));
        }
        let Some(value) = self.values.get_mut((here.next - first) as usize) else {
            return Err(if self.closed {
                TryBroadcastRecvError::Closed
            } else {
                TryBroadcastRecvError::Empty
            });
        };
        here.next += 1;
        value.wanted -= 1;
        if value.wanted > 0 {
            return Ok(Item::Shared(Arc::clone(&value.shared)));
        }
        // Whoever has had this one has had those before, so it is the oldest.
        let Some(item) = self.pop() else {
            return Err(TryBroadcastRecvError::Empty);
        };
        self.admit(after);
        Ok(item)
    }

    /// Lets what nobody wants go.
    fn forget_unwanted(&mut self, after: &mut Aftermath<T>) {
        while self.values.front().is_some_and(|value| value.wanted == 0) {
            self.forget_oldest(after);
        }
    }

    fn forget_oldest(&mut self, after: &mut Aftermath<T>) {
        if let Some(item) = self.pop() {
            after.gone.push(item);
        }
    }

    /// Takes the oldest value out, and keeps its allocation if nobody is cloning it.
    fn pop(&mut self) -> Option<Item<T>> {
        let mut shared = self.values.pop_front()?.shared;
        self.first += 1;
        let Some(value) = Arc::get_mut(&mut shared).and_then(Option::take) else {
            return Some(Item::Shared(shared));
        };
        if self.spare.len() < SPARES {
            self.spare.push(shared);
        }
        Some(Item::Own(value))
    }

    /// Lets waiting senders in while there is room.
    fn admit(&mut self, after: &mut Aftermath<T>) {
        while self.values.len() < self.capacity
            && let Some(key) = self.sending.front()
        {
            if let Some(sending) = self.sending.settle(key)
                && let Sending::Waiting(value, waker) = std::mem::replace(sending, Sending::Sent)
            {
                after.senders.push(waker);
                self.accept(value, after);
            }
        }
    }

    pub(super) fn park_send(&mut self, value: T, waker: Waker) -> Key {
        self.sending.push_back(Sending::Waiting(value, waker))
    }

    pub(super) fn remove_send(&mut self, key: Key) -> Option<Sending<T>> {
        self.sending.remove(key)
    }

    /// The waker of a send that still waits.
    pub(super) fn waker_of_send(&mut self, key: Key) -> Option<&mut Waker> {
        match self.sending.find(key) {
            Some(Sending::Waiting(_, waker)) => Some(waker),
            _ => None,
        }
    }

    /// Whether the receiver at `place` waits, in the task of `waker`.
    pub(super) fn is_awaited(&self, place: usize, waker: &Waker) -> bool {
        let known = self.places[place].as_ref().and_then(|p| p.waker.as_ref());
        known.is_some_and(|known| known.will_wake(waker))
    }

    /// Lets the receiver at `place` wait; the waker that is replaced.
    pub(super) fn wait(&mut self, place: usize, waker: Waker) -> Option<Waker> {
        let replaced = self.places[place].as_mut()?.waker.replace(waker);
        self.waiting += usize::from(replaced.is_none());
        replaced
    }

    /// Takes the waker of the receiver at `place` back, if it waits.
    pub(super) fn wait_no_more(&mut self, place: usize) -> Option<Waker> {
        let waker = self.places[place].as_mut()?.waker.take();
        self.waiting -= usize::from(waker.is_some());
        waker
    }

    /// Collects the wakers of receivers that wait no longer, from `place` on;
    /// whether there may be more than fit.
    pub(super) fn rouse(&mut self, place: &mut usize, batch: &mut Batch) -> bool {
        let (end, closed) = (self.end(), self.closed);
        while self.waiting > 0
            && let Some(here) = self.places.get_mut(*place)
        {
            if batch.is_full() {
                return true;
            }
            *place += 1;
            if let Some(here) = here
                && (closed || here.next < end)
                && let Some(waker) = here.waker.take()
            {
                self.waiting -= 1;
                batch.push(waker);
            }
        }
        false
    }

    /// Closes: senders find their values returned, receivers the end when they
    /// have had what is there.
    pub(super) fn close(&mut self, after: &mut Aftermath<T>) {
        self.closed = true;
        self.return_sending(after);
        after.news |= self.waiting > 0;
    }

    fn return_sending(&mut self, after: &mut Aftermath<T>) {
        while let Some(key) = self.sending.front() {
            if let Some(sending) = self.sending.settle(key)
                && let Sending::Waiting(value, waker) = std::mem::replace(sending, Sending::Sent)
            {
                *sending = Sending::Returned(value);
                after.senders.push(waker);
            }
        }
    }
}
