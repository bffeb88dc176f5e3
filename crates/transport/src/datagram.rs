//! Packets: what a socket of datagrams can do, and messages over it.

mod counters;
#[cfg(all(unix, feature = "ancillary"))]
mod descriptors;
mod endpoint;
mod memory;
mod outbound;
mod packet;
mod receiver;
mod sender;
mod stapled;
mod transport;

pub use counters::DatagramCounters;
pub use endpoint::{DatagramEndpoint, DatagramEndpointBuilder, UnnamedSender, UnnamedSenders};
pub use memory::{MemoryDatagram, MemoryDatagramBuilder};
pub(crate) use packet::{Came, Descriptors, Packet};
pub use receiver::DatagramReceiver;
pub use sender::DatagramSender;
pub use stapled::StapledDatagram;
#[cfg(unix)]
pub(crate) use transport::answerable_unix;
pub use transport::{DatagramTransport, DatagramTransportBuilder};

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

#[cfg(all(unix, feature = "ancillary"))]
use bowline_backend::net::ReceivedFds;
#[cfg(unix)]
use bowline_backend::net::UnixDatagram;
use bowline_backend::net::{Received, UdpSocket};
use bowline_backend::stream::Address;
use bytes::BytesMut;

use crate::attribute::{Attribute, Extra};
use crate::error::{Break, Error, ErrorKind};

/// The longest packet that is sent, and the most that is received of one, unless a builder says
/// otherwise. No packet of UDP is longer.
pub(crate) const MAX_PACKET: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// What a packet of UDP holds over IPv4: 65 535 bytes less the headers of IP and UDP.
const MOST_OF_UDP_V4: usize = 65_507;

/// Over IPv6, whose own header is not counted.
const MOST_OF_UDP_V6: usize = 65_527;

/// Asked of a transport: whether each message is a packet, which may be lost or come twice.
#[derive(Debug)]
pub(crate) enum OfPackets {}

impl Attribute for OfPackets {
    type Value = ();
}

/// The receiving side of a socket of datagrams.
///
/// A packet goes to exactly one receiver, whole, or cut and said to be cut; an empty packet is a
/// packet.
pub trait DatagramRecv: Send + Sync + 'static {
    /// Receives one packet and appends at most `max` bytes of it to `buffer`.
    ///
    /// One task is woken, that of the last poll; several use [`recv_from`](DatagramRecv::recv_from).
    ///
    /// # Errors
    ///
    /// What the system reports; the socket stays usable.
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>>;

    /// Receives one packet, for any number of tasks at once.
    ///
    /// # Errors
    ///
    /// What the system reports; the socket stays usable.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a packet is taken in the poll that reports it.
    fn recv_from(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> impl Future<Output = io::Result<Received>> + Send;

    /// As [`recv_from`](DatagramRecv::recv_from), with the descriptors that came with the packet, at
    /// most `max_fds` of them: more are closed, and that is said. By default there are none, as of
    /// every socket but those of Unix.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for more than [`Ancillary::MAX_FDS`](crate::Ancillary::MAX_FDS);
    /// else as [`recv_from`](DatagramRecv::recv_from).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: packet and descriptors are taken in the poll that reports them.
    #[cfg(all(unix, feature = "ancillary"))]
    fn recv_with_fds(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> impl Future<Output = io::Result<(Received, ReceivedFds)>> + Send {
        let _ = max_fds;
        async move {
            let received = self.recv_from(buffer, max).await?;
            let none = ReceivedFds::none(received.len);
            Ok((received, none))
        }
    }

    /// The one whom it hears alone, where it is connected.
    fn hears(&self) -> Option<Address>;
}

/// The sending side of a socket of datagrams.
pub trait DatagramSend: Send + Sync + 'static {
    /// Sends one packet to the peer that it is connected to, whole or not at all.
    ///
    /// One task is woken, that of the last poll.
    ///
    /// # Errors
    ///
    /// What the system reports; the socket stays usable.
    fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>>;

    /// Sends one packet to `to`, for any number of tasks at once.
    ///
    /// # Errors
    ///
    /// What the system reports; the socket stays usable.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the packet is sent in the poll that says so.
    fn send_to(&self, packet: &[u8], to: &Address) -> impl Future<Output = io::Result<()>> + Send;

    /// The longest packet that can be sent, in bytes, as far as that is known.
    fn max_packet(&self) -> usize;
}

/// A socket of datagrams: [`UdpSocket`], `UnixDatagram`, [`MemoryDatagram`], [`StapledDatagram`].
///
/// Implemented for whatever is both sides and knows its attributes.
pub trait DatagramSocket: DatagramRecv + DatagramSend + Extra {}

impl<S: DatagramRecv + DatagramSend + Extra> DatagramSocket for S {}

/// Both sides of a socket of the backend.
macro_rules! socket {
    ($socket:ty, $hears:expr, $max_packet:expr $(, $more:item)?) => {
        impl DatagramRecv for $socket {
            fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> Poll<io::Result<Received>> {
                <$socket>::poll_recv_from(self, cx, buffer, max)
            }

            async fn recv_from(
                &self,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> io::Result<Received> {
                <$socket>::recv_from(self, buffer, max).await
            }

            fn hears(&self) -> Option<Address> {
                $hears(self)
            }

            $($more)?
        }

        impl DatagramSend for $socket {
            fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
                <$socket>::poll_send(self, cx, packet)
            }

            async fn send_to(&self, packet: &[u8], to: &Address) -> io::Result<()> {
                <$socket>::send_to(self, packet, to).await
            }

            fn max_packet(&self) -> usize {
                $max_packet(self)
            }
        }
    };
}

socket!(
    UdpSocket,
    |socket: &UdpSocket| socket.peer_addr().ok().map(Address::Inet),
    |socket: &UdpSocket| match socket.local_addr() {
        Ok(local) if local.is_ipv4() => MOST_OF_UDP_V4,
        _ => MOST_OF_UDP_V6,
    }
);

// The most that a Unix socket takes follows from its send buffer, which it does not tell.
#[cfg(unix)]
socket!(
    UnixDatagram,
    |socket: &UnixDatagram| socket.peer_addr().ok(),
    |_: &UnixDatagram| usize::MAX,
    #[cfg(feature = "ancillary")]
    async fn recv_with_fds(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> io::Result<(Received, ReceivedFds)> {
        match UnixDatagram::recv_with_fds(self, buffer, max, max_fds).await {
            // In the simulator, which passes none.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let received = UnixDatagram::recv_from(self, buffer, max).await?;
                let none = ReceivedFds::none(received.len);
                Ok((received, none))
            }
            received => received,
        }
    }
);

/// `EMSGSIZE` of Linux, of Windows, and of the BSDs and macOS.
const EMSGSIZE: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else if cfg!(windows) {
    10040
} else {
    40
};

/// The system refused a packet as too long, and does not say what it would take.
fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EMSGSIZE)
}

fn too_long() -> io::Error {
    io::Error::from_raw_os_error(EMSGSIZE)
}

/// Whether no packet can follow: an error of one says nothing of the next. None comes, or goes, once we
/// closed, or where the other end of a pair in memory is gone.
fn ends(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Closed | ErrorKind::Broken(Break::Reset)
    )
}

/// The system tells that an earlier packet found nobody; Windows calls that a reset.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}
