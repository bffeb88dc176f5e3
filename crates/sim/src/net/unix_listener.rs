//! The accepting side of Unix streams as programs hold it.

use super::{UnixAddress, UnixListenOptions, UnixStream};
use crate::current;
use crate::errno::Errno;
use crate::table::SocketRef;
use std::io;
use std::task::{Context, Poll};

/// A listening Unix socket of a simulated host.
///
/// Dropping it frees an abstract name and leaves a path, unless it was told not to, which then
/// refuses connections; those not accepted yet are reset.
///
/// # Panics
/// Every method panics outside the world the listener was made in.
#[derive(Debug)]
pub struct UnixListener {
    world: u64,
    socket: SocketRef,
    local: Box<UnixAddress>,
    unlink_at_close: bool,
}

impl UnixListener {
    /// Listens at `at`.
    ///
    /// # Errors
    /// `AddrInUse` for a name that is taken, be it by a path that nobody listens at any more,
    /// `InvalidInput` for one that cannot be, `EMFILE` beyond the host's descriptors.
    pub fn bind(at: &UnixAddress, options: UnixListenOptions) -> io::Result<UnixListener> {
        current::with("bind", |state| {
            let socket = state.listen_unix(at, &options)?;
            let local = state.unix.peek(socket).map(|found| found.local.clone());
            Ok(UnixListener {
                world: state.id,
                socket,
                local: Box::new(local.unwrap_or(UnixAddress::Unnamed)),
                unlink_at_close: options.unlink_at_close,
            })
        })
        .map_err(Errno::error)
    }

    /// Takes the oldest connection that waits. Any number of tasks may wait; each connection goes
    /// to one of them.
    ///
    /// # Errors
    /// `EMFILE` where the host has no descriptor left; the connection stays queued.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, UnixAddress)>> {
        current::with_world(self.world, "a Unix listener", |state| {
            let accepted = state.accept_unix(self.socket, cx.waker());
            accepted.map_ok(|end| {
                let stream = UnixStream::of(end, state);
                let peer = stream.peer_addr();
                (stream, peer.unwrap_or(UnixAddress::Unnamed))
            })
        })
        .map_err(Errno::error)
    }

    /// The name listened at.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn local_addr(&self) -> io::Result<UnixAddress> {
        Ok((*self.local).clone())
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        let (socket, unlink) = (self.socket, self.unlink_at_close);
        current::if_world(self.world, |state| match unlink {
            true => state.abandon_unix(socket),
            false => state.close_unix(socket),
        });
    }
}
