use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::task::{Context, Poll, Waker, ready};

use bowline_backend::stream::Address;
use bowline_codec::EncodeError;

use super::waits;
use crate::error::{Error, Operation};
use crate::span::OperationSpan;

/// The sending half of a transport.
///
/// A transport writes [`queue`](TransportSend::queue) and the `poll` functions for room, flush and end, and
/// [`poll_send`](TransportSend::poll_send) where it can tell what became of a message at once; users call the
/// others.
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

    /// Waits for room, then queues the message and tries to write it: what [`send`](TransportSend::send) does,
    /// and each of whoever wraps this transport.
    ///
    /// # Errors
    ///
    /// As [`send`](TransportSend::send). `Pending` means that nothing was queued.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &T) -> Poll<Result<(), Error>> {
        ready!(self.poll_reserve(cx))?;
        Poll::Ready(self.queue(message).map_err(|error| refused(self, error)))
    }

    /// As [`poll_send`](TransportSend::poll_send), without trying to write where that can be left for later.
    ///
    /// # Errors
    ///
    /// As [`poll_send`](TransportSend::poll_send).
    fn poll_feed(&mut self, cx: &mut Context<'_>, message: &T) -> Poll<Result<(), Error>> {
        ready!(self.poll_reserve(cx))?;
        let queued = self.queue_only(message);
        Poll::Ready(queued.map_err(|error| refused(self, error)))
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

    /// Nobody waits any more for what a `poll` function of this half began, and answered with `Pending`:
    /// what serves that alone ends, as the attempt to connect of a transport that connects when it is
    /// used. Nothing, unless the transport says so.
    ///
    /// The futures of this half call it when they are dropped before they are ready. Whoever polls a half
    /// himself and stops does so too, and whoever wraps one hands it on.
    fn stop_waiting(&mut self) {}

    /// Who is at the other end, as far as this half knows; it stands in the span of a `send`.
    fn peer(&self) -> Option<Address> {
        None
    }

    /// Whether nothing can be sent any more after this error of a `send`. By what the error is, unless
    /// the transport knows better.
    fn ends_with(&self, error: &Error) -> bool {
        error.is_final()
    }

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
            waits(self, Self::stop_waiting, |sender, cx| {
                sender.poll_reserve(cx)
            })
            .await?;
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
            let span = OperationSpan::new(Operation::Send, || self.peer());
            let sending = waits(self, Self::stop_waiting, |sender, cx| {
                sender.poll_send(cx, message)
            });
            span.around(sending).await
        }
    }

    /// [`send`](TransportSend::send) without the write, for many messages in one: they go out with the
    /// next `send`, `flush`, `shutdown` or `close`, or when a `recv` of the same transport finds no
    /// message that was read already, and reads on. Who waits for anything else meanwhile keeps them
    /// back, and flushes before.
    ///
    /// A message stream writes earlier where there are many, so that the peer need not wait for the
    /// last: 32 messages or 4 KiB that were fed, then twice as many each time, up to 512 or 64 KiB; and
    /// after 32 messages, or 256 KiB, that were received one after another.
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
            let span = OperationSpan::new(Operation::Send, || self.peer());
            let feeding = waits(self, Self::stop_waiting, |sender, cx| {
                sender.poll_feed(cx, message)
            });
            span.around(feeding).await
        }
    }

    /// Queues the message if there is room now. It makes no connection.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] where `send` would wait, for a connection too, else as `send`.
    fn try_send(&mut self, message: &T) -> Result<(), TrySendError> {
        match self.poll_send(&mut Context::from_waker(Waker::noop()), message) {
            Poll::Pending => Err(TrySendError::Full),
            Poll::Ready(sent) => sent.map_err(TrySendError::Failed),
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
        waits(self, Self::stop_waiting, |sender, cx| {
            sender.poll_shutdown(cx)
        })
    }
}

/// What the codec refused to send by `sender`.
fn refused<T: ?Sized + Sync>(
    sender: &(impl TransportSend<T> + ?Sized),
    error: EncodeError,
) -> Error {
    Error::from_encode(error).with_peer(sender.peer())
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

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &T) -> Poll<Result<(), Error>> {
        (**self).poll_send(cx, message)
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>, message: &T) -> Poll<Result<(), Error>> {
        (**self).poll_feed(cx, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_shutdown(cx)
    }

    fn stop_waiting(&mut self) {
        (**self).stop_waiting();
    }

    fn peer(&self) -> Option<Address> {
        (**self).peer()
    }

    fn ends_with(&self, error: &Error) -> bool {
        (**self).ends_with(error)
    }

    fn send(&mut self, message: &T) -> impl Future<Output = Result<(), Error>> + Send {
        (**self).send(message)
    }

    fn feed(&mut self, message: &T) -> impl Future<Output = Result<(), Error>> + Send {
        (**self).feed(message)
    }

    fn try_send(&mut self, message: &T) -> Result<(), TrySendError> {
        (**self).try_send(message)
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
        let span = OperationSpan::new(Operation::Send, || self.sender.peer());
        span.of_encoding(|| self.sender.queue(message))
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
