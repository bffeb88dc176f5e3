//! One transport for any number of tasks.

#[cfg(all(unix, feature = "ancillary"))]
mod descriptors;
mod halves;
mod permit;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_backend::stream::Address;
use bowline_codec::EncodeError;
use bowline_concurrency::sync::{Event, Lock, LockGuard, ResourceGuard};

use self::halves::Halves;
pub use self::permit::SharedPermit;
use crate::attribute::{AttributeRequest, Attributes, Extra};
use crate::ended::{Ended, unless_closed};
use crate::error::{Delivery, Error, ErrorKind, Operation};
use crate::span::OperationSpan;
use crate::transport::{
    Transport, TransportRecv, TransportSend, TryRecvError, TrySendError, waits,
};

/// A transport that any number of tasks send on, and one at a time receives from.
///
/// Clones are the same transport. Senders take turns in the order in which they came, so that no
/// task starves another; `flush` and `shutdown` take their turn like a `send`. A second `recv`
/// while one waits is [`Busy`](ErrorKind::Busy): who shares a receiver decides who gets what.
///
/// [`close`](Shared::close) and [`abort`](Shared::abort) wait for nobody's turn: every operation
/// that waits, and every later one, is [`Closed`](ErrorKind::Closed). Once the last clone is
/// dropped the transport is, which aborts it.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Lines;
/// use bowline_transport::{ErrorKind, MemoryStream, MessageStream, Shared, Transport};
///
/// # Backend::Smol.block_on(async {
/// let (here, there) = MemoryStream::pair();
/// let shared = Shared::new(MessageStream::new(here, Lines::lf().text()));
/// let mut there = MessageStream::new(there, Lines::lf().text());
///
/// let (first, second) = (shared.clone(), shared.clone());
/// first.send(&"from one task".to_owned()).await?;
/// second.send(&"from another".to_owned()).await?;
/// assert_eq!(there.recv().await?.as_deref(), Some("from one task"));
/// assert_eq!(there.recv().await?.as_deref(), Some("from another"));
///
/// first.close().await?;
/// assert_eq!(second.recv().await.unwrap_err().kind(), ErrorKind::Closed);
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "once the last clone is dropped the connection is aborted"]
pub struct Shared<T: Transport> {
    parts: Arc<Parts<T>>,
}

/// How a sender sends: at once, or only queued.
type SendBy<X, S> = fn(&mut X, &mut Context<'_>, &S) -> Poll<Result<(), Error>>;

struct Parts<T: Transport> {
    halves: Halves<T>,
    /// Whoever has it may use the sender.
    turn: Lock<()>,
    /// Whoever is in it may use the receiver.
    receiving: ResourceGuard,
    /// Set once the transport is closed or aborted, or about to be: wakes all who wait.
    closed: Event,
    ended: Ended,
    attributes: Attributes,
}

impl<T: Transport> Shared<T> {
    /// Shares `transport`, which is connected.
    pub fn new(transport: T) -> Self {
        let attributes = Attributes::of(&transport);
        Shared {
            parts: Arc::new(Parts {
                halves: Halves::new(transport.into_split()),
                turn: Lock::new(()),
                receiving: ResourceGuard::new("receiving"),
                closed: Event::new(),
                ended: Ended::default(),
                attributes,
            }),
        }
    }

    /// The transport, for its only user; `None` where there are other clones, or it is closed.
    pub fn into_inner(self) -> Option<T> {
        Arc::into_inner(self.parts)?.halves.into_whole()
    }

    /// Who is at the other end, where the transport knows.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.parts.attributes.peer_addr()
    }

    /// Whether [`close`](Shared::close) or [`abort`](Shared::abort) was called.
    pub fn is_closed(&self) -> bool {
        self.parts.closed.is_set()
    }

    /// Waits for this task's turn and for room for one message.
    ///
    /// The turn ends with the permit: others wait for as long as it is kept.
    ///
    /// # Errors
    ///
    /// As [`TransportSend::reserve`]; [`Closed`](ErrorKind::Closed) once somebody closed it.
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn reserve(&self) -> Result<SharedPermit<'_, T>, Error> {
        let turn = self.turn(Operation::Send).await?;
        self.in_turn(Operation::Send, T::SendHalf::poll_reserve)
            .await?;
        Ok(SharedPermit {
            shared: self,
            _turn: turn,
        })
    }

    /// Waits for this task's turn and for room, then queues the message and tries to write it.
    ///
    /// # Errors
    ///
    /// As [`TransportSend::send`]; [`Closed`](ErrorKind::Closed) once somebody closed it.
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn send(&self, message: &T::Sent) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || self.peer_addr());
        span.around(self.send_by(message, T::SendHalf::poll_send))
            .await
    }

    /// [`send`](Shared::send) without the write, for many messages in one: they go out with the next
    /// `send` or [`flush`](Shared::flush), or when a `recv` finds no message that was read already.
    /// Of many the first go out earlier, as with [`TransportSend::feed`](crate::TransportSend::feed).
    ///
    /// # Errors
    ///
    /// As [`send`](Shared::send).
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn feed(&self, message: &T::Sent) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || self.peer_addr());
        span.around(self.send_by(message, T::SendHalf::poll_feed))
            .await
    }

    /// Waits for this task's turn and for room, and queues the message in the poll that finds it.
    async fn send_by(
        &self,
        message: &T::Sent,
        by: SendBy<T::SendHalf, T::Sent>,
    ) -> Result<(), Error> {
        let _turn = self.turn(Operation::Send).await?;
        self.in_turn(Operation::Send, |sender, cx| by(sender, cx, message))
            .await
    }

    /// Queues the message if it is nobody else's turn and there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Busy`] while another task sends, [`TrySendError::Full`] where there is no room,
    /// else as `send`.
    pub fn try_send(&self, message: &T::Sent) -> Result<(), TrySendError> {
        let Ok(_turn) = self.parts.turn.try_lock() else {
            return Err(match self.is_closed() {
                true => TrySendError::Failed(self.closed(Operation::Send)),
                false => TrySendError::Busy,
            });
        };
        self.use_sender(Operation::Send, |sender| sender.try_send(message))
            .map_err(TrySendError::Failed)?
    }

    /// Waits until all that was queued before has been handed to the stream.
    ///
    /// # Errors
    ///
    /// As [`TransportSend::flush`]; [`Closed`](ErrorKind::Closed) once somebody closed it.
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn flush(&self) -> Result<(), Error> {
        let _turn = self.turn(Operation::Flush).await?;
        self.in_turn(Operation::Flush, T::SendHalf::poll_flush)
            .await
    }

    /// Flushes and ends the sending side; receiving goes on, sends of every clone are
    /// [`Closed`](ErrorKind::Closed).
    ///
    /// # Errors
    ///
    /// As [`TransportSend::shutdown`]; [`Closed`](ErrorKind::Closed) once somebody closed it.
    ///
    /// # Cancel safety
    ///
    /// No further message is accepted once it had its turn; call it again to wait for the rest.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let _turn = self.turn(Operation::Shutdown).await?;
        self.in_turn(Operation::Shutdown, T::SendHalf::poll_shutdown)
            .await
    }

    /// Waits for the next message; `None` once the peer ended between two of them.
    ///
    /// # Errors
    ///
    /// As [`TransportRecv::recv`]; [`Busy`](ErrorKind::Busy) while another task receives, whom this
    /// does not disturb; [`Closed`](ErrorKind::Closed) once somebody closed it.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    pub async fn recv(&self) -> Result<Option<T::Received>, Error> {
        let span = OperationSpan::new(Operation::Recv, || self.peer_addr());
        span.around(self.recv_by(T::RecvHalf::poll_recv)).await
    }

    /// Receives by a function of the receiver.
    async fn recv_by(
        &self,
        mut poll: impl FnMut(
            &mut T::RecvHalf,
            &mut Context<'_>,
        ) -> Poll<Result<Option<T::Received>, Error>>,
    ) -> Result<Option<T::Received>, Error> {
        let parts = &*self.parts;
        let entered = parts.receiving.enter();
        let _entered = entered.map_err(|busy| {
            self.error(Operation::Recv, ErrorKind::Busy)
                .with_source(busy)
        })?;
        let stop = |(): &mut ()| {
            // Closed meanwhile, there is nothing to stop.
            let _ = self.use_receiver(T::RecvHalf::stop_waiting);
        };
        let mut lent_anew = ();
        let received = waits(&mut lent_anew, stop, |(), cx| {
            self.use_receiver(|receiver| poll(receiver, cx))?
        });
        let received = unless_closed(&parts.closed, received).await;
        received.unwrap_or_else(|| Err(self.closed(Operation::Recv)))
    }

    /// The next message if it is there now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] where `recv` would wait, else as `recv`.
    pub fn try_recv(&self) -> Result<Option<T::Received>, TryRecvError> {
        let entered = self.parts.receiving.enter();
        let _entered = entered.map_err(|busy| {
            TryRecvError::Failed(
                self.error(Operation::Recv, ErrorKind::Busy)
                    .with_source(busy),
            )
        })?;
        self.use_receiver(|receiver| receiver.try_recv())
            .map_err(TryRecvError::Failed)?
    }

    /// Whether every later `recv` says the same as this error of one.
    pub(crate) fn ends_with(&self, error: &Error) -> bool {
        let Ok(_entered) = self.parts.receiving.enter() else {
            return false;
        };
        self.use_receiver(|receiver| receiver.ends_with(error))
            .unwrap_or(true)
    }

    /// Flushes, ends the sending side and releases the connection, as
    /// [`Transport::close`]. Whoever waits for something else meanwhile is told at once; a second
    /// `close` waits for the first, and has its result.
    ///
    /// # Errors
    ///
    /// As [`Transport::close`]; [`Closed`](ErrorKind::Closed) where it was aborted before all was
    /// written.
    ///
    /// # Cancel safety
    ///
    /// A `close` dropped half-way is an [`abort`](Shared::abort).
    pub async fn close(&self) -> Result<(), Error> {
        let Some(closing) = self.parts.halves.begin_close() else {
            return self.parts.ended.wait().await;
        };
        self.parts.closed.set();
        let telling = self.parts.ended.tell(|| {
            self.closed(Operation::Close)
                .with_delivery(Delivery::MaybeSent)
        });
        match closing.whole().await {
            Some(mut whole) => telling.result(whole.close().await),
            None => telling.aborted(),
        }
    }

    /// Gives up now; a TCP peer sees a reset.
    pub fn abort(&self) {
        if self.parts.halves.abort() {
            self.parts.ended.nothing_to_wait_for();
        }
        self.parts.closed.set();
    }

    /// Waits until it is this task's turn to use the sender.
    async fn turn(&self, operation: Operation) -> Result<LockGuard<'_, ()>, Error> {
        let turn = unless_closed(&self.parts.closed, self.parts.turn.lock()).await;
        turn.ok_or_else(|| self.closed(operation))
    }

    /// Polls the sender, whose turn this task has, until it is ready or somebody closes it.
    async fn in_turn(
        &self,
        operation: Operation,
        mut poll: impl FnMut(&mut T::SendHalf, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Result<(), Error> {
        let stop = |(): &mut ()| {
            // Closed meanwhile, there is nothing to stop.
            let _ = self.use_sender(operation, T::SendHalf::stop_waiting);
        };
        let mut lent_anew = ();
        let done = waits(&mut lent_anew, stop, |(), cx| {
            self.use_sender(operation, |sender| poll(sender, cx))?
        });
        let done = unless_closed(&self.parts.closed, done).await;
        done.unwrap_or_else(|| Err(self.closed(operation)))
    }

    fn use_sender<R>(
        &self,
        operation: Operation,
        act: impl FnOnce(&mut T::SendHalf) -> R,
    ) -> Result<R, Error> {
        let sender = self.parts.halves.sender();
        Ok(act(
            &mut *sender.map_err(|kind| self.error(operation, kind))?
        ))
    }

    fn use_receiver<R>(&self, act: impl FnOnce(&mut T::RecvHalf) -> R) -> Result<R, Error> {
        let receiver = self.parts.halves.receiver();
        Ok(act(
            &mut *receiver.map_err(|kind| self.error(Operation::Recv, kind))?
        ))
    }

    /// What the codec refused to send.
    pub(super) fn refused(&self, error: EncodeError) -> Error {
        Error::from_encode(error).with_peer(self.peer_addr().cloned())
    }

    fn closed(&self, operation: Operation) -> Error {
        self.error(operation, ErrorKind::Closed)
    }

    fn error(&self, operation: Operation, kind: ErrorKind) -> Error {
        Error::new(operation, kind).with_peer(self.peer_addr().cloned())
    }
}

impl<T: Transport> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared {
            parts: self.parts.clone(),
        }
    }
}

impl<T: Transport> Extra for Shared<T> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.parts.attributes.provide(request);
    }
}

impl<T: Transport> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("peer", &self.peer_addr())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
