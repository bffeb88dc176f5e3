//! What the lock of a queue protects: pure bookkeeping, no foreign code.

use super::error::{Closed, TooManyDone};
use super::{QueueSendError, QueueStatistics};
use crate::sync::guarded::After;
use crate::sync::waiters::Waiters;
use std::collections::VecDeque;

/// The protected part.
///
/// A waiting receiver is *promised* a value, a count, not the value: values stay in the queue,
/// in order, until a promised receiver fetches the oldest. So taking a promise back moves
/// nothing. A waiting sender's value lies in its place until there is room.
///
/// Invariants, those with "waits" apart from waiters frozen or thawed since the last step:
/// 1. `promised` is the number of receivers settled as `Promised`, at most `items.len()`.
/// 2. No receiver waits while there is a value that is not promised, or the queue has ended.
/// 3. No sender waits while there is room, or the queue is closed.
/// 4. No joiner waits while `unfinished` is 0.
/// 5. `items.len()` is at most `capacity`.
pub(in crate::sync) struct State<T> {
    items: VecDeque<T>,
    promised: usize,
    capacity: usize,
    pub(super) unfinished: usize,
    pub(super) closed: bool,
    pub(super) senders: Waiters<Outgoing<T>>,
    pub(super) receivers: Waiters<Incoming>,
    pub(super) joiners: Waiters<()>,
}

/// What a waiting send has in its place.
pub(in crate::sync) enum Outgoing<T> {
    /// Queued: its value.
    Waiting(T),
    /// Settled: its value is in the queue.
    Sent,
    /// Settled: the queue was closed.
    Returned(T),
}

/// What a waiting receive has in its place.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::sync) enum Incoming {
    /// Queued.
    Waiting,
    /// Settled: a value may be fetched.
    Promised,
    /// Settled: no value will come.
    Ended,
}

impl<T> State<T> {
    pub(super) const fn new(capacity: usize) -> State<T> {
        State {
            items: VecDeque::new(),
            promised: 0,
            capacity,
            unfinished: 0,
            closed: false,
            senders: Waiters::new(),
            receivers: Waiters::new(),
            joiners: Waiters::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    /// Closed, and no value is left, promised or not: a promise may still be taken back.
    pub(super) fn has_ended(&self) -> bool {
        self.closed && self.items.is_empty()
    }

    fn has_room(&self) -> bool {
        !self.closed && self.items.len() < self.capacity
    }

    /// Whether a newcomer may send now: nobody is overtaken.
    pub(super) fn may_send(&self) -> bool {
        self.has_room() && self.senders.first_live().is_none()
    }

    /// Takes a value for which [`may_send`](State::may_send) said there is room.
    #[inline]
    pub(super) fn accept(&mut self, value: T, after: &mut After) {
        self.deposit(value);
        // A new value can be news to receivers only.
        if self.receivers.queued() > 0 {
            self.pump(after);
        }
    }

    fn deposit(&mut self, value: T) {
        self.items.push_back(value);
        self.unfinished += 1;
    }

    /// The oldest value, if it is promised to nobody and nobody is overtaken.
    #[inline]
    pub(super) fn take(&mut self, after: &mut After) -> Option<T> {
        if self.items.len() == self.promised || self.receivers.first_live().is_some() {
            return None;
        }
        let value = self.items.pop_front();
        // Room is news to senders, the end to receivers.
        if self.closed || self.senders.queued() > 0 {
            self.pump(after);
        }
        value
    }

    /// What a settled receiver gets.
    pub(super) fn fetch(&mut self, incoming: Incoming, after: &mut After) -> Result<T, Closed> {
        self.take_back(incoming);
        let value = match incoming {
            Incoming::Promised => self.items.pop_front(),
            Incoming::Waiting | Incoming::Ended => None,
        };
        self.pump(after);
        value.ok_or(Closed)
    }

    /// A settled receiver has gone: its promise is free again.
    pub(super) fn revoke(&mut self, incoming: Incoming, after: &mut After) {
        self.take_back(incoming);
        self.pump(after);
    }

    fn take_back(&mut self, incoming: Incoming) {
        if incoming == Incoming::Promised {
            self.promised -= 1;
        }
    }

    pub(super) fn task_done(&mut self, after: &mut After) -> Result<(), TooManyDone> {
        self.unfinished = self.unfinished.checked_sub(1).ok_or(TooManyDone)?;
        self.pump_joiners(after);
        Ok(())
    }

    pub(super) fn close(&mut self, after: &mut After) {
        self.closed = true;
        self.senders.settle_live(after, |outgoing| {
            *outgoing = match std::mem::replace(outgoing, Outgoing::Sent) {
                Outgoing::Waiting(value) => Outgoing::Returned(value),
                settled => settled,
            };
        });
        self.pump(after);
    }

    /// Restores invariants 2 and 3, oldest waiters first.
    #[inline(never)]
    pub(super) fn pump(&mut self, after: &mut After) {
        loop {
            if self.items.len() > self.promised
                && let Some(key) = self.receivers.first_live()
            {
                *self.receivers.settle(key, after) = Incoming::Promised;
                self.promised += 1;
            } else if self.has_room()
                && let Some(key) = self.senders.first_live()
            {
                let outgoing = self.senders.settle(key, after);
                if let Outgoing::Waiting(value) = std::mem::replace(outgoing, Outgoing::Sent) {
                    self.deposit(value);
                }
            } else {
                break;
            }
        }
        if self.has_ended() {
            self.receivers
                .settle_live(after, |incoming| *incoming = Incoming::Ended);
        }
    }

    /// Restores invariant 4.
    pub(super) fn pump_joiners(&mut self, after: &mut After) {
        if self.unfinished == 0 {
            self.joiners.settle_live(after, |()| ());
        }
    }

    pub(super) fn statistics(&self) -> QueueStatistics {
        QueueStatistics {
            len: self.items.len(),
            capacity: self.capacity(),
            unfinished: self.unfinished,
            closed: self.closed,
            senders: self.senders.queued(),
            receivers: self.receivers.queued(),
            joiners: self.joiners.queued(),
        }
    }
}

impl<T> Outgoing<T> {
    /// What a settled send, or one found closed, ends with.
    pub(super) fn outcome(self) -> Result<(), QueueSendError<T>> {
        match self {
            Outgoing::Sent => Ok(()),
            Outgoing::Waiting(value) | Outgoing::Returned(value) => Err(QueueSendError(value)),
        }
    }
}
