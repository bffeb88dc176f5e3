//! Pairs of connected sockets.

use std::net::SocketAddr;

#[cfg(unix)]
use bowline_backend::net::UnixDatagram;
use bowline_backend::net::{UdpOptions, UdpSocket};
use bowline_transport::{DatagramRecv, DatagramSend, MemoryDatagram, StapledDatagram};

pub(crate) fn memory() -> (MemoryDatagram, MemoryDatagram) {
    MemoryDatagram::pair()
}

pub(crate) type Stapled<S> = StapledDatagram<S, S>;

/// Each direction is a pair of its own.
fn staple<S: DatagramRecv + DatagramSend>(one: (S, S), other: (S, S)) -> (Stapled<S>, Stapled<S>) {
    (
        StapledDatagram::new(one.0, other.0),
        StapledDatagram::new(other.1, one.1),
    )
}

pub(crate) fn stapled() -> (Stapled<MemoryDatagram>, Stapled<MemoryDatagram>) {
    staple(memory(), memory())
}

pub(crate) fn stapled_udp() -> (Stapled<UdpSocket>, Stapled<UdpSocket>) {
    staple(udp(), udp())
}

#[cfg(unix)]
pub(crate) fn stapled_unix() -> (Stapled<UnixDatagram>, Stapled<UnixDatagram>) {
    staple(unix(), unix())
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A port that nobody has now.
pub(crate) fn free() -> SocketAddr {
    UdpSocket::bind(loopback()).unwrap().local_addr().unwrap()
}

pub(crate) fn udp() -> (UdpSocket, UdpSocket) {
    // Somebody else may take the second port before we do, but not each time.
    for _ in 0..20 {
        let here = UdpSocket::connect(free()).unwrap();
        let local = UdpOptions::new().local(here.peer_addr().unwrap());
        if let Ok(there) = UdpSocket::connect_with(here.local_addr().unwrap(), local) {
            return (here, there);
        }
    }
    panic!("no port stayed free");
}

#[cfg(unix)]
pub(crate) fn unix() -> (UnixDatagram, UnixDatagram) {
    UnixDatagram::pair().unwrap()
}
