//! Messages in packets of a Unix socket, with descriptors.

use std::future::poll_fn;
use std::io::IoSlice;
use std::task::{Poll, ready};

use bowline_backend::net::UnixDatagram;
use bowline_backend::stream::Address;
use bowline_codec::MessageCodec;

use super::endpoint::not_sent;
use super::packet::Descriptors;
use super::{
    DatagramEndpoint, DatagramReceiver, DatagramSender, DatagramSocket, DatagramTransport,
};
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
            let packet = self.packet(message)?;
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
                        came = Arrived::from(fds);
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

impl<C: MessageCodec> DatagramEndpoint<UnixDatagram, C> {
    /// Sends `message` and the descriptors of `ancillary` to `to`, in one packet, and closes them here.
    ///
    /// # Errors
    ///
    /// As [`send_to`](DatagramEndpoint::send_to); [`Config`](crate::ErrorKind::Config) with
    /// [`AncillaryError`](crate::AncillaryError) as its source for more than
    /// [`Ancillary::MAX_FDS`] descriptors; [`Unsupported`](crate::ErrorKind::Unsupported) in the
    /// simulator. Nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, but that the descriptors are closed: the packet is sent with them in the
    /// poll that says so.
    pub async fn send_to_with(
        &self,
        message: &C::Sent,
        to: &Address,
        ancillary: Ancillary,
    ) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || Some(to));
        let packet = self.encode(message, to);
        let sent = async {
            let packet = packet?;
            if ancillary.fds().is_empty() {
                return self.send_packet(packet, to).await;
            }
            let named = |error: Error| error.with_peer(Some(to.clone()));
            ancillary.check().map_err(named)?;
            let (slices, fds) = ([IoSlice::new(&packet)], borrowed(ancillary.fds()));
            let sent = self.socket.send_to_with_fds(&slices, &fds, to).await;
            sent.map_err(|error| not_sent(packet.len(), error, to))
        };
        span.around(sent).await
    }
}

impl<S: DatagramSocket, C: MessageCodec> DatagramEndpoint<S, C> {
    /// Receives a message, who sent it, and puts the descriptors that came with it into `ancillary`,
    /// none where the socket [passes none](super::DatagramRecv::recv_with_fds). Those that were there
    /// are closed. A plain [`recv_from`](DatagramEndpoint::recv_from) closes
    /// what comes.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](DatagramEndpoint::recv_from). [`Decode`](crate::ErrorKind::Decode) with
    /// [`AncillaryError::Truncated`](crate::AncillaryError::Truncated) as its source where more
    /// descriptors came than there was room for in `ancillary` or in this process: the message and
    /// all of them are gone, and the next call goes on.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a packet and its descriptors are taken in the poll that reports them, and
    /// `ancillary` stays as it was.
    pub async fn recv_from_with(
        &self,
        ancillary: &mut Ancillary,
    ) -> Result<(C::Received, Address), Error> {
        let span = OperationSpan::new(Operation::Recv, || None::<Address>);
        let received = async {
            let received = self.recv_packet(Descriptors::Kept).await;
            let decoded = received.and_then(|packet| {
                let named = |error: Error| error.with_peer(Some(packet.from.clone()));
                let message = self.decode(packet.truncated, &packet.bytes);
                Ok((message.map_err(named)?, packet.from, packet.came))
            });
            match decoded {
                Ok((message, from, came)) => {
                    let filled = ancillary.fill(came);
                    filled.map_err(|error| error.with_peer(Some(from.clone())))?;
                    Ok((message, from))
                }
                Err(error) => {
                    let _ = ancillary.fill(Arrived::default()); // nothing is always room for
                    Err(error)
                }
            }
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
