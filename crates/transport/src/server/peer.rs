use std::fmt;
use std::sync::Arc;

use bowline_backend::stream::Address;

use super::link::{ConnectionId, Link};
use crate::attribute::{AttributeRequest, Extra};
use crate::error::Error;
use crate::shared_transport::{Shared, SharedPermit};
use crate::transport::{Transport, TrySendError};

/// Who is at the other end of a connection of a server: the sending side.
///
/// Clones are the same peer, and may go to any task: senders take turns in the order in which they
/// came. It may outlive the connection; everything is [`Closed`](crate::ErrorKind::Closed) then.
pub struct Peer<T: Transport> {
    pub(super) shared: Shared<T>,
    link: Arc<Link>,
}

impl<T: Transport> Peer<T> {
    pub(super) fn new(shared: Shared<T>, link: Arc<Link>) -> Self {
        Peer { shared, link }
    }

    /// The number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.link.id
    }

    /// The address that the connection came from.
    pub fn peer_addr(&self) -> &Address {
        &self.link.address
    }

    /// Whether the connection has ended, or we closed it.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Waits for this task's turn and for room for one message.
    ///
    /// # Errors
    ///
    /// As [`Shared::reserve`].
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn reserve(&self) -> Result<SharedPermit<'_, T>, Error> {
        self.noted(self.shared.reserve().await)
    }

    /// Waits for this task's turn and for room, then queues the message and tries to write it.
    ///
    /// What could not be written at once goes out while the handler waits for a message, with the
    /// next send, or when the handler has returned.
    ///
    /// # Errors
    ///
    /// As [`Shared::send`].
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn send(&self, message: &T::Sent) -> Result<(), Error> {
        self.noted(self.shared.send(message).await)
    }

    /// [`send`](Peer::send) without the write, for many answers in one: they go out with the next `send`
    /// or [`flush`](Peer::flush), when the handler asks for a message and none was read already, or when
    /// it has returned. While it waits for anything else they stay: flush before. Of many the first go out earlier, as with
    /// [`TransportSend::feed`](crate::TransportSend::feed).
    ///
    /// # Errors
    ///
    /// As [`Shared::feed`].
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn feed(&self, message: &T::Sent) -> Result<(), Error> {
        self.noted(self.shared.feed(message).await)
    }

    /// Queues the message if it is nobody else's turn and there is room now. Whose turn it is may wait for a
    /// peer that takes nothing for 30 s: then `send` with a timeout is better than asking again and again.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Busy`] while another task sends, [`TrySendError::Full`] where there is no room,
    /// else as `send`.
    pub fn try_send(&self, message: &T::Sent) -> Result<(), TrySendError> {
        self.shared.try_send(message).inspect_err(|refused| {
            if let TrySendError::Failed(error) = refused {
                self.link.note_error(error);
            }
        })
    }

    /// Waits until all that was queued before has been handed to the stream.
    ///
    /// # Errors
    ///
    /// As [`Shared::flush`].
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn flush(&self) -> Result<(), Error> {
        self.noted(self.shared.flush().await)
    }

    /// Flushes and ends the sending side; receiving goes on.
    ///
    /// # Errors
    ///
    /// As [`Shared::shutdown`].
    ///
    /// # Cancel safety
    ///
    /// As [`Shared::shutdown`].
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.noted(self.shared.shutdown().await)
    }

    /// Flushes and closes the connection. A handler that waits for a message is told so by
    /// [`Closed`](crate::ErrorKind::Closed), which is no failure of it. A second `close` waits for the
    /// first, and has its result.
    ///
    /// # Errors
    ///
    /// As [`Shared::close`].
    ///
    /// # Cancel safety
    ///
    /// A `close` dropped half-way is an [`abort`](Peer::abort).
    pub async fn close(&self) -> Result<(), Error> {
        self.noted(self.shared.close().await)
    }

    /// Gives the connection up now; a TCP peer sees a reset.
    pub fn abort(&self) {
        self.shared.abort();
    }

    pub(super) fn noted<R>(&self, result: Result<R, Error>) -> Result<R, Error> {
        result.inspect_err(|error| self.link.note_error(error))
    }
}

impl<T: Transport> Clone for Peer<T> {
    fn clone(&self) -> Self {
        Peer {
            shared: self.shared.clone(),
            link: self.link.clone(),
        }
    }
}

impl<T: Transport> Extra for Peer<T> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.shared.provide(request);
    }
}

impl<T: Transport> fmt::Debug for Peer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id())
            .field("address", self.peer_addr())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
