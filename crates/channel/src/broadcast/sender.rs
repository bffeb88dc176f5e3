//! The sending end of a broadcast.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Air;
use super::aftermath::Aftermath;
use super::receiver::BroadcastReceiver;
use super::state::Sending;
#[cfg(doc)]
use super::{Lag, broadcast};
use crate::error::{SendError, TrySendError};
use crate::park;
use crate::wait_list::Key;

/// The sending end of [`broadcast`](super::broadcast()); a clone of it is another sender. When the
/// last one is dropped the channel is closed.
pub struct BroadcastSender<T> {
    air: Arc<Air<T>>,
}

impl<T> BroadcastSender<T> {
    /// Takes over one of the senders counted in `air`.
    pub(super) fn new(air: Arc<Air<T>>) -> Self {
        Self { air }
    }
}

impl<T: Clone> BroadcastSender<T> {
    /// Sends a value to every receiver there is; waits only under
    /// [`Lag::Block`].
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if the channel is closed or there is
    /// no receiver.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, or the value was sent; *place in queue lost*. A value
    /// that was not sent is dropped with the future.
    pub fn send(&self, value: T) -> BroadcastSendFuture<'_, T> {
        BroadcastSendFuture {
            air: &self.air,
            value: Some(value),
            parked: None,
        }
    }

    /// Sends a value if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] gives the value back: `Full` while a receiver lags under
    /// [`Lag::Block`], `Closed` if the channel is closed or nobody receives.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut state = self.air.lock();
        if state.is_over() {
            drop(state);
            return Err(TrySendError::Closed(value));
        }
        if !state.has_room() {
            drop(state);
            return Err(TrySendError::Full(value));
        }
        let mut after = Aftermath::default();
        state.accept(value, &mut after);
        self.air.settle(state, after);
        Ok(())
    }

    /// Sends a value to every receiver there is, parking the thread while one
    /// lags under [`Lag::Block`].
    ///
    /// For threads outside a runtime: in a task it would block the worker. It
    /// waits in the same queue as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if the channel is closed or there is
    /// no receiver, also if that happens while the send waits.
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendError(value)),
            Err(TrySendError::Full(value)) => park::wait_for(self.send(value)),
        }
    }

    /// A receiver of all values sent from now on.
    pub fn subscribe(&self) -> BroadcastReceiver<T> {
        let place = self.air.lock().join(None);
        BroadcastReceiver::new(Arc::clone(&self.air), place)
    }

    /// Closes the channel: senders that wait get their values back, receivers
    /// get what is there and then an error.
    pub fn close(&self) {
        self.air.close();
    }

    /// Whether the channel was closed.
    pub fn is_closed(&self) -> bool {
        self.air.lock().closed
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.air.lock().receivers
    }

    /// How many values are kept for receivers that have not had them.
    pub fn len(&self) -> usize {
        self.air.lock().len()
    }

    /// Whether every receiver has had everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for BroadcastSender<T> {
    fn clone(&self) -> Self {
        self.air.lock().senders += 1;
        Self {
            air: Arc::clone(&self.air),
        }
    }
}

impl<T> Drop for BroadcastSender<T> {
    fn drop(&mut self) {
        let mut after = Aftermath::default();
        let mut state = self.air.lock();
        state.senders -= 1;
        if state.senders == 0 {
            state.close(&mut after);
        }
        self.air.settle(state, after);
    }
}

impl<T> fmt::Debug for BroadcastSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSender").finish_non_exhaustive()
    }
}

/// The future of [`BroadcastSender::send`].
///
/// # Panics
///
/// If it is polled again after it has finished.
#[must_use = "a send does nothing unless it is awaited, and the value is dropped with it"]
pub struct BroadcastSendFuture<'a, T> {
    air: &'a Air<T>,
    value: Option<T>,
    parked: Option<Key>,
}

/// The value is owned, never pinned.
impl<T> Unpin for BroadcastSendFuture<'_, T> {}

impl<T> BroadcastSendFuture<'_, T> {
    /// Sends the value, or queues it with a waker of the task.
    fn poll_unsent(&mut self, context: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let mut waker = None;
        loop {
            let mut state = self.air.lock();
            let must_wait = !state.is_over() && !state.has_room();
            if must_wait && waker.is_none() {
                drop(state);
                waker = Some(context.waker().clone());
                continue;
            }
            let Some(value) = self.value.take() else {
                drop(state);
                panic!("a send was polled after it had finished");
            };
            if let (true, Some(waker)) = (must_wait, waker.take()) {
                self.parked = Some(state.park_send(value, waker));
                return Poll::Pending;
            }
            if state.is_over() {
                drop(state);
                return Poll::Ready(Err(SendError(value)));
            }
            let mut after = Aftermath::default();
            state.accept(value, &mut after);
            self.air.settle(state, after);
            return Poll::Ready(Ok(()));
        }
    }

    /// Looks what became of the value, and renews the waker while it waits.
    fn poll_parked(&mut self, key: Key, context: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let mut waker = None;
        loop {
            let mut state = self.air.lock();
            let Some(known) = state.waker_of_send(key) else {
                let sending = state.remove_send(key);
                drop(state);
                self.parked = None;
                return Poll::Ready(match sending {
                    Some(Sending::Returned(value)) => Err(SendError(value)),
                    _ => Ok(()),
                });
            };
            if known.will_wake(context.waker()) {
                return Poll::Pending;
            }
            if let Some(waker) = waker.take() {
                let replaced = std::mem::replace(known, waker);
                drop(state);
                drop(replaced);
                return Poll::Pending;
            }
            drop(state);
            waker = Some(context.waker().clone());
        }
    }
}

impl<T> Future for BroadcastSendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.parked {
            None => this.poll_unsent(context),
            Some(key) => this.poll_parked(key, context),
        }
    }
}

impl<T> Drop for BroadcastSendFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.parked.take() {
            let sending = self.air.lock().remove_send(key);
            drop(sending);
        }
    }
}

impl<T> fmt::Debug for BroadcastSendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSendFuture")
            .field("parked", &self.parked.is_some())
            .finish_non_exhaustive()
    }
}
