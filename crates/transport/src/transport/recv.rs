use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bowline_backend::stream::Address;
use futures_core::Stream;

use super::waits;
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
    /// Every later call returns it again.
    /// [`Decode`](crate::ErrorKind::Decode) where the codec refused one message: the next call goes
    /// on. Where it lost its place in what came that is
    /// [`Broken(Undecodable)`](crate::Break::Undecodable).
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, Error>>;

    /// Nobody waits any more for what [`poll_recv`](TransportRecv::poll_recv) answered with `Pending`:
    /// what serves that alone ends, as the attempt to connect of a transport that connects when it is
    /// used. Nothing, unless the transport says so.
    ///
    /// A `recv` calls it when it is dropped before it is ready. Whoever polls a half himself and stops does
    /// so too, and whoever wraps one hands it on.
    fn stop_waiting(&mut self) {}

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
        span.around(waits(self, Self::stop_waiting, |receiver, cx| {
            receiver.poll_recv(cx)
        }))
    }

    /// The next message if it is there now. It makes no connection.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] where `recv` would wait, for a connection too, else as `recv`.
    fn try_recv(&mut self) -> Result<Option<T>, TryRecvError> {
        match self.poll_recv(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(TryRecvError::Empty),
            Poll::Ready(result) => result.map_err(TryRecvError::Failed),
        }
    }

    /// The messages as a stream. An error is an item, also one that nothing can follow: then the
    /// stream ends, as it does where the peer ended.
    ///
    /// From one poll to the next it waits, also where the future that polled it was dropped: an attempt to
    /// connect, of a transport that does so when it is used, goes on with the next poll, or ends with the
    /// stream. One that was left alone for so long that it has to be over is begun anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_codec::Lines;
    /// use bowline_transport::{MemoryStream, MessageStream, Transport, TransportRecv};
    /// use futures_util::TryStreamExt;
    ///
    /// # futures_util::FutureExt::now_or_never(async {
    /// let (here, there) = MemoryStream::pair();
    /// let mut here = MessageStream::new(here, Lines::lf().text());
    /// for line in ["one", "two"] {
    ///     here.send(&line.to_owned()).await?;
    /// }
    /// here.close().await?;
    /// let (_sender, receiver) = MessageStream::new(there, Lines::lf().text()).into_split();
    /// let lines: Vec<String> = receiver.into_stream().try_collect().await?;
    /// assert_eq!(lines, ["one", "two"]);
    /// # Ok::<(), bowline_transport::Error>(())
    /// # }).expect("nothing waits").unwrap();
    /// ```
    fn into_stream(self) -> MessageItems<Self, T>
    where
        Self: Sized,
    {
        MessageItems::new(self)
    }

    /// Whether every later `recv` says the same as this error of one. By what the error is, unless the
    /// transport knows better.
    fn ends_with(&self, error: &Error) -> bool {
        error.is_final()
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

    fn stop_waiting(&mut self) {
        (**self).stop_waiting();
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

    fn ends_with(&self, error: &Error) -> bool {
        (**self).ends_with(error)
    }

    fn unsent_frames(&self) -> usize {
        (**self).unsent_frames()
    }
}

/// The messages of a receiver as a [`Stream`]; made by [`TransportRecv::into_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct MessageItems<X, T> {
    receiver: X,
    done: bool,
    message: PhantomData<fn() -> T>,
}

impl<X, T> MessageItems<X, T> {
    fn new(receiver: X) -> Self {
        MessageItems {
            receiver,
            done: false,
            message: PhantomData,
        }
    }
}

impl<X: TransportRecv<T>, T> MessageItems<X, T> {
    /// The receiver again.
    pub fn into_inner(mut self) -> X {
        self.receiver.stop_waiting();
        self.receiver
    }
}

impl<X, T> Unpin for MessageItems<X, T> {}

impl<X: TransportRecv<T>, T> Stream for MessageItems<X, T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        let next = ready!(this.receiver.poll_recv(cx)).transpose();
        this.done = match &next {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => this.receiver.ends_with(error),
        };
        Poll::Ready(next)
    }
}

impl<X: fmt::Debug, T> fmt::Debug for MessageItems<X, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageItems")
            .field("receiver", &self.receiver)
            .field("done", &self.done)
            .finish_non_exhaustive()
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
