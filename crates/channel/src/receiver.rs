//! The receiving end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::ends::{debug_end, inspecting_methods};
use crate::error::{RecvError, TryRecvError};
use crate::exchange::{Exchange, Interest};
use crate::flavor::sealed::Sealed;
use crate::flavor::{Flavor, Threads};
use crate::park;
use crate::recv_many::RecvManyFuture;
use crate::wait_list::Key;
use crate::weak::WeakReceiver;

/// The receiving end of a channel; a cheap clone of it is another receiver,
/// and each value goes to exactly one of them.
///
/// When the last one is dropped the channel is closed, senders get their
/// values back, and values still buffered are dropped.
///
/// It is also a [`Stream`] that ends when the channel is closed and drained. A
/// stream that waits is only *told* of a value, since nobody can see whether
/// it will be polled again; a [`recv`](Self::recv) that waits on another clone
/// is *promised* one. Where both compete for one channel, `recv` has the
/// advantage.
pub struct Receiver<T, F: Flavor = Threads> {
    exchange: <F as Sealed>::Pointer<Exchange<T, F>>,
    /// Where this end waits as a stream.
    watching: Option<Key>,
}

impl<T, F: Flavor> Receiver<T, F> {
    /// Takes over one of the receivers counted in `exchange`.
    pub(crate) fn new(exchange: <F as Sealed>::Pointer<Exchange<T, F>>) -> Self {
        Self {
            exchange,
            watching: None,
        }
    }

    /// Receives the next value, waiting for one to be sent.
    ///
    /// Waiting receivers are served in the order in which they were first
    /// polled, and a later one never overtakes a waiting one. After 128
    /// receives in a row that needed no waiting, one lets other tasks run first.
    ///
    /// A receive that was woken for a value and is kept without being polled
    /// keeps that value, and on a closed channel the end, from all the others:
    /// poll it or drop it before you wait for another receive in its task.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the channel is closed and drained.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a value promised to a future that is dropped goes
    /// to the next waiting receiver, or is the first one for the next receive.
    /// *Place in queue lost*.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = bowline_channel::bounded(4);
    /// sender.send("one").await.unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.recv().await, Ok("one"));
    /// assert_eq!(receiver.recv().await, Err(bowline_channel::RecvError));
    /// # });
    /// ```
    #[doc(alias = "pull")]
    pub fn recv(&self) -> RecvFuture<'_, T, F> {
        RecvFuture {
            exchange: &self.exchange,
            parked: None,
            finished: false,
        }
    }

    /// Receives a value if that needs no waiting.
    ///
    /// On a rendezvous channel this succeeds if and only if a sender waits (or
    /// a receiver that had taken a value was dropped).
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] tells an empty channel from one that is closed and
    /// drained.
    #[doc(alias = "pull_nowait")]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.exchange.try_recv()
    }

    /// Receives the next value, parking the thread until one is sent.
    ///
    /// For threads outside a runtime: in a task it would block the worker. It
    /// waits in the same queue as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the channel is closed and drained.
    pub fn recv_blocking(&self) -> Result<T, RecvError> {
        match self.try_recv() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Closed) => Err(RecvError),
            Err(TryRecvError::Empty) => park::wait_for(self.recv()),
        }
    }

    /// Receives all that is there, up to `most` values, and waits only while
    /// there is none. They are appended to `into`; the result says how many.
    ///
    /// Values of senders that wait are among them. The batch is moved at once,
    /// for a fraction of what single receives cost. With 0 for `most` the result
    /// is 0 at once, also at the end of the channel.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the channel is closed and drained; `into` is unchanged.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: values are appended only when the future is ready.
    /// *Place in queue lost*.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = bowline_channel::bounded(8);
    /// sender.send_all(1..=5).await.unwrap();
    /// let mut batch = Vec::new();
    /// assert_eq!(receiver.recv_many(&mut batch, 3).await, Ok(3));
    /// assert_eq!(receiver.recv_many(&mut batch, 3).await, Ok(2));
    /// assert_eq!(batch, [1, 2, 3, 4, 5]);
    /// # });
    /// ```
    pub fn recv_many<'a>(&'a self, into: &'a mut Vec<T>, most: usize) -> RecvManyFuture<'a, T, F> {
        RecvManyFuture::new(&self.exchange, into, most)
    }

    /// A handle that does not keep the channel open.
    pub fn downgrade(&self) -> WeakReceiver<T, F> {
        WeakReceiver::new(self.exchange.clone())
    }

    inspecting_methods!();

    pub(crate) fn exchange(&self) -> &Exchange<T, F> {
        &self.exchange
    }
}

debug_end!(Receiver);

impl<T, F: Flavor> Stream for Receiver<T, F> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        this.exchange
            .poll_recv(&mut this.watching, Interest::Notice, context)
            .map(Result::ok)
    }
}

impl<T, F: Flavor> Clone for Receiver<T, F> {
    fn clone(&self) -> Self {
        self.exchange.add_receiver();
        Self::new(self.exchange.clone())
    }
}

impl<T, F: Flavor> Drop for Receiver<T, F> {
    fn drop(&mut self) {
        if let Some(key) = self.watching.take() {
            self.exchange.forget_recv(key);
        }
        self.exchange.remove_receiver();
    }
}

/// The future of [`Receiver::recv`].
///
/// # Panics
///
/// If it is polled again after it has finished.
#[must_use = "a receive does nothing unless it is awaited"]
pub struct RecvFuture<'a, T, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
    parked: Option<Key>,
    finished: bool,
}

impl<'a, T, F: Flavor> RecvFuture<'a, T, F> {
    /// Takes the operation apart, for a select; where it waits, if it does.
    pub(crate) fn into_parts(mut self) -> (&'a Exchange<T, F>, Option<Key>) {
        (self.exchange, self.parked.take())
    }
}

impl<T, F: Flavor> Future for RecvFuture<'_, T, F> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(!this.finished, "a receive was polled after it had finished");
        let outcome = this
            .exchange
            .poll_recv(&mut this.parked, Interest::Promise, context);
        this.finished = outcome.is_ready();
        outcome
    }
}

impl<T, F: Flavor> Drop for RecvFuture<'_, T, F> {
    #[inline]
    fn drop(&mut self) {
        if let Some(key) = self.parked.take() {
            self.exchange.forget_recv(key);
        }
    }
}

impl<T, F: Flavor> fmt::Debug for RecvFuture<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture")
            .field("parked", &self.parked.is_some())
            .field("finished", &self.finished)
            .finish()
    }
}
