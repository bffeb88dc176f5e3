//! The accepting side as programs hold it.

use super::{TcpListenOptions, TcpStream};
use crate::current;
use crate::table::SocketRef;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

/// A listening TCP socket of a simulated host.
///
/// Dropping it frees the port; connections not accepted yet are reset.
///
/// # Panics
/// Every method panics outside the world the listener was made in.
#[derive(Debug)]
pub struct TcpListener {
    world: u64,
    socket: SocketRef,
    local: SocketAddr,
}

impl TcpListener {
    /// Listens at `addr`; port 0 draws a free one.
    ///
    /// # Errors
    /// `AddrInUse` for an address another listener has or where no port is free, `AddrNotAvailable`
    /// for one that is not the host's, `EMFILE` beyond the host's descriptors.
    pub fn bind(addr: SocketAddr, options: TcpListenOptions) -> io::Result<TcpListener> {
        current::with("bind", |state| {
            let socket = state.listen(addr, &options)?;
            Ok(TcpListener {
                world: state.id,
                socket,
                local: state.net.find(socket).map_or(addr, |found| found.local),
            })
        })
        .map_err(crate::errno::Errno::error)
    }

    /// Takes the oldest connection that waits. Any number of tasks may wait; each connection goes
    /// to one of them.
    ///
    /// # Errors
    /// `EMFILE` where the host has no descriptor left; the connection stays queued. A connection
    /// reset before it was taken is given out and fails when used.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        current::with_world(self.world, "a TCP listener", |state| {
            let accepted = state.accept(self.socket, cx.waker());
            accepted.map_ok(|end| {
                let stream = TcpStream::of(self.world, end, state);
                let peer = stream.peer();
                (stream, peer)
            })
        })
    }

    /// The address listened at, with the port that was drawn.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let socket = self.socket;
        current::if_world(self.world, |state| state.close_listener(socket));
    }
}
