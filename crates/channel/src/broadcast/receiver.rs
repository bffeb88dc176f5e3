//! The receiving end of a broadcast.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Air;
#[cfg(doc)]
use super::Lag;
use super::aftermath::Aftermath;
use super::item::{Shared, Undelivered};
use crate::error::{BroadcastRecvError, TryBroadcastRecvError};
use crate::park;

/// A receiving end of [`broadcast`](super::broadcast()); a clone of it goes on where it is.
pub struct BroadcastReceiver<T> {
    air: Arc<Air<T>>,
    place: usize,
    /// The value of a receive that panicked before it could return it.
    left: Option<Shared<T>>,
}

impl<T> BroadcastReceiver<T> {
    /// Takes over a place in `air`.
    pub(super) fn new(air: Arc<Air<T>>, place: usize) -> Self {
        Self {
            air,
            place,
            left: None,
        }
    }
}

impl<T: Clone> BroadcastReceiver<T> {
    /// Receives the next value, waiting for one to be sent.
    ///
    /// # Errors
    ///
    /// [`BroadcastRecvError::Lagged`] says how many values were missed since the
    /// last one; under [`Lag::DropOldest`] the next receive goes on after them.
    /// [`BroadcastRecvError::Closed`] comes at the end.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*.
    pub fn recv(&mut self) -> BroadcastRecvFuture<'_, T> {
        BroadcastRecvFuture {
            receiver: self,
            waits: false,
        }
    }

    /// Receives the next value if that needs no waiting.
    ///
    /// # Errors
    ///
    /// Like [`recv`](Self::recv), and [`TryBroadcastRecvError::Empty`].
    pub fn try_recv(&mut self) -> Result<T, TryBroadcastRecvError> {
        let Self { air, place, left } = self;
        if let Some(value) = Undelivered::left(left) {
            return Ok(value.deliver());
        }
        let mut after = Aftermath::default();
        let mut state = air.lock();
        let taken = state.take(*place, &mut after);
        let taken = taken.map(|item| Undelivered::new(item, left));
        air.settle(state, after);
        taken.map(Undelivered::deliver)
    }

    /// Receives the next value, parking the thread until one is sent.
    ///
    /// For threads outside a runtime: in a task it would block the worker.
    ///
    /// # Errors
    ///
    /// Like [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_channel::{BroadcastRecvError, Lag, broadcast};
    ///
    /// let (sender, mut receiver) = broadcast(1, Lag::Block);
    /// let reader = std::thread::spawn(move || {
    ///     assert_eq!(receiver.recv_blocking(), Ok('a'));
    ///     assert_eq!(receiver.recv_blocking(), Ok('b'));
    ///     receiver.recv_blocking()
    /// });
    /// sender.send_blocking('a').unwrap();
    /// sender.send_blocking('b').unwrap();
    /// drop(sender);
    /// assert_eq!(reader.join().unwrap(), Err(BroadcastRecvError::Closed));
    /// ```
    pub fn recv_blocking(&mut self) -> Result<T, BroadcastRecvError> {
        park::wait_for(self.recv())
    }
}

impl<T> Clone for BroadcastReceiver<T> {
    fn clone(&self) -> Self {
        let place = self.air.lock().join(Some(self.place));
        Self {
            air: Arc::clone(&self.air),
            place,
            left: self.left.clone(),
        }
    }
}

impl<T> Drop for BroadcastReceiver<T> {
    fn drop(&mut self) {
        let mut after = Aftermath::default();
        let mut state = self.air.lock();
        state.leave(self.place, &mut after);
        self.air.settle(state, after);
    }
}

impl<T> fmt::Debug for BroadcastReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceiver").finish_non_exhaustive()
    }
}

/// The future of [`BroadcastReceiver::recv`].
#[must_use = "a receive does nothing unless it is awaited"]
pub struct BroadcastRecvFuture<'a, T> {
    receiver: &'a mut BroadcastReceiver<T>,
    waits: bool,
}

impl<T: Clone> Future for BroadcastRecvFuture<'_, T> {
    type Output = Result<T, BroadcastRecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let BroadcastReceiver { air, place, left } = &mut *this.receiver;
        if let Some(value) = Undelivered::left(left) {
            return Poll::Ready(Ok(value.deliver()));
        }
        let mut after = Aftermath::default();
        let mut waker = None;
        loop {
            let mut state = air.lock();
            let taken = state.take(*place, &mut after);
            let outcome = match taken {
                Ok(item) => Ok(Undelivered::new(item, left)),
                Err(TryBroadcastRecvError::Lagged(count)) => Err(BroadcastRecvError::Lagged(count)),
                Err(TryBroadcastRecvError::Closed) => Err(BroadcastRecvError::Closed),
                Err(TryBroadcastRecvError::Empty) => {
                    if state.is_awaited(*place, context.waker()) {
                        return Poll::Pending;
                    }
                    if let Some(waker) = waker.take() {
                        after.stale = state.wait(*place, waker);
                        this.waits = true;
                        air.settle(state, after);
                        return Poll::Pending;
                    }
                    drop(state);
                    waker = Some(context.waker().clone());
                    continue;
                }
            };
            after.stale = state.wait_no_more(*place);
            this.waits = false;
            air.settle(state, after);
            return Poll::Ready(outcome.map(Undelivered::deliver));
        }
    }
}

impl<T> Drop for BroadcastRecvFuture<'_, T> {
    fn drop(&mut self) {
        if self.waits {
            let BroadcastReceiver { air, place, .. } = &*self.receiver;
            let waker = air.lock().wait_no_more(*place);
            drop(waker);
        }
    }
}

impl<T> fmt::Debug for BroadcastRecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastRecvFuture")
            .field("parked", &self.waits)
            .finish_non_exhaustive()
    }
}
