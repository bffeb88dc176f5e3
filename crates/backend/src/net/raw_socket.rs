use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::options::{Keepalive, Nodelay};
use super::socket::OwnedSocket;
use crate::stream::Address;

/// The options of a socket, to be read and changed by whoever does not own it; made by the
/// `raw_socket` of every socket here.
///
/// It neither keeps the socket open nor learns of another: once the socket was closed, or given back
/// to the standard library, everything asked of it fails with [`SocketClosed`]. The socket of a call
/// that is under way on another thread meanwhile closes when that returns. Clones are of the same
/// socket, for any thread, whatever runs there. Nothing here waits.
///
/// # Errors
///
/// What is asked of it fails with
///
/// - [`NotConnected`](ErrorKind::NotConnected) and [`SocketClosed`] as its source once the socket was
///   closed;
/// - [`Unsupported`](ErrorKind::Unsupported) where the option is none of this kind of socket, or of
///   this system;
/// - [`InvalidInput`](ErrorKind::InvalidInput) where the value is none of the option;
/// - what else the system reports.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")]
/// # fn main() -> std::io::Result<()> {
/// use bowline_backend::Backend;
/// use bowline_backend::net::{Nodelay, SocketClosed, TcpListener, TcpStream};
///
/// Backend::Smol.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let stream = TcpStream::connect(listener.local_addr()?).await?;
///     let raw = stream.raw_socket()?;
///     raw.set_nodelay(Nodelay::Off)?;
///     raw.set_tos(0x10)?; // low delay
///     assert_eq!(raw.nodelay()?, Nodelay::Off);
///
///     drop(stream);
///     let closed = raw.nodelay().unwrap_err();
///     assert!(closed.get_ref().is_some_and(|source| source.is::<SocketClosed>()));
///     Ok(())
/// })
/// # }
/// # #[cfg(not(feature = "smol"))]
/// # fn main() {}
/// ```
#[doc(alias = "SocketProxy")]
#[derive(Clone)]
pub struct RawSocket(Weak<OwnedSocket>);

/// Nothing can be asked of a [`RawSocket`] whose socket was closed: the source of such an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket has been closed")]
pub struct SocketClosed;

/// What the function of this name in `socket::raw` says of the socket, while it is held open. Without
/// a backend over the kernel there is no socket.
macro_rules! ask {
    ($raw:expr, $function:ident($($argument:expr),*)) => {
        $raw.held().and_then(|socket| {
            #[cfg(feature = "real")]
            return crate::socket::raw::$function(&socket $(, $argument)*);
            #[cfg(not(feature = "real"))]
            {
                let _ = (socket, $($argument,)*);
                Err(ErrorKind::Unsupported.into())
            }
        })
    };
}

impl RawSocket {
    pub(super) fn new(socket: Weak<OwnedSocket>) -> RawSocket {
        RawSocket(socket)
    }

    /// Whether the socket was still open just now.
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Its own address.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn local_addr(&self) -> io::Result<Address> {
        ask!(self, local_addr())
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](ErrorKind::NotConnected), without a source, where there is none; else as
    /// [said above](RawSocket#errors).
    pub fn peer_addr(&self) -> io::Result<Address> {
        ask!(self, peer_addr())
    }

    /// Whether small writes to a TCP stream leave at once.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn nodelay(&self) -> io::Result<Nodelay> {
        ask!(self, nodelay())
    }

    /// Sets whether small writes to a TCP stream leave at once.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()> {
        ask!(self, set_nodelay(nodelay))
    }

    /// The probes of an idle TCP connection, `None` while there are none.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        ask!(self, keepalive())
    }

    /// Probes a TCP connection while it is idle, or stops that.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        ask!(self, set_keepalive(keepalive))
    }

    /// How long the system goes on sending after a close, in whole seconds; zero is a reset, `None`
    /// its default.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        ask!(self, linger())
    }

    /// Sets how long the system goes on sending after a close, rounded up to whole seconds; zero
    /// resets, `None` is its default.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        ask!(self, set_linger(linger))
    }

    /// How long what was sent over TCP may stay unacknowledged, in milliseconds; `None` is the
    /// system's default. On Linux.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        ask!(self, user_timeout())
    }

    /// Sets how long what was sent over TCP may stay unacknowledged, rounded up to milliseconds;
    /// `None`, and zero, is the system's default. On Linux.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        ask!(self, set_user_timeout(timeout))
    }

    /// Bytes of the send buffer, as the system counts them: Linux says twice what it was told.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn send_buffer(&self) -> io::Result<usize> {
        ask!(self, send_buffer())
    }

    /// Sets the bytes of the send buffer. The system rounds, and has a least and a most.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        ask!(self, set_send_buffer(bytes))
    }

    /// Bytes of the receive buffer, as the system counts them: Linux says twice what it was told.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn recv_buffer(&self) -> io::Result<usize> {
        ask!(self, recv_buffer())
    }

    /// Sets the bytes of the receive buffer. The system rounds, and has a least and a most.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn set_recv_buffer(&self, bytes: usize) -> io::Result<()> {
        ask!(self, set_recv_buffer(bytes))
    }

    /// How many routers a packet passes at most: the time to live of IPv4, the hop limit of IPv6.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn ttl(&self) -> io::Result<u8> {
        ask!(self, ttl())
    }

    /// Sets how many routers a packet passes at most, 1 to 255: of both families where the socket is
    /// of both.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for zero; else as [said above](RawSocket#errors).
    pub fn set_ttl(&self, hops: u8) -> io::Result<()> {
        ask!(self, set_ttl(hops))
    }

    /// What routers are told of the packets: the type of service of IPv4, the traffic class of IPv6.
    /// The upper six bits are the code point of RFC 2474.
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn tos(&self) -> io::Result<u8> {
        ask!(self, tos())
    }

    /// Sets what routers are told of the packets: of both families where the socket is of both. The
    /// lower two bits of a TCP stream are the system's (RFC 3168).
    ///
    /// # Errors
    ///
    /// As [said above](RawSocket#errors).
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        ask!(self, set_tos(tos))
    }

    /// Lends the descriptor to `act`, for options that are not above. The socket is held open
    /// meanwhile. To read from it or to write to it is to take from its owner, or to come between.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](ErrorKind::NotConnected) with [`SocketClosed`] as its source once the socket
    /// was closed; else those of `act`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "smol")]
    /// # fn main() -> std::io::Result<()> {
    /// use bowline_backend::Backend;
    /// use bowline_backend::net::UdpSocket;
    /// use socket2::SockRef;
    ///
    /// Backend::Smol.block_on(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    ///     let raw = socket.raw_socket()?;
    ///     raw.with_fd(|fd| SockRef::from(&fd).set_multicast_ttl_v4(4))?;
    ///     assert_eq!(raw.with_fd(|fd| SockRef::from(&fd).multicast_ttl_v4())?, 4);
    ///     Ok(())
    /// })
    /// # }
    /// # #[cfg(not(feature = "smol"))]
    /// # fn main() {}
    /// ```
    #[cfg(unix)]
    pub fn with_fd<T>(
        &self,
        act: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        use std::os::fd::AsFd;
        act(self.held()?.as_fd())
    }

    /// The descriptor, open for as long as this is held.
    fn held(&self) -> io::Result<Arc<OwnedSocket>> {
        let closed = || io::Error::new(ErrorKind::NotConnected, SocketClosed);
        self.0.upgrade().ok_or_else(closed)
    }
}

impl fmt::Debug for RawSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSocket")
            .field("open", &self.is_open())
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}
