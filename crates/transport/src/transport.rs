//! What every transport of messages offers: a whole that splits into a sender and a receiver.

mod recv;
mod send;
mod waits;

pub use recv::{MessageItems, TransportRecv, TryRecvError};
pub use send::{Permit, TransportSend, TrySendError};
pub(crate) use waits::waits;

use std::future::Future;

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
