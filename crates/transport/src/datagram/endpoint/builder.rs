use std::num::NonZeroUsize;
use std::sync::Mutex;

use bowline_codec::MessageCodec;

use super::DatagramEndpoint;
use crate::attribute::Attributes;
use crate::datagram::counters::Counts;
use crate::datagram::{DatagramSocket, MAX_PACKET};

/// The limits of a [`DatagramEndpoint`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `over` is called"]
pub struct DatagramEndpointBuilder {
    max_packet: NonZeroUsize,
    unnamed: UnnamedSenders,
}

impl Default for DatagramEndpointBuilder {
    fn default() -> Self {
        DatagramEndpointBuilder {
            max_packet: MAX_PACKET,
            unnamed: UnnamedSenders::default(),
        }
    }
}

impl DatagramEndpointBuilder {
    /// The longest packet that is sent, if the socket does not take less, and the most that is
    /// received of one; default 64 KiB. Of a longer one nothing is decoded.
    ///
    /// There has to be room before a packet comes: as much as this says, but for no more than 64 KiB of
    /// UDP, whose packets are not longer, and 1 MiB of a Unix socket, of which more is not received. It
    /// is kept while packets come, and a packet that is handed out keeps twice its length at most.
    pub fn max_packet(mut self, bytes: NonZeroUsize) -> Self {
        self.max_packet = bytes;
        self
    }

    /// What to do with packets of Unix sockets that have no address; ignored unless set.
    pub fn unnamed(mut self, senders: UnnamedSenders) -> Self {
        self.unnamed = senders;
        self
    }

    /// Speaks `codec` over `socket`.
    pub fn over<S: DatagramSocket, C: MessageCodec>(
        self,
        socket: S,
        codec: C,
    ) -> DatagramEndpoint<S, C> {
        DatagramEndpoint {
            max_packet: self.max_packet,
            limit: self.max_packet.get().min(socket.max_packet()),
            unnamed: self.unnamed,
            connected: socket.hears().is_some(),
            attributes: Attributes::of(&socket),
            counts: Counts::default(),
            spare: Mutex::default(),
            socket,
            codec,
        }
    }
}

/// What to do with the packet of a Unix socket that has no address to answer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnnamedSenders {
    /// Drops and counts it.
    #[default]
    Ignore,
    /// Drops and counts it, and [`recv_from`](DatagramEndpoint::recv_from) says so by an error with
    /// [`UnnamedSender`] as its source.
    Warn,
    /// Gives it to the program as of [`UNNAMED`](bowline_backend::stream::UnixAddress::UNNAMED).
    Handle,
}

/// A packet was dropped, for its sender has no address; see [`UnnamedSenders::Warn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {len} bytes was dropped: its sender has no address to answer to")]
pub struct UnnamedSender {
    pub(super) len: usize,
}

impl UnnamedSender {
    /// How long the packet was.
    #[expect(clippy::len_without_is_empty, reason = "it is no collection")]
    pub fn len(&self) -> usize {
        self.len
    }
}
