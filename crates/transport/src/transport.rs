//! What every transport of messages offers: a whole that splits into a sender and a receiver.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::task::{Context, Poll, Waker};

use bowline_codec::EncodeError;

use crate::attribute::Extra;
use crate::error::Error;

/// Ordered messages both ways.
///
/// [`split`](Transport::split) lends the two directions, so that one task may wait on both at
/// once, and [`into_split`](Transport::into_split) gives them away, for two tasks; the methods of
/// the whole are those of the halves. What is known of the connection is asked for by
/// [`Extra::extra`]. For any number of tasks there is [`Shared`](crate::Shared).
pub trait Transport: Extra + Send {
    /// What goes out. `Sync`, for a `send` in flight holds a reference.
    type Sent: Send + Sync;
    /// What comes in.
    type Received: Send;
    /// The lent sending half.
    type Sender<'a>: TransportSend<Self::Sent>
    where
        Self: 'a;
    /// The lent receiving half.
    type Receiver<'a>: TransportRecv<Self::Received>
    where
        Self: 'a;
    /// The sending half as a value of its own.
    type SendHalf: TransportSend<Self::Sent> + 'static;
    /// The receiving half as a value of its own.
    type RecvHalf: TransportRecv<Self::Received> + 'static;

    /// Connects, where that was not done yet; a second time it does nothing.
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ErrorKind::Closed) after [`close`](Transport::close), else why there is
    /// no connection.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the sockets of the attempt are released.
    fn connect(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Lends the two directions. What is lent keeps nothing of its own: it may be lent anew for each
    /// poll.
    fn split(&mut self) -> (Self::Sender<'_>, Self::Receiver<'_>);

    /// The two directions as values of their own, for two tasks. Dropped both, without a
    /// [`shutdown`](TransportSend::shutdown) of the sender, they abort the connection.
    fn into_split(self) -> (Self::SendHalf, Self::RecvHalf)
    where
        Self: Sized;

    /// The transport again, from its two halves.
    ///
    /// # Errors
    ///
    /// Both halves, where they are not of one transport.
    fn reunite(
        sender: Self::SendHalf,
        receiver: Self::RecvHalf,
    ) -> Result<Self, (Self::SendHalf, Self::RecvHalf)>
    where
        Self: Sized;

    /// Flushes, ends the sending side and releases the connection; a second time it does nothing.
    ///
    /// # Errors
    ///
    /// Why not all that was queued could be written; the connection is released all the same.
    ///
    /// # Cancel safety
    ///
    /// A `close` dropped half-way is an [`abort`](Transport::abort).
    fn close(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Gives up now; a TCP peer sees a reset.
    fn abort(&mut self);

    /// [`TransportSend::send`] of the sending half.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn send(&mut self, message: &Self::Sent) -> impl Future<Output = Result<(), Error>> + Send {
        let (sender, _) = self.split();
        send_by(sender, message)
    }

    /// [`TransportSend::flush`] of the sending half.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: what is not written stays queued.
    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        let (sender, _) = self.split();
        flush_by(sender)
    }

    /// [`TransportRecv::recv`] of the receiving half.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn recv(&mut self) -> impl Future<Output = Result<Option<Self::Received>, Error>> + Send {
        let (_, receiver) = self.split();
        recv_by(receiver)
    }
}

// Functions of their own, for the oldest compiler we promise cannot prove that an `async` block is
// `Send` while it holds a lent half of a transport that it knows only by trait.

async fn send_by<T: ?Sized + Sync>(
    mut sender: impl TransportSend<T>,
    message: &T,
) -> Result<(), Error> {
    sender.send(message).await
}

async fn flush_by<T: ?Sized + Sync>(mut sender: impl TransportSend<T>) -> Result<(), Error> {
    sender.flush().await
}

async fn recv_by<T: Send>(mut receiver: impl TransportRecv<T>) -> Result<Option<T>, Error> {
    receiver.recv().await
}

/// The sending half of a transport.
///
/// A transport writes the four `poll` functions and [`queue`](TransportSend::queue); users call
/// the others.
pub trait TransportSend<T: ?Sized + Sync>: Send {
    /// Waits for room for one message.
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ErrorKind::Closed) once we ended the sending side,
    /// [`Broken`](crate::ErrorKind::Broken) once the connection did.
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Encodes and queues one whole message, or nothing; tries to write without waiting.
    ///
    /// Whoever has not seen [`poll_reserve`](TransportSend::poll_reserve) succeed just before
    /// goes past the limit of the queue; a [`Permit`] is the proof.
    ///
    /// # Errors
    ///
    /// The codec refused the message: nothing was queued.
    fn queue(&mut self, message: &T) -> Result<(), EncodeError>;

    /// As [`queue`](TransportSend::queue), without trying to write where that can be left for later.
    ///
    /// # Errors
    ///
    /// As [`queue`](TransportSend::queue).
    fn queue_only(&mut self, message: &T) -> Result<(), EncodeError> {
        self.queue(message)
    }

    /// Waits until all that was queued has been handed to the stream.
    ///
    /// # Errors
    ///
    /// [`Broken`](crate::ErrorKind::Broken), saying how many frames were not.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Flushes and ends the sending side; idempotent.
    ///
    /// # Errors
    ///
    /// As [`poll_flush`](TransportSend::poll_flush).
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Waits for room and gives the right to queue one message.
    ///
    /// # Errors
    ///
    /// As [`poll_reserve`](TransportSend::poll_reserve).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn reserve(&mut self) -> impl Future<Output = Result<Permit<'_, T, Self>, Error>> + Send {
        async move {
            poll_fn(|cx| self.poll_reserve(cx)).await?;
            Ok(Permit {
                sender: self,
                message: PhantomData,
            })
        }
    }

    /// Waits for room, then queues the message and tries to write it without waiting.
    ///
    /// `Ok` means queued. What could not be written at once goes out with the next `send`,
    /// `reserve`, `flush` or `shutdown`, or while a `recv` of the same transport waits.
    ///
    /// # Errors
    ///
    /// As [`poll_reserve`](TransportSend::poll_reserve); or the codec's, whereupon nothing was
    /// queued and the transport is usable.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the frame is queued whole in the poll that returns.
    fn send(&mut self, message: &T) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            poll_fn(|cx| self.poll_reserve(cx)).await?;
            self.queue(message).map_err(Error::from_encode)
        }
    }

    /// [`send`](TransportSend::send) without the write, for many messages in one: they go out with a
    /// [`flush`](TransportSend::flush), or when a `recv` of the same transport has to wait.
    ///
    /// # Errors
    ///
    /// As [`send`](TransportSend::send).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn feed(&mut self, message: &T) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            poll_fn(|cx| self.poll_reserve(cx)).await?;
            self.queue_only(message).map_err(Error::from_encode)
        }
    }

    /// Queues the message if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] where `send` would wait, else as `send`.
    fn try_send(&mut self, message: &T) -> Result<(), TrySendError> {
        match self.poll_reserve(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(TrySendError::Full),
            Poll::Ready(Err(error)) => Err(TrySendError::Failed(error)),
            Poll::Ready(Ok(())) => self
                .queue(message)
                .map_err(|error| TrySendError::Failed(Error::from_encode(error))),
        }
    }

    /// Waits until all that was queued has been handed to the stream.
    ///
    /// # Errors
    ///
    /// As [`poll_flush`](TransportSend::poll_flush).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: what is not written stays queued.
    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// Flushes and ends the sending side; reading goes on. Idempotent; later sends are
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Errors
    ///
    /// As [`poll_flush`](TransportSend::poll_flush).
    ///
    /// # Cancel safety
    ///
    /// No further message is accepted; call it again to wait for the rest.
    fn shutdown(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        poll_fn(|cx| self.poll_shutdown(cx))
    }
}

/// The receiving half of a transport.
pub trait TransportRecv<T>: Send {
    /// The next message; `None` once the peer ended between two of them, for ever after.
    ///
    /// # Errors
    ///
    /// [`Broken`](crate::ErrorKind::Broken) where the connection failed or ended inside a frame;
    /// whole frames that came before are delivered first.
    /// [`Decode`](crate::ErrorKind::Decode) where the codec refused what came; after a
    /// recoverable one the next call goes on, a fatal one is returned by every later call.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, Error>>;

    /// Waits for the next message; `None` once the peer ended between two of them.
    ///
    /// # Errors
    ///
    /// As [`poll_recv`](TransportRecv::poll_recv).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: bytes stay in the transport.
    fn recv(&mut self) -> impl Future<Output = Result<Option<T>, Error>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// The next message if it is there now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] where `recv` would wait, else as `recv`.
    fn try_recv(&mut self) -> Result<Option<T>, TryRecvError> {
        match self.poll_recv(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(TryRecvError::Empty),
            Poll::Ready(result) => result.map_err(TryRecvError::Failed),
        }
    }

    /// How many of the frames that were queued for sending are not wholly written: a receiver writes
    /// them while it waits, and its [`Broken`](crate::ErrorKind::Broken) counts them. None unless
    /// the transport says so.
    fn unsent_frames(&self) -> usize {
        0
    }
}

impl<T: ?Sized + Sync, X: TransportSend<T> + ?Sized> TransportSend<T> for &mut X {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_reserve(cx)
    }

    fn queue(&mut self, message: &T) -> Result<(), EncodeError> {
        (**self).queue(message)
    }

    fn queue_only(&mut self, message: &T) -> Result<(), EncodeError> {
        (**self).queue_only(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_shutdown(cx)
    }

    fn send(&mut self, message: &T) -> impl Future<Output = Result<(), Error>> + Send {
        (**self).send(message)
    }

    fn try_send(&mut self, message: &T) -> Result<(), TrySendError> {
        (**self).try_send(message)
    }
}

impl<T, X: TransportRecv<T> + ?Sized> TransportRecv<T> for &mut X {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, Error>> {
        (**self).poll_recv(cx)
    }

    fn recv(&mut self) -> impl Future<Output = Result<Option<T>, Error>> + Send {
        (**self).recv()
    }

    fn try_recv(&mut self) -> Result<Option<T>, TryRecvError> {
        (**self).try_recv()
    }

    fn unsent_frames(&self) -> usize {
        (**self).unsent_frames()
    }
}

/// The right to queue one message without waiting; made by [`TransportSend::reserve`].
#[must_use = "a permit dropped unused sends nothing"]
pub struct Permit<'a, T: ?Sized, X: ?Sized> {
    sender: &'a mut X,
    message: PhantomData<fn(&T)>,
}

impl<T: ?Sized + Sync, X: TransportSend<T> + ?Sized> Permit<'_, T, X> {
    /// Queues the whole message or nothing, and tries to write without waiting.
    ///
    /// # Errors
    ///
    /// The codec refused the message: nothing was queued.
    pub fn send(self, message: &T) -> Result<(), EncodeError> {
        self.sender.queue(message)
    }
}

impl<T: ?Sized, X: ?Sized> fmt::Debug for Permit<'_, T, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// Why [`TransportSend::try_send`] did not queue the message.
#[derive(Debug, thiserror::Error)]
pub enum TrySendError {
    /// `send` would wait for room.
    #[error("there is no room for a message now")]
    Full,
    /// `send` would wait for its turn: another task sends. There may well be room; only what several
    /// tasks share says so.
    #[error("another task sends now")]
    Busy,
    /// `send` would fail.
    #[error(transparent)]
    Failed(Error),
}

/// Why [`TransportRecv::try_recv`] has no message.
#[derive(Debug, thiserror::Error)]
pub enum TryRecvError {
    /// `recv` would wait.
    #[error("there is no message now")]
    Empty,
    /// `recv` would fail.
    #[error(transparent)]
    Failed(Error),
}
