//! Connected streams: what is written once for those of TCP and of Unix sockets.

use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::SendFlags;
use socket2::SockRef;

use super::options::{set_keepalive, set_linger};
use super::{Direction, Moved, Readiness, credentials};
use crate::net::{Credentials, Keepalive, Nodelay, ShortRead, StreamSocket, TcpSocket, UnixSocket};
use crate::stream::recv_into_spare;

/// Slices of one vectored write, the kernel's `IOV_MAX`.
const IOV_MAX: usize = 1024;

/// Without it a write to a connection that is gone would end the process.
pub(super) const NO_SIGNAL: i32 = SendFlags::NOSIGNAL.bits() as i32;

impl<S: Readiness> StreamSocket for S {
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        short: ShortRead,
    ) -> Poll<io::Result<usize>> {
        let of = buffer.len();
        self.poll_read_io(cx, short, |socket| {
            let bytes = (&mut &**socket).read(buffer)?;
            Ok(Moved { bytes, of })
        })
    }

    fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        short: ShortRead,
    ) -> Poll<io::Result<usize>> {
        self.poll_read_io(cx, short, |socket| recv_into_spare(socket, buffer, max))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let of = bytes.len();
        self.poll_transfer(cx, Direction::Write, |socket| {
            let bytes = socket.send_with_flags(bytes, NO_SIGNAL)?;
            Ok(Moved { bytes, of })
        })
    }

    fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = match slices {
            // The system has less to look at.
            [only] => return StreamSocket::poll_write(self, cx, only),
            slices => &slices[..slices.len().min(IOV_MAX)],
        };
        let of = slices.iter().map(|slice| slice.len()).sum();
        self.poll_transfer(cx, Direction::Write, |socket| {
            let bytes = socket.send_vectored_with_flags(slices, NO_SIGNAL)?;
            Ok(Moved { bytes, of })
        })
    }

    fn end_sending(&self) {
        // Where it fails the connection is dead, and its peer knows.
        let _ = SockRef::from(self).shutdown(Shutdown::Write);
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(self).shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn abort(self) {
        // Where it fails the peer sees an end instead of a reset; the stream closes either way.
        let _ = SockRef::from(&self).set_linger(Some(Duration::ZERO));
    }
}

impl<S: Readiness> TcpSocket for S {
    fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()> {
        SockRef::from(self).set_tcp_nodelay(nodelay == Nodelay::On)
    }

    fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        set_keepalive(&SockRef::from(self), keepalive)
    }

    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        set_linger(&SockRef::from(self), linger)
    }
}

impl<S: Readiness> UnixSocket for S {
    fn peer_credentials(&self) -> io::Result<Credentials> {
        credentials::of_peer(self.as_fd())
    }

    #[cfg(feature = "ancillary")]
    fn poll_send_with_fds(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = &slices[..slices.len().min(IOV_MAX)];
        self.poll_io(cx, Direction::Write, |socket| {
            super::ancillary::send(socket, slices, fds, None)
        })
    }

    #[cfg(feature = "ancillary")]
    fn poll_recv_with_fds(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> Poll<io::Result<crate::net::ReceivedFds>> {
        self.poll_io(cx, Direction::Read, |socket| {
            super::ancillary::receive(socket, buffer, max, max_fds)
        })
    }
}
