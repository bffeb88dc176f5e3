use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

use bowline_backend::stream::Address;

use crate::error::{Error, Operation};
use crate::span::OperationSpan;

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

    /// Who is at the other end, as far as this half knows; it stands in the span of a `recv`.
    fn peer(&self) -> Option<Address> {
        None
    }

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
        let span = OperationSpan::new(Operation::Recv, || self.peer());
        span.around(poll_fn(|cx| self.poll_recv(cx)))
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

impl<T, X: TransportRecv<T> + ?Sized> TransportRecv<T> for &mut X {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, Error>> {
        (**self).poll_recv(cx)
    }

    fn peer(&self) -> Option<Address> {
        (**self).peer()
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
