use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;

use super::options::TcpListenOptions;
use super::tcp::{TcpStream, backend_of};
use crate::Backend;
use crate::runtime::{AnyTcpListener, Off, Runtime, Types, Variant};
use crate::stream::Address;

/// A TCP socket that accepts connections.
///
/// Any number of tasks may accept at once; each connection goes to one of them. Dropping it resets
/// the connections that were not accepted yet.
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
            let listener = <R as Runtime>::bind_tcp(at, options)?;
            Ok(TcpListener(R::any_tcp_listener(listener)))
        })
    }

    /// Takes in a listener of the standard library; its options stay, and accepted streams get
    /// default ones.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the descriptor is no TCP socket over IP, and
    /// [`io::ErrorKind::Unsupported`] in the simulator.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let options = TcpListenOptions::new();
            let listener = <<R as Types>::TcpListener>::from_std(listener, options)?;
            Ok(TcpListener(R::any_tcp_listener(listener)))
        })
    }

    /// Gives the listener back to the standard library, in blocking mode.
    ///
    /// # Errors
    ///
    /// What the system reports; [`io::ErrorKind::Unsupported`] in the simulator.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        delegate!(self.0, listener => ListenSocket::into_std(listener))
    }

    /// Lends the descriptor.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] in the simulator.
    #[cfg(unix)]
    pub fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        delegate!(&self.0, listener => ListenSocket::try_as_fd(listener))
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
        use crate::runtime::Choice;
        Ok(match &self.0 {
            #[cfg(feature = "tokio")]
            Choice::Tokio { value } => {
                accepted::<crate::tokio::Tokio>(ListenSocket::accept(value).await?)
            }
            #[cfg(feature = "smol")]
            Choice::Smol { value } => {
                accepted::<crate::smol::Smol>(ListenSocket::accept(value).await?)
            }
            #[cfg(feature = "async-std")]
            Choice::AsyncStd { value } => {
                accepted::<crate::async_std::AsyncStd>(ListenSocket::accept(value).await?)
            }
            #[cfg(feature = "sim")]
            Choice::Sim { value } => {
                accepted::<crate::sim::Sim>(ListenSocket::accept(value).await?)
            }
            #[allow(unreachable_patterns, reason = "variants of backends that are off")]
            _ => unreachable!("a backend that is off made nothing"),
        })
    }

    /// The backend that it stays with.
    pub fn backend(&self) -> Backend {
        backend_of(&self.0)
    }

    /// The address that it listens at, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        delegate!(&self.0, listener => ListenSocket::local_addr(listener))
    }
}

fn accepted<R: Variant>((stream, peer): (R::TcpStream, SocketAddr)) -> (TcpStream, Address) {
    (TcpStream(R::any_tcp_stream(stream)), Address::Inet(peer))
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("backend", &self.backend())
            .field("local", &self.local_addr().ok())
            .finish()
    }
}

/// The listening TCP socket of an adapter.
pub(crate) trait ListenSocket: Send + Sync + Sized + 'static {
    type Stream;

    /// For any number of tasks at once.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn from_std(listener: std::net::TcpListener, options: TcpListenOptions) -> io::Result<Self>;
    fn into_std(self) -> io::Result<std::net::TcpListener>;
    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>>;
}

impl ListenSocket for Off {
    type Stream = Off;

    async fn accept(&self) -> io::Result<(Off, SocketAddr)> {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    fn from_std(_: std::net::TcpListener, _: TcpListenOptions) -> io::Result<Off> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn into_std(self) -> io::Result<std::net::TcpListener> {
        match self {}
    }

    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        match *self {}
    }
}
