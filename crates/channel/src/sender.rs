//! The sending end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::ends::{debug_end, inspecting_methods};
use crate::error::{SendError, TrySendError};
use crate::exchange::{Exchange, SendProgress};
use crate::flavor::sealed::Sealed;
use crate::flavor::{Flavor, Threads};
use crate::guard::CloseGuard;
use crate::park;
use crate::permit::{Permit, ReserveFuture};
use crate::send_all::SendAllFuture;
use crate::sink::SendSink;
use crate::weak::WeakSender;

/// The sending end of a channel; a cheap clone of it is another sender.
///
/// When the last one is dropped the channel is closed: receivers drain what is
/// buffered and then get [`RecvError`](crate::RecvError).
pub struct Sender<T, F: Flavor = Threads> {
    exchange: <F as Sealed>::Pointer<Exchange<T, F>>,
}

impl<T, F: Flavor> Sender<T, F> {
    /// Takes over one of the senders counted in `exchange`.
    pub(crate) fn new(exchange: <F as Sealed>::Pointer<Exchange<T, F>>) -> Self {
        Self { exchange }
    }

    /// Sends a value, waiting until there is room for it.
    ///
    /// Waiting senders are served in the order in which they were first
    /// polled, and a later one never overtakes a waiting one. After 128 sends
    /// in a row that needed no waiting, one lets other tasks run first.
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
    #[doc(alias = "push")]
    pub fn send(&self, value: T) -> SendFuture<'_, T, F> {
        SendFuture {
            exchange: &self.exchange,
            progress: SendProgress::send(value),
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
    #[doc(alias = "push_nowait")]
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

    /// Waits until there is room for one value and keeps it, so that a value
    /// need only be made once it can be sent.
    ///
    /// It waits in the same queue as [`send`](Self::send). On a rendezvous
    /// channel a permit says that a receiver waited; should that one leave
    /// before the permit is used, the value is there for the next.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the channel is closed, also while this waits.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, *place in queue lost*.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = bowline_channel::bounded(1);
    /// let permit = sender.reserve().await?;
    /// assert!(sender.try_send("there is no room").is_err());
    /// permit.send("made when it was needed");
    /// assert_eq!(receiver.recv().await, Ok("made when it was needed"));
    /// # Ok::<(), bowline_channel::SendError<()>>(())
    /// # }).unwrap();
    /// ```
    pub fn reserve(&self) -> ReserveFuture<'_, T, F> {
        ReserveFuture::new(&self.exchange)
    }

    /// Reserves room for one value if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] tells a full channel from a closed one.
    pub fn try_reserve(&self) -> Result<Permit<'_, T, F>, TrySendError<()>> {
        self.exchange.try_reserve()?;
        Ok(Permit::new(&self.exchange))
    }

    /// Sends all values of an iterator, in order, as many at a time as there is
    /// room for.
    ///
    /// Each batch is moved at once, for a fraction of what single sends cost.
    /// The iterator is asked for a value only when there is room for it, or
    /// when this is about to wait. After 128 values in a row other tasks run
    /// first.
    ///
    /// # Errors
    ///
    /// [`SendAllError`](crate::SendAllError) if the channel is closed; it says
    /// how many were sent and gives the one value back that was taken from the
    /// iterator in vain. Pass `&mut iterator` to keep the others.
    ///
    /// # Cancel safety
    ///
    /// The values sent before stay sent; [`SendAllFuture::sent`] says how many.
    /// While it waits, the future owns the next value, which is dropped with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = bowline_channel::unbounded();
    /// assert_eq!(sender.send_all(1..=100).await, Ok(100));
    /// drop(sender);
    /// let mut values = Vec::new();
    /// assert_eq!(receiver.recv_many(&mut values, 1_000).await, Ok(100));
    /// assert_eq!(values.iter().sum::<i32>(), 5050);
    /// # });
    /// ```
    pub fn send_all<I>(&self, values: I) -> SendAllFuture<'_, T, I::IntoIter, F>
    where
        I: IntoIterator<Item = T>,
    {
        SendAllFuture::new(&self.exchange, values.into_iter())
    }

    /// Turns this sender into a [`Sink`](futures_sink::Sink).
    pub fn into_sink(self) -> SendSink<T, F> {
        SendSink::new(self)
    }

    /// A guard that closes the channel when it is dropped, however the code
    /// around it ends.
    #[doc(alias = "async with")]
    pub fn guard(&self) -> CloseGuard<'_, T, F> {
        CloseGuard::new(self)
    }

    /// A handle that does not keep the channel open.
    pub fn downgrade(&self) -> WeakSender<T, F> {
        WeakSender::new(self.exchange.clone())
    }

    inspecting_methods!();

    pub(crate) fn exchange(&self) -> &Exchange<T, F> {
        &self.exchange
    }
}

debug_end!(Sender);

impl<T, F: Flavor> Clone for Sender<T, F> {
    fn clone(&self) -> Self {
        self.exchange.add_sender();
        Self::new(self.exchange.clone())
    }
}

impl<T, F: Flavor> Drop for Sender<T, F> {
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
pub struct SendFuture<'a, T, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
    progress: SendProgress<T>,
}

/// The value is owned, never pinned.
impl<T, F: Flavor> Unpin for SendFuture<'_, T, F> {}

impl<'a, T, F: Flavor> SendFuture<'a, T, F> {
    /// Takes the operation apart, for a select.
    pub(crate) fn into_parts(mut self) -> (&'a Exchange<T, F>, SendProgress<T>) {
        let progress = std::mem::replace(&mut self.progress, SendProgress::Finished);
        (self.exchange, progress)
    }
}

impl<T, F: Flavor> Future for SendFuture<'_, T, F> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.exchange.poll_send(&mut this.progress, context)
    }
}

impl<T, F: Flavor> Drop for SendFuture<'_, T, F> {
    #[inline]
    fn drop(&mut self) {
        if let SendProgress::Parked(key) = self.progress {
            self.exchange.forget_send(key);
        }
    }
}

impl<T, F: Flavor> fmt::Debug for SendFuture<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendFuture")
            .field(&self.progress.stage())
            .finish()
    }
}
