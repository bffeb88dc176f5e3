//! Addresses of the kernel and ours.

use std::io::{self, ErrorKind};
use std::path::Path;

use socket2::SockAddr;

use crate::stream::{Address, UnixAddress};

/// The name of a socket, as the kernel gives it.
pub(super) fn name(address: &SockAddr) -> io::Result<Address> {
    if let Some(inet) = address.as_socket() {
        return Ok(Address::Inet(inet));
    }
    if address.is_unix() {
        return Ok(Address::Unix(unix_name(address)));
    }
    let why = "an address that is neither of IP nor of a Unix socket";
    Err(io::Error::new(ErrorKind::InvalidInput, why))
}

/// The peer of a connection just accepted, or the sender of a datagram.
#[cfg(any(target_os = "linux", target_os = "android", feature = "ancillary"))]
pub(super) fn peer(address: Option<rustix::net::SocketAddrAny>) -> Address {
    use rustix::net::SocketAddrUnix;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let Some(address) = address else {
        return Address::Unix(UnixAddress::UNNAMED);
    };
    if let Ok(inet) = std::net::SocketAddr::try_from(address.clone()) {
        return Address::Inet(inet);
    }
    let unix = SocketAddrUnix::try_from(address).ok();
    let path = unix.as_ref().and_then(SocketAddrUnix::path_bytes);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let name = unix.as_ref().and_then(SocketAddrUnix::abstract_name);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let name: Option<&[u8]> = None;
    // A peer without a name may come as one with an empty name.
    let name = name.filter(|name| !name.is_empty());
    Address::Unix(match (path, name) {
        (Some(path), _) => UnixAddress::of_system_path(Path::new(OsStr::from_bytes(path))),
        (None, Some(name)) => UnixAddress::of_system_name(name),
        (None, None) => UnixAddress::UNNAMED,
    })
}

/// Who sent a datagram; none where a Unix socket has no name.
pub(super) fn sender(address: &SockAddr) -> Option<Address> {
    match name(address) {
        Ok(Address::Unix(unnamed)) if unnamed.is_unnamed() => None,
        named => named.ok(),
    }
}

fn unix_name(address: &SockAddr) -> UnixAddress {
    if let Some(path) = address.as_pathname() {
        return UnixAddress::of_system_path(path);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = address.as_abstract_namespace() {
        return UnixAddress::of_system_name(name);
    }
    UnixAddress::UNNAMED
}

/// The kernel's form of the address of a Unix socket.
pub(super) fn unix(address: &UnixAddress) -> io::Result<SockAddr> {
    if let Some(path) = address.as_path() {
        return SockAddr::unix(path);
    }
    let Some(name) = address.as_abstract() else {
        return SockAddr::unix(Path::new(""));
    };
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let bytes = [&[0], name].concat();
        SockAddr::unix(Path::new(OsStr::from_bytes(&bytes)))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = name;
        let why = "abstract names of Unix sockets are Linux's";
        Err(io::Error::new(ErrorKind::Unsupported, why))
    }
}

/// As [`target`], for descriptors to go along.
#[cfg(feature = "ancillary")]
pub(super) fn unix_target(address: &Address) -> io::Result<rustix::net::SocketAddrUnix> {
    use rustix::net::SocketAddrUnix;
    let unix = address.as_unix();
    if let Some(path) = unix.and_then(UnixAddress::as_path) {
        return Ok(SocketAddrUnix::new(path)?);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = unix.and_then(UnixAddress::as_abstract) {
        return Ok(SocketAddrUnix::new_abstract_name(name)?);
    }
    let why = format!("{address} is no address that a Unix socket sends to");
    Err(io::Error::new(ErrorKind::InvalidInput, why))
}

/// The kernel's form of an address to send to.
pub(super) fn target(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Inet(inet) => Ok((*inet).into()),
        Address::Unix(named) if !named.is_unnamed() => unix(named),
        other => {
            let why = format!("{other} is no address to send to");
            Err(io::Error::new(ErrorKind::InvalidInput, why))
        }
    }
}
