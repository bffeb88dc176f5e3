//! What the lock of an exchange protects: pure bookkeeping, no foreign code.

use std::collections::VecDeque;
use std::task::Waker;

use super::SendProgress;
use crate::error::{RecvError, SendError};
use crate::wait_list::{Key, WaitList};
use crate::wakes::Wakes;

/// The protected part.
///
/// A waiting receive goes from `Waiting` to `Granted` when a value is promised
/// to it. A promise is a count, not a value: values stay in the buffer, in
/// order, until a granted receiver fetches the oldest. So revoking a promise
/// moves nothing and cannot reorder anything. A waiting send owns its value
/// until a peer moves it into the buffer.
///
/// Invariants, true whenever the lock is free:
/// 1. `promised` is the number of `Granted` receivers, at most `buffer.len()`.
/// 2. Nobody is queued in `receivers` while the buffer holds an unpromised
///    value.
/// 3. Nobody is queued in `senders` while there is room.
/// 4. Once closed, nobody is queued at all.
/// 5. `buffer.len()` is at most the capacity; for capacity 0, at most the
///    number of receivers that were waiting when the values were handed over.
///    A value put back because a waker panicked may exceed this by one.
#[derive(Debug)]
pub(super) struct State<T> {
    buffer: VecDeque<T>,
    promised: usize,
    senders: WaitList<WaitingSend<T>>,
    receivers: WaitList<WaitingRecv>,
    pub(super) closed: bool,
    pub(super) sender_count: usize,
    pub(super) receiver_count: usize,
}

#[derive(Debug)]
pub(super) enum WaitingSend<T> {
    /// Queued, owns the value.
    Waiting(T, Waker),
    /// A peer took the value.
    Sent,
    /// The channel was closed; the value waits to be fetched.
    Returned(T),
}

#[derive(Debug)]
pub(super) enum WaitingRecv {
    /// Queued; gets a promise in its turn.
    Waiting(Waker),
    /// Settled; the oldest value in the buffer may be fetched.
    Granted,
    /// Queued, but only told that a value came, without a promise: its owner
    /// may have lost interest without our seeing it (a stream that nobody
    /// polls any more), and must not be able to withhold a value from others.
    Watching(Waker),
}

/// What a waiting receive wants when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// A promised value. The owner must call [`Exchange::forget_recv`].
    Promise,
    /// To be woken, no more.
    Notice,
}

/// What a step under the lock found; `NeedsWaker` asks the caller to clone its
/// waker without the lock and to come back.
pub(super) enum Step<R> {
    Finished(R),
    Parked,
    NeedsWaker,
}

impl<T> State<T> {
    /// Empty and open, with one handle on each end.
    pub(super) fn new() -> Self {
        Self {
            buffer: VecDeque::new(),
            promised: 0,
            senders: WaitList::new(),
            receivers: WaitList::new(),
            closed: false,
            sender_count: 1,
            receiver_count: 1,
        }
    }

    /// How many values are buffered, promised ones included.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a value can be accepted now. Invariant 3 makes this the test for
    /// overtaking, too: while a send is queued, there is no room.
    pub(super) fn has_room(&self, capacity: usize) -> bool {
        if capacity == 0 {
            // By invariant 2, who waits here is still without a value.
            !self.receivers.is_empty()
        } else {
            self.buffer.len() < capacity
        }
    }

    fn unpromised(&self) -> usize {
        self.buffer.len() - self.promised
    }

    /// Accepts a value for which [`has_room`](Self::has_room) said there is room.
    pub(super) fn accept(&mut self, value: T, capacity: usize, wakes: &mut Wakes) {
        self.deposit(value, capacity);
        self.match_up(capacity, wakes);
    }

    /// Returns a value that was taken but could not be delivered to the head of
    /// the buffer.
    pub(super) fn put_back(&mut self, value: T, capacity: usize, wakes: &mut Wakes) {
        self.buffer.push_front(value);
        self.match_up(capacity, wakes);
    }

    /// Removes a send that is given up. No peer has to be told: a queued send
    /// holds no room.
    pub(super) fn forget_send(&mut self, key: Key) -> Option<WaitingSend<T>> {
        self.senders.remove(key)
    }

    /// Removes a receive that is given up; a value promised to it is promised
    /// to the next one.
    pub(super) fn forget_recv(
        &mut self,
        key: Key,
        capacity: usize,
        wakes: &mut Wakes,
    ) -> Option<WaitingRecv> {
        let waiting = self.receivers.remove(key);
        if matches!(waiting, Some(WaitingRecv::Granted)) {
            self.promised -= 1;
            self.match_up(capacity, wakes);
        }
        waiting
    }

    /// Takes all values out, for nobody is left to receive them. Only a receive
    /// that was leaked can still hold a promise then.
    pub(super) fn abandon(&mut self) -> VecDeque<T> {
        self.promised = 0;
        std::mem::take(&mut self.buffer)
    }

    /// Appends to the buffer, which grows on demand but not past `capacity`.
    fn deposit(&mut self, value: T, capacity: usize) {
        let len = self.buffer.len();
        if len == self.buffer.capacity() {
            let wanted = (len * 2).max(4).min(capacity).max(len + 1);
            self.buffer.reserve_exact(wanted - len);
        }
        self.buffer.push_back(value);
    }

    /// Restores invariants 2 and 3: moves values of queued senders into the
    /// room there is and promises values to queued receivers, oldest first.
    fn match_up(&mut self, capacity: usize, wakes: &mut Wakes) {
        loop {
            if self.unpromised() > 0
                && let Some(key) = self.receivers.front()
            {
                self.offer(key, wakes);
            } else if self.has_room(capacity)
                && let Some(key) = self.senders.front()
            {
                self.admit(key, capacity, wakes);
            } else {
                return;
            }
        }
    }

    /// Tells a queued receiver that there is a value.
    fn offer(&mut self, key: Key, wakes: &mut Wakes) {
        if matches!(self.receivers.find(key), Some(WaitingRecv::Watching(_))) {
            if let Some(WaitingRecv::Watching(waker)) = self.receivers.remove(key) {
                wakes.push(waker);
            }
        } else if let Some(waiting) = self.receivers.settle(key)
            && let WaitingRecv::Waiting(waker) = std::mem::replace(waiting, WaitingRecv::Granted)
        {
            self.promised += 1;
            wakes.push(waker);
        }
    }

    /// Moves the value of a queued sender into the buffer.
    fn admit(&mut self, key: Key, capacity: usize, wakes: &mut Wakes) {
        if let Some(waiting) = self.senders.settle(key)
            && let WaitingSend::Waiting(value, waker) =
                std::mem::replace(waiting, WaitingSend::Sent)
        {
            self.deposit(value, capacity);
            wakes.push(waker);
        }
    }

    /// Takes the oldest value if one is free; in a rendezvous, from a sender.
    pub(super) fn take_unpromised(&mut self, capacity: usize, wakes: &mut Wakes) -> Option<T> {
        if self.unpromised() == 0 {
            if capacity > 0 {
                return None;
            }
            let key = self.senders.front()?;
            self.admit(key, capacity, wakes);
        }
        let value = self.buffer.pop_front();
        self.match_up(capacity, wakes);
        value
    }

    pub(super) fn begin_send(
        &mut self,
        capacity: usize,
        progress: &mut SendProgress<T>,
        waker: &mut Option<Waker>,
        wakes: &mut Wakes,
    ) -> Step<Result<(), SendError<T>>> {
        let room = !self.closed && self.has_room(capacity);
        if !self.closed && !room && waker.is_none() {
            return Step::NeedsWaker;
        }
        let SendProgress::Unsent(value) = std::mem::replace(progress, SendProgress::Finished)
        else {
            unreachable!("only an unsent value is begun");
        };
        if self.closed {
            return Step::Finished(Err(SendError(value)));
        }
        match waker.take() {
            Some(waker) if !room => {
                let key = self.senders.push_back(WaitingSend::Waiting(value, waker));
                *progress = SendProgress::Parked(key);
                Step::Parked
            }
            unused => {
                *waker = unused;
                self.accept(value, capacity, wakes);
                Step::Finished(Ok(()))
            }
        }
    }

    pub(super) fn resume_send(
        &mut self,
        key: Key,
        progress: &mut SendProgress<T>,
        waker: &mut Option<Waker>,
        current: &Waker,
    ) -> Step<Result<(), SendError<T>>> {
        if let Some(WaitingSend::Waiting(_, known)) = self.senders.find(key) {
            return renew(known, waker, current);
        }
        *progress = SendProgress::Finished;
        Step::Finished(match self.senders.remove(key) {
            Some(WaitingSend::Returned(value)) => Err(SendError(value)),
            // `Sent`: only its future removes a settled entry.
            _ => Ok(()),
        })
    }

    pub(super) fn advance_recv(
        &mut self,
        capacity: usize,
        parked: &mut Option<Key>,
        interest: Interest,
        waker: &mut Option<Waker>,
        current: &Waker,
        wakes: &mut Wakes,
    ) -> Step<Result<T, RecvError>> {
        if let Some(key) = *parked {
            match self.receivers.find(key) {
                Some(WaitingRecv::Waiting(known) | WaitingRecv::Watching(known)) => {
                    return renew(known, waker, current);
                }
                Some(WaitingRecv::Granted) => {
                    self.receivers.remove(key);
                    self.promised -= 1;
                }
                // A close or a notice removed it: start again.
                None => {}
            }
            *parked = None;
        }
        // A granted receiver gets here with exactly its own promise revoked,
        // so by invariants 1 and 2 there is an unpromised value for it.
        if let Some(value) = self.take_unpromised(capacity, wakes) {
            return Step::Finished(Ok(value));
        }
        if self.closed {
            return Step::Finished(Err(RecvError));
        }
        let Some(waker) = waker.take() else {
            return Step::NeedsWaker;
        };
        let key = self.receivers.push_back(match interest {
            Interest::Promise => WaitingRecv::Waiting(waker),
            Interest::Notice => WaitingRecv::Watching(waker),
        });
        *parked = Some(key);
        // In a rendezvous a queued send would have been taken above; with a
        // buffer there is none, or the buffer is full of promised values.
        Step::Parked
    }

    /// Closes and empties both queues; senders find their values returned.
    pub(super) fn close(&mut self) -> Wakes {
        let mut wakes = Wakes::default();
        self.closed = true;
        while let Some(key) = self.senders.front() {
            let Some(waiting) = self.senders.settle(key) else {
                break;
            };
            match std::mem::replace(waiting, WaitingSend::Sent) {
                WaitingSend::Waiting(value, waker) => {
                    *waiting = WaitingSend::Returned(value);
                    wakes.push(waker);
                }
                settled => *waiting = settled,
            }
        }
        while let Some(key) = self.receivers.front() {
            if let Some(WaitingRecv::Waiting(waker) | WaitingRecv::Watching(waker)) =
                self.receivers.remove(key)
            {
                wakes.push(waker);
            }
        }
        wakes
    }
}

/// Makes sure that a queued entry wakes the task that polled last. The waker
/// that is replaced leaves through `fresh`, to be dropped without the lock.
fn renew<R>(known: &mut Waker, fresh: &mut Option<Waker>, current: &Waker) -> Step<R> {
    if known.will_wake(current) {
        return Step::Parked;
    }
    match fresh {
        Some(fresh) => {
            std::mem::swap(known, fresh);
            Step::Parked
        }
        None => Step::NeedsWaker,
    }
}
