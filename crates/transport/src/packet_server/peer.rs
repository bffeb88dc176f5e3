use std::fmt;
use std::sync::{Arc, Weak};

use bowline_backend::stream::Address;
use bowline_codec::MessageCodec;

use super::link::Link;
use crate::attribute::{AttributeRequest, Extra, PeerAddr};
use crate::datagram::{DatagramEndpoint, DatagramSocket};
use crate::error::{Error, ErrorKind, Operation};

/// Whom packets came from: the sending side, towards one address.
///
/// Clones are the same peer, and may go to any task: any number may send at once. It may outlive
/// the handler, and sends as long as the server has its socket; from then on everything is
/// [`Closed`](ErrorKind::Closed).
pub struct PacketPeer<S, C> {
    endpoint: Weak<DatagramEndpoint<S, C>>,
    link: Arc<Link>,
}

impl<S, C> PacketPeer<S, C> {
    pub(super) fn new(endpoint: &Arc<DatagramEndpoint<S, C>>, link: Arc<Link>) -> Self {
        PacketPeer {
            endpoint: Arc::downgrade(endpoint),
            link,
        }
    }

    /// Where its packets come from.
    pub fn peer_addr(&self) -> &Address {
        &self.link.address
    }

    /// How many of its packets were dropped, since it had a handler, because more waited than may.
    pub fn overflowed(&self) -> u64 {
        self.link.overflowed()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn endpoint(
        &self,
        operation: Operation,
    ) -> Result<Arc<DatagramEndpoint<S, C>>, Error> {
        self.endpoint.upgrade().ok_or_else(|| {
            Error::new(operation, ErrorKind::Closed).with_peer(Some(self.link.address.clone()))
        })
    }
}

impl<S: DatagramSocket, C: MessageCodec> PacketPeer<S, C> {
    /// Sends `message`, in one packet.
    ///
    /// # Errors
    ///
    /// As [`DatagramEndpoint::send_to`]; [`Closed`](ErrorKind::Closed) once the server has ended.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the packet is sent in the poll that says so.
    pub async fn send(&self, message: &C::Sent) -> Result<(), Error> {
        let endpoint = self.endpoint(Operation::Send)?;
        endpoint.send_to(message, &self.link.address).await
    }
}

impl<S, C> Extra for PacketPeer<S, C> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        request.give::<PeerAddr>(|| Some(self.link.address.clone()));
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.provide(request);
        }
    }
}

impl<S, C> Clone for PacketPeer<S, C> {
    fn clone(&self) -> Self {
        PacketPeer {
            endpoint: self.endpoint.clone(),
            link: self.link.clone(),
        }
    }
}

impl<S, C> fmt::Debug for PacketPeer<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PacketPeer").field(self.peer_addr()).finish()
    }
}
