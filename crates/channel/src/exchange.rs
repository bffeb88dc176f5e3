//! The engine behind [`Sender`](crate::Sender) and
//! [`Receiver`](crate::Receiver): one lock around a buffer and two queues of
//! waiting operations.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::error::{RecvError, SendError, TryRecvError, TrySendError};
use crate::wait_list::Key;
use crate::wakes::Wakes;

mod state;

pub(crate) use state::Interest;
use state::{State, Step};

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

/// How far a send has come. It owns the value while it is `Unsent`.
#[derive(Debug)]
pub(crate) enum SendProgress<T> {
    Unsent(T),
    Parked(Key),
    Finished,
}

impl<T> Exchange<T> {
    /// An empty, open channel with one handle on each end.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::new(State::new()),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
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
            let unreceived = state.abandon();
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
        let mut wakes = Wakes::default();
        state.accept(value, self.capacity, &mut wakes);
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
        let waiting = self.lock().forget_send(key);
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
        let mut wakes = Wakes::default();
        let waiting = state.forget_recv(key, self.capacity, &mut wakes);
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
        let mut wakes = Wakes::default();
        state.put_back(value, self.capacity, &mut wakes);
        drop(state);
        // The first panic is the one to report.
        let _ = wakes.wake();
        resume_unwind(panic)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(wakes: Wakes) {
    if let Err(panic) = wakes.wake() {
        resume_unwind(panic);
    }
}
