//! Simulated streams.

use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowline_sim::net;
use bytes::BytesMut;

use super::sockets::probes;
use crate::net::{Credentials, Keepalive, Nodelay, ShortRead, StreamSocket, TcpSocket, UnixSocket};

/// What a read reserves where the buffer has no room.
const READ_RESERVE: usize = 16 * 1024;

/// Reads with `read` into as much room as a real socket would.
fn read_into(
    buffer: &mut BytesMut,
    max: NonZeroUsize,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let room = match buffer.capacity() - buffer.len() {
        0 => READ_RESERVE,
        room => room.min(READ_RESERVE),
    };
    let mut bytes = [0; READ_RESERVE];
    let bytes = &mut bytes[..room.min(max.get())];
    let received = ready!(read(bytes))?;
    buffer.extend_from_slice(&bytes[..received]);
    Poll::Ready(Ok(received))
}

macro_rules! stream_socket {
    ($($socket:ty, $abort:expr;)*) => {$(
        impl StreamSocket for $socket {
            fn poll_read(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
                _: ShortRead,
            ) -> Poll<io::Result<usize>> {
                <$socket>::poll_read(self, cx, buffer)
            }

            fn poll_read_into(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
                _: ShortRead,
            ) -> Poll<io::Result<usize>> {
                read_into(buffer, max, |bytes| <$socket>::poll_read(self, cx, bytes))
            }

            fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                <$socket>::poll_write(self, cx, bytes)
            }

            fn poll_write_vectored(
                &self,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                <$socket>::poll_write_vectored(self, cx, slices)
            }

            fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                <$socket>::poll_shutdown(self, cx)
            }

            fn end_sending(&self) {
                <$socket>::end_sending(self);
            }

            fn abort(self) {
                $abort(self);
            }
        }
    )*};
}

stream_socket! {
    net::TcpStream, net::TcpStream::abort;
    // There is nothing to reset: what was written is at the peer.
    net::UnixStream, drop;
}

impl TcpSocket for net::TcpStream {
    fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()> {
        net::TcpStream::set_nodelay(self, nodelay == Nodelay::On)
    }

    fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        net::TcpStream::set_keepalive(self, keepalive.map(probes))
    }

    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        net::TcpStream::set_linger(self, linger)
    }
}

impl UnixSocket for net::UnixStream {
    fn peer_credentials(&self) -> io::Result<Credentials> {
        let peer = net::UnixStream::peer_credentials(self)?;
        Ok(Credentials::new(Some(peer.pid), peer.uid, peer.gid))
    }
}
