//! Descriptors with the messages of a server at a Unix path.

use bowline_backend::net::UnixStream;
use bowline_codec::Codec;

use super::messages::Messages;
use super::peer::Peer;
use crate::ancillary::Ancillary;
use crate::error::Error;
use crate::message_stream::MessageStream;

impl<C> Peer<MessageStream<UnixStream, C>>
where
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    /// Waits for this task's turn, then sends `message` and descriptors; see
    /// [`MessageSender::send_with`](crate::MessageSender::send_with).
    ///
    /// # Errors
    ///
    /// As there; [`Closed`](crate::ErrorKind::Closed) once the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*, and the descriptors are closed; else *nothing happened*.
    pub async fn send_with(&self, message: &C::Sent, ancillary: Ancillary) -> Result<(), Error> {
        self.noted(self.shared.send_with(message, ancillary).await)
    }
}

impl<C> Messages<MessageStream<UnixStream, C>>
where
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    /// As [`recv`](Messages::recv), with the descriptors that came with the message in `ancillary`;
    /// see [`MessageReceiver::recv_with`](crate::MessageReceiver::recv_with). Once this was called,
    /// nothing that comes with a later message is closed before it.
    ///
    /// # Errors
    ///
    /// As there, and as [`recv`](Messages::recv).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: bytes and descriptors stay in the transport, and `ancillary` as it was.
    pub async fn recv_with(&mut self, ancillary: &mut Ancillary) -> Result<Option<C::Item>, Error> {
        self.unless_drained(self.shared.recv_with(ancillary)).await
    }
}
