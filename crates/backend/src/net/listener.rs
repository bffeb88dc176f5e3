use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::options::TcpListenOptions;
use super::socket::{ListenSocket, Socket, Sockets};
use super::tcp::TcpStream;
use crate::Backend;
use crate::runtime::{AnyTcpListener, Variant};
use crate::stream::Address;

/// A TCP socket that accepts connections.
///
/// Any number of tasks may accept at once; each connection goes to one of them. Dropping it resets
/// the connections that were not accepted yet.
///
/// Streams accepted from a listener that came [from outside](TcpListener::from_std) get default
/// options.
pub struct TcpListener(AnyTcpListener);

impl TcpListener {
    /// Listens at `at` with default options; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// As [`bind_with`](TcpListener::bind_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind(at: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind_with(at, TcpListenOptions::new())
    }

    /// Listens at `at`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`], [`io::ErrorKind::AddrNotAvailable`],
    /// [`io::ErrorKind::PermissionDenied`] and what else the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind_with(at: SocketAddr, options: TcpListenOptions) -> io::Result<TcpListener> {
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let listener = <R as Sockets>::bind_tcp(at, options)?;
            Ok(TcpListener(R::any_tcp_listener(listener)))
        })
    }

    /// The next connection and the address of its peer.
    ///
    /// # Errors
    ///
    /// What the system reports; [`AcceptErrorKind`](crate::accept_error::AcceptErrorKind) says what
    /// it means. The listener stays usable unless the error is fatal.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a connection is handed out or stays queued.
    pub async fn accept(&self) -> io::Result<(TcpStream, Address)> {
        delegate_typed!(&self.0, listener, R => {
            let (stream, peer) = ListenSocket::accept(listener).await?;
            Ok((TcpStream(R::any_tcp_stream(stream)), peer))
        })
    }

    /// As [`accept`](TcpListener::accept). One task is woken, that of the last poll; several use
    /// the async form.
    ///
    /// # Errors
    ///
    /// As [`accept`](TcpListener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
        delegate_typed!(&self.0, listener, R => {
            let accepted = ListenSocket::poll_accept(listener, cx);
            accepted.map_ok(|(stream, peer)| (TcpStream(R::any_tcp_stream(stream)), peer))
        })
    }

    /// The address that it listens at, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let local = delegate!(&self.0, listener => Socket::local_addr(listener))?;
        local
            .as_inet()
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

socket!(
    TcpListener,
    TcpListener,
    TcpListener,
    any_tcp_listener,
    std::net::TcpListener
);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("backend", &self.backend())
            .field("local", &self.local_addr().ok())
            .finish()
    }
}
