//! UDP sockets as the tests of datagrams use them.

use bowline_sim::host;
use bowline_sim::net::{Datagram, UdpOptions, UdpSocket};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(crate) fn bind(text: &str) -> io::Result<UdpSocket> {
    UdpSocket::bind(at(text), UdpOptions::default())
}

pub(crate) async fn send(socket: &UdpSocket, payload: &[u8]) -> io::Result<()> {
    poll_fn(|cx| socket.poll_send(cx, payload)).await
}

pub(crate) async fn send_to(socket: &UdpSocket, payload: &[u8], to: SocketAddr) -> io::Result<()> {
    poll_fn(|cx| socket.poll_send_to(cx, payload, to)).await
}

pub(crate) async fn recv(socket: &UdpSocket) -> io::Result<Datagram<SocketAddr>> {
    poll_fn(|cx| socket.poll_recv(cx, 70_000)).await
}

/// Says numbers to port 7 of a host, each a datagram of one byte.
pub(crate) struct Speaker {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Speaker {
    pub(crate) async fn to(host: &str) -> io::Result<Speaker> {
        let to = host::resolve(host, host::Family::V4).await?[0];
        Ok(Speaker {
            socket: bind("0.0.0.0:0")?,
            to: (to, 7).into(),
        })
    }

    pub(crate) async fn say(&self, number: u64) -> io::Result<()> {
        send_to(&self.socket, &[number as u8], self.to).await
    }
}

/// The next number that is said to a socket of port 7.
pub(crate) async fn hear(socket: &UdpSocket) -> io::Result<u64> {
    Ok(u64::from(recv(socket).await?.payload[0]))
}

pub(crate) async fn settle() {
    host::Sleep::new(host::now() + 1_000_000_000).await;
}

pub(crate) fn io_code(code: i32) -> Option<i32> {
    cfg!(target_os = "linux").then_some(code)
}
