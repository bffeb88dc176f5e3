//! Sockets of simulated hosts.
//!
//! Everything acts on the host in whose name code runs. Sockets are ids of the world's own records:
//! they are `Send`, of no use outside their world (using one there panics) and inert when dropped
//! there.

mod listener;
mod options;
mod stream;
mod udp;

pub use listener::TcpListener;
pub use options::{Datagram, Keepalive, TcpListenOptions, TcpOptions, UdpOptions};
pub use stream::{Connect, TcpStream};
pub use udp::UdpSocket;
