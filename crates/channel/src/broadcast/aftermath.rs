//! What an operation on a broadcast leaves to be done once the lock is free.

use std::task::Waker;

use super::item::Item;
use crate::wakes::Wakes;

/// Collected under the lock; every part of it runs foreign code.
pub(super) struct Aftermath<T> {
    /// Senders whose values were taken or returned.
    pub(super) senders: Wakes,
    /// Whether receivers that wait may find something now.
    pub(super) news: bool,
    /// A waker that will not be needed.
    pub(super) stale: Option<Waker>,
    /// Values that nobody will get any more.
    pub(super) gone: Gone<T>,
}

impl<T> Aftermath<T> {
    /// Whether nobody is to be woken.
    pub(super) fn is_quiet(&self) -> bool {
        !self.news && self.senders.is_empty()
    }
}

impl<T> Default for Aftermath<T> {
    fn default() -> Self {
        Self {
            senders: Wakes::default(),
            news: false,
            stale: None,
            gone: Gone {
                first: None,
                rest: Vec::new(),
            },
        }
    }
}

/// Values to be dropped. A send lets one go at most, so it lies in place.
pub(super) struct Gone<T> {
    first: Option<Item<T>>,
    rest: Vec<Item<T>>,
}

impl<T> Gone<T> {
    pub(super) fn push(&mut self, item: Item<T>) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push(item),
        }
    }
}

/// How many receivers are woken for one locking.
const BATCH: usize = 16;

/// Wakers of receivers, in place.
#[derive(Default)]
pub(super) struct Batch {
    wakers: [Option<Waker>; BATCH],
    len: usize,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.len == BATCH
    }

    /// Adds one where there is room.
    pub(super) fn push(&mut self, waker: Waker) {
        self.wakers[self.len] = Some(waker);
        self.len += 1;
    }

    /// Takes all of them out, in order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + '_ {
        let len = std::mem::take(&mut self.len);
        self.wakers[..len].iter_mut().filter_map(Option::take)
    }
}
