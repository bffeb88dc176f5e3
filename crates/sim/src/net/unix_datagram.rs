//! Unix datagram sockets as programs hold them.

use super::{Datagram, UnixAddress, UnixOptions};
use crate::current;
use crate::errno::Errno;
use crate::state::State;
use crate::table::SocketRef;
use std::io;
use std::task::{Context, Poll};

/// A Unix datagram socket of a simulated host.
///
/// Datagrams arrive in the order sent, and none is lost between two open sockets: a sender waits
/// while its send buffer is full, or the receiver has more than 10 and is not connected to it. Any number of tasks may
/// send and receive at once; a datagram goes to one of them.
///
/// # Panics
/// Every method panics outside the world the socket was made in.
#[derive(Debug)]
pub struct UnixDatagram {
    world: u64,
    socket: SocketRef,
    // Apart, so that a backend can keep simulated and real sockets in one small enum.
    addresses: Box<(UnixAddress, Option<UnixAddress>)>,
    unlink_at_close: bool,
}

impl UnixDatagram {
    /// Opens a socket named `at`.
    ///
    /// # Errors
    /// `AddrInUse` for a name that is taken, `InvalidInput` for one that cannot be, `EMFILE` beyond
    /// the host's descriptors.
    pub fn bind(at: UnixAddress, mut options: UnixOptions) -> io::Result<UnixDatagram> {
        options.local = Some(at);
        UnixDatagram::open(&options, None)
    }

    /// Opens a socket without a name, for sending.
    ///
    /// # Errors
    /// `EMFILE` beyond the host's descriptors.
    pub fn unbound(mut options: UnixOptions) -> io::Result<UnixDatagram> {
        options.local = None;
        UnixDatagram::open(&options, None)
    }

    /// Opens a socket, named `options.local` if that is given, that sends to `to` and hears it
    /// alone.
    ///
    /// # Errors
    /// As [`bind`](Self::bind); `NotFound` for a path nobody bound, `ConnectionRefused` where nobody
    /// is any more, `EPROTOTYPE` for a stream socket, `PermissionDenied` by the mode of the path or
    /// where the socket at `to` hears another one alone.
    pub fn connect(to: UnixAddress, options: UnixOptions) -> io::Result<UnixDatagram> {
        UnixDatagram::open(&options, Some(to))
    }

    /// Two sockets without names, connected to each other.
    ///
    /// # Errors
    /// `EMFILE` beyond the host's descriptors.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        current::with("pair", |state| {
            let (one, other) = state.pair_unix_datagrams()?;
            let world = state.id;
            let end = |socket| UnixDatagram {
                world,
                socket,
                addresses: Box::new((UnixAddress::Unnamed, Some(UnixAddress::Unnamed))),
                unlink_at_close: false,
            };
            Ok((end(one), end(other)))
        })
        .map_err(Errno::error)
    }

    fn open(options: &UnixOptions, to: Option<UnixAddress>) -> io::Result<UnixDatagram> {
        current::with("bind", |state| {
            let socket = state.open_unix_datagram(options)?;
            if let Some(to) = &to
                && let Err(error) = state.connect_unix_datagram(socket, to)
            {
                state.abandon_unix(socket);
                return Err(error);
            }
            let local = state.unix.peek(socket).map(|found| found.local.clone());
            Ok(UnixDatagram {
                world: state.id,
                socket,
                addresses: Box::new((local.unwrap_or(UnixAddress::Unnamed), to)),
                unlink_at_close: options.unlink_at_close,
            })
        })
        .map_err(Errno::error)
    }

    fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        current::with_world(self.world, "a Unix datagram socket", act)
    }

    /// Sends `payload` to the peer; waits while it has no room.
    ///
    /// # Errors
    /// `NotConnected` on a socket without a peer, `ConnectionRefused` once when the peer is gone,
    /// `EMSGSIZE` beyond the send buffer (twice what was asked for) less 32 bytes.
    pub fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<()>> {
        self.act(|state| state.send_unix(self.socket, None, payload, cx.waker()))
            .map_err(Errno::error)
    }

    /// Sends `payload` to the socket at `to`; waits while it has no room.
    ///
    /// # Errors
    /// As [`connect`](Self::connect) for the address, `EMSGSIZE` beyond the send buffer less 32
    /// bytes.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: &UnixAddress,
    ) -> Poll<io::Result<()>> {
        self.act(|state| state.send_unix(self.socket, Some(to), payload, cx.waker()))
            .map_err(Errno::error)
    }

    /// Receives a datagram, at most `max` bytes of it; the rest is discarded, and that is told.
    ///
    /// # Errors
    /// None while the socket is open.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<io::Result<Datagram<UnixAddress>>> {
        self.act(|state| state.receive_unix(self.socket, max, cx.waker()))
            .map_ok(|received| Datagram {
                payload: received.payload,
                from: received.from,
                truncated: received.truncated,
            })
            .map_err(Errno::error)
    }

    /// Our name.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn local_addr(&self) -> io::Result<UnixAddress> {
        Ok(self.addresses.0.clone())
    }

    /// The peer's name.
    ///
    /// # Errors
    /// `NotConnected` on a socket without a peer, or whose peer a send found to be gone.
    pub fn peer_addr(&self) -> io::Result<UnixAddress> {
        let mut connected = true;
        current::if_world(self.world, |state| {
            connected = state.unix_datagram_has_peer(self.socket);
        });
        let peer = self.addresses.1.clone().filter(|_| connected);
        peer.ok_or_else(|| Errno::NotConnected.error())
    }
}

impl Drop for UnixDatagram {
    fn drop(&mut self) {
        let (socket, unlink) = (self.socket, self.unlink_at_close);
        current::if_world(self.world, |state| match unlink {
            true => state.abandon_unix(socket),
            false => state.close_unix(socket),
        });
    }
}
