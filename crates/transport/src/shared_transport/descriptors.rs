//! Descriptors with the messages of a Unix stream that tasks share.

use bowline_backend::net::UnixStream;
use bowline_codec::Codec;

use super::Shared;
use crate::ancillary::Ancillary;
use crate::error::{Error, Operation};
use crate::message_stream::MessageStream;
use crate::span::OperationSpan;

impl<C> Shared<MessageStream<UnixStream, C>>
where
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    /// Waits for this task's turn, then sends `message` and descriptors; see
    /// [`MessageSender::send_with`](crate::MessageSender::send_with).
    ///
    /// # Errors
    ///
    /// As there; [`Closed`](crate::ErrorKind::Closed) once somebody closed it.
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*, and the descriptors are closed; else *nothing happened*.
    pub async fn send_with(&self, message: &C::Sent, ancillary: Ancillary) -> Result<(), Error> {
        let mut ancillary = ancillary;
        let span = OperationSpan::new(Operation::Send, || self.peer_addr());
        let sent = async {
            let _turn = self.turn(Operation::Send).await?;
            self.in_turn(Operation::Send, |sender, cx| {
                sender.poll_send_with(cx, message, &mut ancillary)
            })
            .await
        };
        span.around(sent).await
    }

    /// Receives a message and its descriptors; see
    /// [`MessageReceiver::recv_with`](crate::MessageReceiver::recv_with).
    ///
    /// # Errors
    ///
    /// As there, and as [`recv`](Shared::recv).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: bytes and descriptors stay in the transport, and `ancillary` as it was.
    pub async fn recv_with(&self, ancillary: &mut Ancillary) -> Result<Option<C::Item>, Error> {
        let span = OperationSpan::new(Operation::Recv, || self.peer_addr());
        let received = self.recv_by(|receiver, cx| receiver.poll_recv_with(cx, ancillary));
        span.around(received).await
    }
}
