//! The sending end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::ends::either_end;
use crate::error::{SendError, TrySendError};
use crate::exchange::{Exchange, SendProgress};
use crate::park;

/// The sending end of a channel; a cheap clone of it is another sender.
///
/// When the last one is dropped the channel is closed: receivers drain what is
/// buffered and then get [`RecvError`](crate::RecvError).
pub struct Sender<T> {
    exchange: Arc<Exchange<T>>,
}

impl<T> Sender<T> {
    /// Takes over one of the senders counted in `exchange`.
    pub(crate) fn new(exchange: Arc<Exchange<T>>) -> Self {
        Self { exchange }
    }

    /// Sends a value, waiting until there is room for it.
    ///
    /// Waiting senders are served in the order in which they were first
    /// polled, and a later one never overtakes a waiting one.
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if the channel is closed, also if
    /// that happens while the send waits.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, or the value was sent: until a peer makes room the
    /// future owns the value, and dropping it drops the value and gives up the
    /// place in the queue. A value already accepted when the future is dropped
    /// is delivered like any other.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = bowline_channel::bounded(1);
    /// sender.send(1).await?;
    /// receiver.close();
    /// assert_eq!(sender.send(2).await.unwrap_err().into_inner(), 2);
    /// # Ok::<(), bowline_channel::SendError<i32>>(())
    /// # }).unwrap();
    /// ```
    pub fn send(&self, value: T) -> SendFuture<'_, T> {
        SendFuture {
            exchange: &self.exchange,
            progress: SendProgress::Unsent(value),
        }
    }

    /// Sends a value if that needs no waiting.
    ///
    /// On a rendezvous channel this succeeds if and only if a receiver waits.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] gives the value back and tells a full channel from a
    /// closed one.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.exchange.try_send(value)
    }

    /// Sends a value, parking the thread until there is room for it.
    ///
    /// For threads outside a runtime: in a task it would block the worker. It
    /// waits in the same queue as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if the channel is closed, also if
    /// that happens while the send waits.
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendError(value)),
            Err(TrySendError::Full(value)) => park::wait_for(self.send(value)),
        }
    }
}

either_end!(Sender, "senders");

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.exchange.add_sender();
        Self::new(Arc::clone(&self.exchange))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.exchange.remove_sender();
    }
}

/// The future of [`Sender::send`].
///
/// # Panics
///
/// If it is polled again after it has finished.
#[must_use = "a send does nothing unless it is awaited, and the value is dropped with it"]
pub struct SendFuture<'a, T> {
    exchange: &'a Exchange<T>,
    progress: SendProgress<T>,
}

/// The value is owned, never pinned.
impl<T> Unpin for SendFuture<'_, T> {}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.exchange.poll_send(&mut this.progress, context)
    }
}

impl<T> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        if let SendProgress::Parked(key) = self.progress {
            self.exchange.forget_send(key);
        }
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = match self.progress {
            SendProgress::Unsent(_) => "unsent",
            SendProgress::Parked(_) => "parked",
            SendProgress::Finished => "finished",
        };
        f.debug_tuple("SendFuture").field(&progress).finish()
    }
}
