//! Simulated sockets of datagrams.

use std::fmt::Display;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};

use bowline_sim::net;
use bytes::BytesMut;

use super::sockets::{address, simulated};
use crate::net::{DatagramSocket, Received, UnixDatagramSocket};
use crate::stream::Address;

macro_rules! datagram_socket {
    ($($socket:ty, $send_to:expr, $sender:expr;)*) => {$(
        impl DatagramSocket for $socket {
            async fn send(&self, payload: &[u8]) -> io::Result<()> {
                poll_fn(|cx| <$socket>::poll_send(self, cx, payload)).await
            }

            async fn send_to(&self, payload: &[u8], to: &Address) -> io::Result<()> {
                poll_fn(|cx| $send_to(self, cx, payload, to)).await
            }

            async fn recv_from(
                &self,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> io::Result<Received> {
                poll_fn(|cx| self.poll_recv_from(cx, buffer, max)).await
            }

            fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<()>> {
                <$socket>::poll_send(self, cx, payload)
            }

            fn poll_send_to(
                &self,
                cx: &mut Context<'_>,
                payload: &[u8],
                to: &Address,
            ) -> Poll<io::Result<()>> {
                $send_to(self, cx, payload, to)
            }

            fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> Poll<io::Result<Received>> {
                let datagram = ready!(self.poll_recv(cx, max.get()))?;
                buffer.extend_from_slice(&datagram.payload);
                Poll::Ready(Ok(Received {
                    len: datagram.payload.len(),
                    from: $sender(datagram.from),
                    truncated: datagram.truncated,
                }))
            }
        }
    )*};
}

datagram_socket! {
    net::UdpSocket, send_udp, inet_sender;
    net::UnixDatagram, send_unix, unix_sender;
}

impl UnixDatagramSocket for net::UnixDatagram {}

/// An address of another family is refused one way, whatever the kernel says.
fn send_udp(
    socket: &net::UdpSocket,
    cx: &mut Context<'_>,
    payload: &[u8],
    to: &Address,
) -> Poll<io::Result<()>> {
    let local = socket.local_addr()?;
    let to = match to {
        Address::Inet(to) if to.is_ipv4() || local.is_ipv6() => *to,
        other => return Poll::Ready(Err(other_family(other))),
    };
    let crosses = to.is_ipv4() && local.is_ipv6();
    let sent = net::UdpSocket::poll_send_to(socket, cx, payload, to);
    sent.map_err(|error| match error.kind() {
        ErrorKind::NetworkUnreachable if crosses => other_family(to),
        _ => error,
    })
}

fn send_unix(
    socket: &net::UnixDatagram,
    cx: &mut Context<'_>,
    payload: &[u8],
    to: &Address,
) -> Poll<io::Result<()>> {
    match to {
        Address::Unix(to) if !to.is_unnamed() => {
            net::UnixDatagram::poll_send_to(socket, cx, payload, &simulated(to))
        }
        other => Poll::Ready(Err(other_family(other))),
    }
}

fn other_family(to: impl Display) -> io::Error {
    let why = format!("{to} is no address that this socket sends to");
    io::Error::new(ErrorKind::InvalidInput, why)
}

fn inet_sender(from: SocketAddr) -> Option<Address> {
    Some(Address::Inet(from))
}

fn unix_sender(from: net::UnixAddress) -> Option<Address> {
    let from = address(from);
    (!from.is_unnamed()).then_some(Address::Unix(from))
}
