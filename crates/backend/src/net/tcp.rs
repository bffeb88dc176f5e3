use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use super::options::{Keepalive, Nodelay, TcpOptions};
use super::socket::{ShortRead, Socket, Sockets, StreamSocket, TcpSocket};
use crate::Backend;
use crate::runtime::{AnyTcpStream, Variant};
use crate::stream::{Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError};

/// A TCP connection of the backend that was current when it was made.
///
/// It stays with that backend, may be used and dropped on any thread, and never looks the current
/// backend up again. Dropping it closes both directions and its descriptor.
pub struct TcpStream(pub(super) AnyTcpStream);

impl TcpStream {
    /// Connects to `to` with default options.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](TcpStream::connect_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened* that is visible here: the descriptor is closed.
    pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_with(to, TcpOptions::new()).await
    }

    /// Connects to `to`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for `0.0.0.0`, `[::]`, port 0 and a local address of
    /// another family; else what the system reports, such as
    /// [`io::ErrorKind::ConnectionRefused`].
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened* that is visible here: the descriptor is closed.
    pub async fn connect_with(to: SocketAddr, options: TcpOptions) -> io::Result<TcpStream> {
        check_target(to, options.local)?;
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let connecting = <R as Sockets>::connect_tcp(to, options);
            Ok(TcpStream(R::any_tcp_stream(connecting.await?)))
        })
    }

    /// Whether small writes leave at once.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()> {
        delegate!(&self.0, stream => TcpSocket::set_nodelay(stream, nodelay))
    }

    /// Probes the connection while it is idle, or stops that.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        delegate!(&self.0, stream => TcpSocket::set_keepalive(stream, keepalive))
    }

    /// How long the system goes on sending after a close, rounded up to whole seconds; zero resets,
    /// `None` is its default.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        delegate!(&self.0, stream => TcpSocket::set_linger(stream, linger))
    }
}

socket!(
    TcpStream,
    TcpStream,
    TcpStream,
    any_tcp_stream,
    std::net::TcpStream
);
byte_stream!(TcpStream, TcpReadHalf, TcpWriteHalf, ShortRead::TookAll);

/// Whether `to` names a peer, and `local` is of its family.
pub(super) fn check_target(to: SocketAddr, local: Option<SocketAddr>) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if to.ip().is_unspecified() {
        return refuse(format!("{to} names no host to connect to"));
    }
    if to.port() == 0 {
        return refuse(format!("{to} has port 0, to which nothing connects"));
    }
    match local {
        Some(local) if local.is_ipv4() != to.is_ipv4() => refuse(format!(
            "local address {local} and peer {to} are of different families"
        )),
        _ => Ok(()),
    }
}
