//! Descriptors with the packets of a server, over Unix sockets.

use bowline_backend::net::UnixDatagram;
use bowline_codec::MessageCodec;

use super::packets::Packets;
use super::peer::PacketPeer;
use crate::ancillary::{Ancillary, Arrived};
use crate::datagram::DatagramSocket;
use crate::error::{Error, Operation};
use crate::span::OperationSpan;

impl<C: MessageCodec> PacketPeer<UnixDatagram, C> {
    /// Sends `message` and descriptors, in one packet.
    ///
    /// # Errors
    ///
    /// As [`DatagramEndpoint::send_to_with`](crate::DatagramEndpoint::send_to_with);
    /// [`Closed`](crate::ErrorKind::Closed) once the server has ended.
    ///
    /// # Cancel safety
    ///
    /// As [`DatagramEndpoint::send_to_with`](crate::DatagramEndpoint::send_to_with).
    pub async fn send_with(&self, message: &C::Sent, ancillary: Ancillary) -> Result<(), Error> {
        let endpoint = self.endpoint(Operation::Send)?;
        endpoint
            .send_to_with(message, self.peer_addr(), ancillary)
            .await
    }
}

impl<S: DatagramSocket, C: MessageCodec> Packets<S, C> {
    /// As [`recv`](Packets::recv), with the descriptors that came with the packet in `ancillary`, none
    /// where the socket [passes none](crate::DatagramRecv::recv_with_fds).
    /// Those that were there are closed; so are those of a packet that nobody takes, or a plain `recv`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Packets::recv). [`Decode`](crate::ErrorKind::Decode) with
    /// [`AncillaryError::Truncated`](crate::AncillaryError::Truncated) as its source where more
    /// descriptors came than there was room for in `ancillary`, in this process, or among
    /// [those that wait](crate::PacketLimits::max_descriptors): the message and all of them are gone,
    /// and the next call goes on.
    ///
    /// # Panics
    ///
    /// As [`recv`](Packets::recv).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a packet and its descriptors are taken in the poll that returns, and
    /// `ancillary` stays as it was.
    pub async fn recv_with(
        &mut self,
        ancillary: &mut Ancillary,
    ) -> Result<Option<C::Received>, Error> {
        let span = OperationSpan::new(Operation::Recv, || Some(self.peer.peer_addr().clone()));
        let received = async {
            let packet = self.next().await;
            let (message, came) = match packet {
                None => (Ok(None), Arrived::default()),
                Some(packet) => match self.decode(&packet) {
                    Ok(message) => (Ok(Some(message)), packet.carried.take()),
                    Err(error) => (Err(error), Arrived::default()),
                },
            };
            let filled = ancillary.fill(came);
            let message = message?;
            filled.map_err(|error| error.with_peer(Some(self.peer.peer_addr().clone())))?;
            Ok(message)
        };
        span.around(received).await
    }
}
