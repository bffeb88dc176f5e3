//! The sockets of a backend that is off: none.

use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::{
    DatagramSocket, ListenSocket, OwnedSocket, ShortRead, Socket, SocketKind, SocketTypes,
    StreamSocket, TcpSocket, UnixDatagramSocket, UnixSocket,
};
use crate::net::datagram::Received;
use crate::net::options::{Keepalive, Nodelay};
use crate::net::unix_options::Credentials;
use crate::runtime::Off;
use crate::stream::Address;

impl SocketTypes for Off {
    type TcpStream = Off;
    type TcpListener = Off;
    type UdpSocket = Off;
    type UnixStream = Off;
    type UnixListener = Off;
    type UnixDatagram = Off;
}

impl Socket for Off {
    fn local_addr(&self) -> io::Result<Address> {
        match *self {}
    }

    fn peer_addr(&self) -> io::Result<Address> {
        match *self {}
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        match *self {}
    }

    fn adopt(_: OwnedSocket, _: SocketKind) -> io::Result<Off> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn into_owned(self) -> io::Result<OwnedSocket> {
        match self {}
    }

    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        match *self {}
    }

    fn downgrade(&self) -> io::Result<Weak<OwnedSocket>> {
        match *self {}
    }
}

impl StreamSocket for Off {
    fn poll_read(
        &self,
        _: &mut Context<'_>,
        _: &mut [u8],
        _: ShortRead,
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_read_into(
        &self,
        _: &mut Context<'_>,
        _: &mut BytesMut,
        _: NonZeroUsize,
        _: ShortRead,
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write_vectored(
        &self,
        _: &mut Context<'_>,
        _: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn end_sending(&self) {
        match *self {}
    }

    fn abort(self) {
        match self {}
    }
}

impl TcpSocket for Off {
    fn set_nodelay(&self, _: Nodelay) -> io::Result<()> {
        match *self {}
    }

    fn set_keepalive(&self, _: Option<Keepalive>) -> io::Result<()> {
        match *self {}
    }

    fn set_linger(&self, _: Option<Duration>) -> io::Result<()> {
        match *self {}
    }
}

impl UnixSocket for Off {
    fn peer_credentials(&self) -> io::Result<Credentials> {
        match *self {}
    }
}

impl ListenSocket for Off {
    type Stream = Off;

    async fn accept(&self) -> io::Result<(Off, Address)> {
        match *self {}
    }

    fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(Off, Address)>> {
        match *self {}
    }
}

impl UnixDatagramSocket for Off {}

impl DatagramSocket for Off {
    async fn send(&self, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    async fn send_to(&self, _: &[u8], _: &Address) -> io::Result<()> {
        match *self {}
    }

    async fn recv_from(&self, _: &mut BytesMut, _: NonZeroUsize) -> io::Result<Received> {
        match *self {}
    }

    fn poll_send(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_send_to(&self, _: &mut Context<'_>, _: &[u8], _: &Address) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_recv_from(
        &self,
        _: &mut Context<'_>,
        _: &mut BytesMut,
        _: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        match *self {}
    }
}
