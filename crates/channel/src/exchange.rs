//! The engine behind [`Sender`](crate::Sender) and
//! [`Receiver`](crate::Receiver): one lock around a buffer and two queues of
//! waiting operations.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{RecvError, SendError, TryRecvError, TrySendError};
use crate::wait_list::{Key, WaitList};
use crate::wakes::Wakes;

/// Where values change hands.
///
/// Foreign code (wakers, destructors of values) never runs while the lock is
/// held: methods collect what is to be woken or dropped and do it afterwards.
/// Hence the lock cannot be poisoned, and a waker may re-enter the channel.
#[derive(Debug)]
pub(crate) struct Exchange<T> {
    capacity: usize,
    state: Mutex<State<T>>,
}

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
struct State<T> {
    buffer: VecDeque<T>,
    promised: usize,
    senders: WaitList<WaitingSend<T>>,
    receivers: WaitList<WaitingRecv>,
    closed: bool,
    sender_count: usize,
    receiver_count: usize,
}

#[derive(Debug)]
enum WaitingSend<T> {
    /// Queued, owns the value.
    Waiting(T, Waker),
    /// A peer took the value.
    Sent,
    /// The channel was closed; the value waits to be fetched.
    Returned(T),
}

#[derive(Debug)]
enum WaitingRecv {
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

/// How far a send has come. It owns the value while it is `Unsent`.
#[derive(Debug)]
pub(crate) enum SendProgress<T> {
    Unsent(T),
    Parked(Key),
    Finished,
}

/// What a step under the lock found; `NeedsWaker` asks the caller to clone its
/// waker without the lock and to come back.
enum Step<R> {
    Finished(R),
    Parked,
    NeedsWaker,
}

impl<T> Exchange<T> {
    /// An empty, open channel with one handle on each end.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::new(State {
                buffer: VecDeque::new(),
                promised: 0,
                senders: WaitList::new(),
                receivers: WaitList::new(),
                closed: false,
                sender_count: 1,
                receiver_count: 1,
            }),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().buffer.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn sender_count(&self) -> usize {
        self.lock().sender_count
    }

    pub(crate) fn receiver_count(&self) -> usize {
        self.lock().receiver_count
    }

    pub(crate) fn add_sender(&self) {
        self.lock().sender_count += 1;
    }

    pub(crate) fn add_receiver(&self) {
        self.lock().receiver_count += 1;
    }

    /// One sender less; the last one closes the channel.
    pub(crate) fn remove_sender(&self) {
        let mut state = self.lock();
        state.sender_count -= 1;
        if state.sender_count == 0 {
            let wakes = state.close();
            drop(state);
            wake(wakes);
        }
    }

    /// One receiver less; the last one closes the channel and drops what is
    /// buffered, since nobody is left to receive it.
    pub(crate) fn remove_receiver(&self) {
        let mut state = self.lock();
        state.receiver_count -= 1;
        if state.receiver_count == 0 {
            let wakes = state.close();
            let unreceived = std::mem::take(&mut state.buffer);
            // Only a receive that was leaked can still hold a promise here.
            state.promised = 0;
            drop(state);
            wake(wakes);
            drop(unreceived);
        }
    }

    pub(crate) fn close(&self) {
        let mut state = self.lock();
        let wakes = state.close();
        drop(state);
        wake(wakes);
    }

    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(TrySendError::Closed(value));
        }
        if !state.has_room(self.capacity) {
            return Err(TrySendError::Full(value));
        }
        state.deposit(value, self.capacity);
        let mut wakes = Wakes::default();
        state.match_up(self.capacity, &mut wakes);
        drop(state);
        wake(wakes);
        Ok(())
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = self.lock();
        let mut wakes = Wakes::default();
        match state.take_unpromised(self.capacity, &mut wakes) {
            Some(value) => {
                drop(state);
                Ok(self.hand_out(value, wakes))
            }
            None if state.closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Advances a send.
    ///
    /// # Panics
    ///
    /// If the send was finished before.
    pub(crate) fn poll_send(
        &self,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let mut waker = None;
        loop {
            let mut wakes = Wakes::default();
            let mut state = self.lock();
            let step = match progress {
                SendProgress::Unsent(_) => {
                    state.begin_send(self.capacity, progress, &mut waker, &mut wakes)
                }
                SendProgress::Parked(key) => {
                    let key = *key;
                    state.resume_send(key, progress, &mut waker, context.waker())
                }
                SendProgress::Finished => panic!("a send was polled after it had finished"),
            };
            drop(state);
            match step {
                Step::Finished(outcome) => {
                    wake(wakes);
                    return Poll::Ready(outcome);
                }
                Step::Parked => return Poll::Pending,
                Step::NeedsWaker => waker = Some(context.waker().clone()),
            }
        }
    }

    /// Ends a parked send whose future is dropped. A value that nobody took
    /// goes with it.
    pub(crate) fn forget_send(&self, key: Key) {
        // No peer has to be told: a queued send holds no room.
        let waiting = self.lock().senders.remove(key);
        drop(waiting);
    }

    /// Advances a receive; `parked` names its place in the queue, if any.
    pub(crate) fn poll_recv(
        &self,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let mut waker = None;
        loop {
            let mut wakes = Wakes::default();
            let mut state = self.lock();
            let step = state.advance_recv(
                self.capacity,
                parked,
                interest,
                &mut waker,
                context.waker(),
                &mut wakes,
            );
            drop(state);
            match step {
                Step::Finished(Ok(value)) => return Poll::Ready(Ok(self.hand_out(value, wakes))),
                Step::Finished(Err(error)) => return Poll::Ready(Err(error)),
                Step::Parked => return Poll::Pending,
                Step::NeedsWaker => waker = Some(context.waker().clone()),
            }
        }
    }

    /// Ends a parked receive whose future is dropped. A promised value goes to
    /// the next receiver, or stays at the head of the buffer.
    pub(crate) fn forget_recv(&self, key: Key) {
        let mut state = self.lock();
        let waiting = state.receivers.remove(key);
        let mut wakes = Wakes::default();
        if matches!(waiting, Some(WaitingRecv::Granted)) {
            state.promised -= 1;
            state.match_up(self.capacity, &mut wakes);
        }
        drop(state);
        drop(waiting);
        wake(wakes);
    }

    /// Wakes the peers and returns the value; if a waker panics, the value
    /// returns to the head of the buffer before the panic goes on.
    fn hand_out(&self, value: T, wakes: Wakes) -> T {
        let Err(panic) = wakes.wake() else {
            return value;
        };
        let mut state = self.lock();
        state.buffer.push_front(value);
        let mut wakes = Wakes::default();
        state.match_up(self.capacity, &mut wakes);
        drop(state);
        // The first panic is the one to report.
        let _ = wakes.wake();
        resume_unwind(panic)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Whether a value can be accepted now. Invariant 3 makes this the test for
    /// overtaking, too: while a send is queued, there is no room.
    fn has_room(&self, capacity: usize) -> bool {
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
                self.accept(key, capacity, wakes);
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
    fn accept(&mut self, key: Key, capacity: usize, wakes: &mut Wakes) {
        if let Some(waiting) = self.senders.settle(key)
            && let WaitingSend::Waiting(value, waker) =
                std::mem::replace(waiting, WaitingSend::Sent)
        {
            self.deposit(value, capacity);
            wakes.push(waker);
        }
    }

    /// Takes the oldest value if one is free; in a rendezvous, from a sender.
    fn take_unpromised(&mut self, capacity: usize, wakes: &mut Wakes) -> Option<T> {
        if self.unpromised() == 0 {
            if capacity > 0 {
                return None;
            }
            let key = self.senders.front()?;
            self.accept(key, capacity, wakes);
        }
        let value = self.buffer.pop_front();
        self.match_up(capacity, wakes);
        value
    }

    fn begin_send(
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
                self.deposit(value, capacity);
                self.match_up(capacity, wakes);
                Step::Finished(Ok(()))
            }
        }
    }

    fn resume_send(
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

    fn advance_recv(
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
    fn close(&mut self) -> Wakes {
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

fn wake(wakes: Wakes) {
    if let Err(panic) = wakes.wake() {
        resume_unwind(panic);
    }
}
