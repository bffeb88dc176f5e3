//! Sockets and names.

#[macro_use]
mod byte_stream;
#[macro_use]
mod datagram;
#[cfg(all(unix, feature = "ancillary"))]
mod ancillary;
mod listener;
mod options;
mod query;
mod raw_socket;
mod resolve;
mod reverse;
mod socket;
mod tcp;
mod udp;
mod udp_options;
#[cfg(unix)]
mod unix_datagram;
#[cfg(unix)]
mod unix_listener;
mod unix_options;
#[cfg(unix)]
mod unix_stream;

#[cfg(all(unix, feature = "ancillary"))]
pub use ancillary::ReceivedFds;
pub use datagram::Received;
pub use listener::TcpListener;
pub use options::{Keepalive, Nodelay, TcpListenOptions, TcpOptions};
pub use query::{Family, Query, QueryFlags};
pub use raw_socket::{RawSocket, SocketClosed};
pub use resolve::{ResolveError, ResolveErrorKind, resolve};
pub use reverse::{ReverseFlags, reverse};
pub use tcp::{TcpReadHalf, TcpStream, TcpWriteHalf};
pub use udp::UdpSocket;
pub use udp_options::UdpOptions;
#[cfg(unix)]
pub use unix_datagram::UnixDatagram;
#[cfg(unix)]
pub use unix_listener::UnixListener;
#[cfg(unix)]
pub use unix_options::{Credentials, Stale, UnixListenOptions, UnixOptions};
#[cfg(unix)]
pub use unix_stream::{UnixReadHalf, UnixStream, UnixWriteHalf};

#[cfg(all(feature = "real", feature = "ancillary"))]
pub(crate) use ancillary::MOST_DESCRIPTORS;
#[cfg(feature = "sim")]
pub(crate) use socket::OwnedSocket;
pub(crate) use socket::{
    DatagramSocket, ListenSocket, ShortRead, Socket, SocketKind, SocketTypes, Sockets,
    StreamSocket, TcpSocket, UnixDatagramSocket, UnixSocket,
};
#[cfg(feature = "real")]
pub(crate) use udp_options::Group;
