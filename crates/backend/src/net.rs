//! Sockets and names.

mod listener;
mod options;
mod resolve;
mod tcp;
mod tcp_halves;

pub use listener::TcpListener;
pub use options::{Keepalive, Nodelay, TcpListenOptions, TcpOptions};
pub use resolve::{Family, Query, ResolveError, ResolveErrorKind, resolve, reverse};
pub use tcp::TcpStream;
pub use tcp_halves::{TcpReadHalf, TcpWriteHalf};

pub(crate) use listener::ListenSocket;
pub(crate) use tcp::StreamSocket;
