//! Messages in packets of a Unix socket, with descriptors.

use std::future::poll_fn;
use std::task::{Poll, ready};

use bowline_backend::net::UnixDatagram;
use bowline_codec::MessageCodec;

use super::{DatagramReceiver, DatagramSender, DatagramTransport};
use crate::ancillary::{Ancillary, Arrived, borrowed, or_plain};
use crate::error::{Error, Operation};
use crate::span::OperationSpan;
use crate::transport::TransportSend;

impl<C: MessageCodec<Sent: Sync>> DatagramSender<UnixDatagram, C> {
    /// Sends `message` and the descriptors of `ancillary` in one packet, and closes them here.
    ///
    /// # Errors
    ///
    /// As [`send`](TransportSend::send); [`Config`](crate::ErrorKind::Config) with
    /// [`AncillaryError`](crate::AncillaryError) as its source for more than
    /// [`Ancillary::MAX_FDS`] descriptors; [`Unsupported`](crate::ErrorKind::Unsupported) in the
    /// simulator. Nothing was sent, and the transport is usable.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, but that the descriptors are closed: the packet is sent with them in the
    /// poll that says so.
    pub async fn send_with(
        &mut self,
        message: &C::Sent,
        ancillary: Ancillary,
    ) -> Result<(), Error> {
        if ancillary.fds().is_empty() {
            return self.send(message).await;
        }
        let span = OperationSpan::new(Operation::Send, || self.peer_addr().cloned());
        let sent = async {
            ancillary.check()?;
            poll_fn(|cx| self.poll_reserve(cx)).await?;
            let packet = self.encode(message).map_err(Error::from_encode)?;
            poll_fn(|cx| {
                self.poll_send_by(cx, packet.len(), |socket, cx| {
                    socket.poll_send_with_fds(cx, &packet, &borrowed(ancillary.fds()))
                })
            })
            .await
        };
        span.around(sent).await
    }
}

impl<C: MessageCodec<Received: Send>> DatagramReceiver<UnixDatagram, C> {
    /// Receives a message, and puts the descriptors that came with it into `ancillary`. Those that
    /// were there are closed. A plain [`recv`](crate::TransportRecv::recv) closes what comes.
    ///
    /// # Errors
    ///
    /// As [`recv`](crate::TransportRecv::recv). [`Decode`](crate::ErrorKind::Decode) with
    /// [`AncillaryError::Truncated`](crate::AncillaryError::Truncated) as its source where more
    /// descriptors came than there was room for in `ancillary` or in this process: the message and
    /// all of them are gone, and the next call goes on.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a packet and its descriptors are taken in the poll that reports them, and
    /// `ancillary` stays as it was.
    pub async fn recv_with(
        &mut self,
        ancillary: &mut Ancillary,
    ) -> Result<Option<C::Received>, Error> {
        let span = OperationSpan::new(Operation::Recv, || self.peer_addr().cloned());
        let received = async {
            let (message, came) = poll_fn(|cx| {
                let mut came = Arrived::default();
                let received = ready!(self.poll_recv_by(cx, |socket, cx, buffer, max| {
                    came = Arrived::default(); // of a packet that was left out
                    let most = Ancillary::MAX_FDS;
                    let read = socket.poll_recv_with_fds(cx, buffer, max, most);
                    let read = read.map_ok(|(packet, fds)| {
                        came.fds = fds.fds;
                        came.truncated = fds.truncated;
                        packet
                    });
                    or_plain(read, || socket.poll_recv_from(cx, buffer, max))
                }));
                Poll::Ready((received, came))
            })
            .await;
            let filled = match &message {
                Ok(_) => ancillary.fill(came),
                Err(_) => ancillary.fill(Arrived::default()),
            };
            let message = message?;
            filled.map_err(|error| error.with_peer(self.peer_addr().cloned()))?;
            Ok(message)
        };
        span.around(received).await
    }
}

impl<C: MessageCodec<Sent: Sync, Received: Send>> DatagramTransport<UnixDatagram, C> {
    /// Sends `message` and descriptors; see [`DatagramSender::send_with`].
    ///
    /// # Errors
    ///
    /// As [`DatagramSender::send_with`].
    ///
    /// # Cancel safety
    ///
    /// As [`DatagramSender::send_with`].
    pub async fn send_with(
        &mut self,
        message: &C::Sent,
        ancillary: Ancillary,
    ) -> Result<(), Error> {
        self.sender.send_with(message, ancillary).await
    }

    /// Receives a message and its descriptors; see [`DatagramReceiver::recv_with`].
    ///
    /// # Errors
    ///
    /// As [`DatagramReceiver::recv_with`].
    ///
    /// # Cancel safety
    ///
    /// As [`DatagramReceiver::recv_with`].
    pub async fn recv_with(
        &mut self,
        ancillary: &mut Ancillary,
    ) -> Result<Option<C::Received>, Error> {
        self.receiver.recv_with(ancillary).await
    }
}
