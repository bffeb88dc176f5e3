//! What a [`RawSocket`](crate::net::RawSocket) asks the kernel.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockRef};

use super::{address, options};
use crate::net::{Keepalive, Nodelay};
use crate::stream::Address;

pub(crate) fn local_addr(socket: &OwnedFd) -> io::Result<Address> {
    address::name(&SockRef::from(socket).local_addr()?)
}

pub(crate) fn peer_addr(socket: &OwnedFd) -> io::Result<Address> {
    address::name(&SockRef::from(socket).peer_addr()?)
}

pub(crate) fn nodelay(socket: &OwnedFd) -> io::Result<Nodelay> {
    let on = SockRef::from(socket).tcp_nodelay().map_err(explain)?;
    Ok(if on { Nodelay::On } else { Nodelay::Off })
}

pub(crate) fn set_nodelay(socket: &OwnedFd, nodelay: Nodelay) -> io::Result<()> {
    let set = SockRef::from(socket).set_tcp_nodelay(nodelay == Nodelay::On);
    set.map_err(explain)
}

pub(crate) fn keepalive(socket: &OwnedFd) -> io::Result<Option<Keepalive>> {
    let socket = SockRef::from(socket);
    let probes = || {
        Ok(Keepalive::new(
            socket.tcp_keepalive_time()?,
            socket.tcp_keepalive_interval()?,
            socket.tcp_keepalive_retries()?,
        ))
    };
    // Asked first, for what is no stream of TCP may say that it is probed.
    let probes = probes().map_err(explain)?;
    Ok(socket.keepalive()?.then_some(probes))
}

pub(crate) fn set_keepalive(socket: &OwnedFd, value: Option<Keepalive>) -> io::Result<()> {
    keepalive(socket)?; // it has probes at all
    options::set_keepalive(&SockRef::from(socket), value).map_err(explain)
}

pub(crate) fn linger(socket: &OwnedFd) -> io::Result<Option<Duration>> {
    SockRef::from(socket).linger().map_err(explain)
}

pub(crate) fn set_linger(socket: &OwnedFd, linger: Option<Duration>) -> io::Result<()> {
    options::set_linger(&SockRef::from(socket), linger).map_err(explain)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn user_timeout(socket: &OwnedFd) -> io::Result<Option<Duration>> {
    SockRef::from(socket).tcp_user_timeout().map_err(explain)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn set_user_timeout(socket: &OwnedFd, timeout: Option<Duration>) -> io::Result<()> {
    options::set_user_timeout(&SockRef::from(socket), timeout).map_err(explain)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn user_timeout(_: &OwnedFd) -> io::Result<Option<Duration>> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn set_user_timeout(_: &OwnedFd, _: Option<Duration>) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

pub(crate) fn send_buffer(socket: &OwnedFd) -> io::Result<usize> {
    SockRef::from(socket).send_buffer_size()
}

pub(crate) fn set_send_buffer(socket: &OwnedFd, bytes: usize) -> io::Result<()> {
    options::set_buffers(&SockRef::from(socket), Some(bytes), None)
}

pub(crate) fn recv_buffer(socket: &OwnedFd) -> io::Result<usize> {
    SockRef::from(socket).recv_buffer_size()
}

pub(crate) fn set_recv_buffer(socket: &OwnedFd, bytes: usize) -> io::Result<()> {
    options::set_buffers(&SockRef::from(socket), None, Some(bytes))
}

pub(crate) fn ttl(socket: &OwnedFd) -> io::Result<u8> {
    let socket = SockRef::from(socket);
    let hops = match family(&socket)? {
        Family::V4 => socket.ttl_v4()?,
        Family::V6 | Family::Both => socket.unicast_hops_v6()?,
    };
    in_a_byte(hops)
}

pub(crate) fn set_ttl(socket: &OwnedFd, hops: u8) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let family = family(&socket)?;
    // Zero never leaves the host: IPv4 refuses it, and so does this of IPv6.
    if hops == 0 {
        let why = "a packet that passes no router is not sent: 1 to 255";
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    if family != Family::V4 {
        socket.set_unicast_hops_v6(hops.into())?;
    }
    if family != Family::V6 {
        socket.set_ttl_v4(hops.into())?;
    }
    Ok(())
}

pub(crate) fn tos(socket: &OwnedFd) -> io::Result<u8> {
    let socket = SockRef::from(socket);
    let tos = match family(&socket)? {
        Family::V4 => socket.tos_v4()?,
        Family::V6 | Family::Both => socket.tclass_v6()?,
    };
    in_a_byte(tos)
}

pub(crate) fn set_tos(socket: &OwnedFd, tos: u8) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let family = family(&socket)?;
    if family != Family::V4 {
        socket.set_tclass_v6(tos.into())?;
    }
    if family != Family::V6 {
        socket.set_tos_v4(tos.into())?;
    }
    Ok(())
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    /// IPv6 that hears IPv4 too.
    Both,
}

/// Of what family the packets of the socket are; those of Unix sockets are of none.
fn family(socket: &SockRef<'_>) -> io::Result<Family> {
    match socket.local_addr()?.domain() {
        Domain::IPV4 => Ok(Family::V4),
        Domain::IPV6 if socket.only_v6()? => Ok(Family::V6),
        Domain::IPV6 => Ok(Family::Both),
        _ => Err(io::Error::new(ErrorKind::Unsupported, NOT_OF_ITS_KIND)),
    }
}

fn in_a_byte(value: u32) -> io::Result<u8> {
    u8::try_from(value).map_err(|_| ErrorKind::InvalidData.into())
}

const NOT_OF_ITS_KIND: &str = "the option is none of this kind of socket";

/// Protocols differ in how they say that an option is none of theirs; here all say it one way.
fn explain(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOPROTOOPT | Errno::OPNOTSUPP) => {
            io::Error::new(ErrorKind::Unsupported, NOT_OF_ITS_KIND)
        }
        _ => error,
    }
}
