//! Sockets of simulated hosts.
//!
//! Everything acts on the host in whose name code runs. Sockets are ids of the world's own records:
//! they are `Send`, of no use outside their world (using one there panics) and inert when dropped
//! there.

mod listener;
mod options;
mod stream;
mod udp;
mod unix_address;
mod unix_datagram;
mod unix_listener;
mod unix_stream;

pub use listener::TcpListener;
pub use options::{
    Datagram, Keepalive, TcpListenOptions, TcpOptions, UdpOptions, UnixListenOptions, UnixOptions,
};
pub use stream::{Connect, TcpStream};
pub use udp::UdpSocket;
pub use unix_address::{Credentials, UnixAddress};
pub use unix_datagram::UnixDatagram;
pub use unix_listener::UnixListener;
pub use unix_stream::{UnixConnect, UnixStream};
