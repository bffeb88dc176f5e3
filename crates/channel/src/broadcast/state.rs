//! What the lock of a broadcast protects: pure bookkeeping, no foreign code.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::Lag;
use crate::wait_list::{Key, WaitList};
use crate::wakes::Wakes;

/// The protected part. Values are numbered in the order of their sending.
///
/// Invariants, true whenever the lock is free:
/// 1. `values` holds the numbers `first..first + values.len()`, at most
///    `capacity` of them, and the oldest is wanted by some receiver.
/// 2. A receiver whose `next` is below `first` missed what lies between.
/// 3. A send is queued only while there is no room, by [`Lag::Block`].
/// 4. A receiver is queued only while it has had every value and the channel is
///    open.
pub(super) struct State<T> {
    values: VecDeque<Arc<T>>,
    first: u64,
    capacity: usize,
    lag: Lag,
    places: Vec<Option<Place>>,
    pub(super) receivers: usize,
    pub(super) senders: usize,
    pub(super) closed: bool,
    sending: WaitList<Sending<T>>,
    receiving: WaitList<Option<Waker>>,
}

/// How far a receiver has come.
#[derive(Debug, Clone, Copy)]
struct Place {
    next: u64,
    /// It lagged under [`Lag::Close`]; what it missed is still to be told.
    cut_off: Option<u64>,
    told: bool,
}

pub(super) enum Sending<T> {
    Waiting(T, Waker),
    Sent,
    Returned(T),
}

/// What a receiver finds.
pub(super) enum Found<T> {
    Value(Arc<T>),
    Missed(u64),
    Nothing,
    End,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize, lag: Lag) -> Self {
        Self {
            values: VecDeque::new(),
            first: 0,
            capacity,
            lag,
            places: Vec::new(),
            receivers: 0,
            senders: 1,
            closed: false,
            sending: WaitList::new(),
            receiving: WaitList::new(),
        }
    }

    fn end(&self) -> u64 {
        self.first + self.values.len() as u64
    }

    /// A receiver that starts where `like` is, or with the next value.
    pub(super) fn join(&mut self, like: Option<usize>) -> usize {
        let place = like.and_then(|place| self.places[place]).unwrap_or(Place {
            next: self.end(),
            cut_off: None,
            told: false,
        });
        self.receivers += 1;
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

    /// Forgets a receiver; the values that only it wanted are to be dropped.
    pub(super) fn leave(&mut self, place: usize, wakes: &mut Wakes) -> Vec<Arc<T>> {
        self.places[place] = None;
        self.receivers -= 1;
        if self.receivers == 0 {
            self.return_sending(wakes);
        }
        self.forget_read(wakes)
    }

    /// Whether a value can be taken now.
    pub(super) fn has_room(&self) -> bool {
        self.values.len() < self.capacity || self.lag != Lag::Block
    }

    /// How many values some receiver has yet to have.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Takes a value for which there is room; what lagging receivers lose is to
    /// be dropped.
    pub(super) fn accept(&mut self, value: T, wakes: &mut Wakes) -> Vec<Arc<T>> {
        let mut dropped = Vec::new();
        if self.values.len() == self.capacity {
            if self.lag == Lag::Close {
                let (first, missed) = (self.first, self.values.len() as u64 + 1);
                for place in self.places.iter_mut().flatten() {
                    if place.next == first && place.cut_off.is_none() {
                        place.cut_off = Some(missed);
                    }
                }
                dropped = self.forget_read(wakes);
            } else {
                dropped.extend(self.values.pop_front());
                self.first += 1;
            }
        }
        if self
            .places
            .iter()
            .flatten()
            .any(|place| place.cut_off.is_none())
        {
            self.values.push_back(Arc::new(value));
            while let Some(key) = self.receiving.front() {
                if let Some(waker) = self.receiving.settle(key) {
                    wakes.extend(waker.take());
                }
            }
        } else {
            // Everybody was cut off.
            dropped.push(Arc::new(value));
            self.first += 1;
        }
        dropped
    }

    /// What the receiver at `place` gets next, and what is to be dropped.
    pub(super) fn take(&mut self, place: usize, wakes: &mut Wakes) -> (Found<T>, Vec<Arc<T>>) {
        let (first, end) = (self.first, self.end());
        let Some(here) = &mut self.places[place] else {
            return (Found::End, Vec::new());
        };
        if let Some(missed) = here.cut_off {
            let told = std::mem::replace(&mut here.told, true);
            let found = if told {
                Found::End
            } else {
                Found::Missed(missed)
            };
            return (found, Vec::new());
        }
        if here.next < first {
            let missed = first - here.next;
            here.next = first;
            return (Found::Missed(missed), Vec::new());
        }
        if here.next < end {
            let value = Arc::clone(&self.values[(here.next - first) as usize]);
            here.next += 1;
            return (Found::Value(value), self.forget_read(wakes));
        }
        let found = if self.closed {
            Found::End
        } else {
            Found::Nothing
        };
        (found, Vec::new())
    }

    /// Takes out what every receiver has had, and lets waiting senders in.
    fn forget_read(&mut self, wakes: &mut Wakes) -> Vec<Arc<T>> {
        let mut dropped = Vec::new();
        loop {
            let wanted = self
                .places
                .iter()
                .flatten()
                .filter(|place| place.cut_off.is_none())
                .map(|place| place.next)
                .min()
                .unwrap_or_else(|| self.end());
            while self.first < wanted && !self.values.is_empty() {
                dropped.extend(self.values.pop_front());
                self.first += 1;
            }
            let Some(key) = self.sending.front() else {
                return dropped;
            };
            if self.values.len() == self.capacity {
                return dropped;
            }
            if let Some(sending) = self.sending.settle(key)
                && let Sending::Waiting(value, waker) = std::mem::replace(sending, Sending::Sent)
            {
                wakes.push(waker);
                dropped.extend(self.accept(value, wakes));
            }
        }
    }

    pub(super) fn park_send(&mut self, value: T, waker: Waker) -> Key {
        self.sending.push_back(Sending::Waiting(value, waker))
    }

    pub(super) fn remove_send(&mut self, key: Key) -> Option<Sending<T>> {
        self.sending.remove(key)
    }

    /// Renews the waker of a send that still waits; the one that is replaced.
    pub(super) fn renew_send(&mut self, key: Key, waker: Waker) -> Result<Waker, Waker> {
        match self.sending.find(key) {
            Some(Sending::Waiting(_, known)) => Ok(std::mem::replace(known, waker)),
            _ => Err(waker),
        }
    }

    pub(super) fn park_recv(&mut self, waker: Waker) -> Key {
        self.receiving.push_back(Some(waker))
    }

    pub(super) fn remove_recv(&mut self, key: Key) -> Option<Option<Waker>> {
        self.receiving.remove(key)
    }

    /// Closes: senders find their values returned, receivers the end when they
    /// have had what is there.
    pub(super) fn close(&mut self, wakes: &mut Wakes) {
        self.closed = true;
        self.return_sending(wakes);
        while let Some(key) = self.receiving.front() {
            if let Some(waker) = self.receiving.settle(key) {
                wakes.extend(waker.take());
            }
        }
    }

    fn return_sending(&mut self, wakes: &mut Wakes) {
        while let Some(key) = self.sending.front() {
            if let Some(sending) = self.sending.settle(key)
                && let Sending::Waiting(value, waker) = std::mem::replace(sending, Sending::Sent)
            {
                *sending = Sending::Returned(value);
                wakes.push(waker);
            }
        }
    }
}
