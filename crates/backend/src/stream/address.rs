use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where one end of a stream is. The order means nothing but is always the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An address and port of IPv4 or IPv6.
    Inet(SocketAddr),
    /// An address of a Unix socket.
    Unix(UnixAddress),
    /// The name of an end in memory.
    Named(Arc<str>),
}

impl Address {
    /// The IP address and port, where there is one.
    pub fn as_inet(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(address) => Some(*address),
            _ => None,
        }
    }

    /// The address of a Unix socket, where it is one.
    pub fn as_unix(&self) -> Option<&UnixAddress> {
        match self {
            Address::Unix(address) => Some(address),
            _ => None,
        }
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Address {
        Address::Unix(address)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Inet(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Unix(address) => address.fmt(f),
            Address::Named(name) => f.write_str(name),
        }
    }
}

/// The address of a Unix socket: none, a path, or an abstract name of Linux.
///
/// Shown as `<unnamed>`, `/path` and `@name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixAddress(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Unnamed,
    Path(PathBuf),
    Abstract(Vec<u8>),
}

/// Bytes of `sun_path` on Linux; a path needs one of them for its NUL.
const SUN_PATH: usize = 108;

impl UnixAddress {
    /// The address of a socket that has none.
    pub const UNNAMED: UnixAddress = UnixAddress(Kind::Unnamed);

    /// A path of 1 to 107 bytes in the file system.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the path is empty, too long or holds a NUL.
    pub fn from_path(path: impl Into<PathBuf>) -> io::Result<UnixAddress> {
        let path = path.into();
        let bytes = path.as_os_str().as_encoded_bytes();
        check_name(bytes, "path")?;
        if bytes.contains(&0) {
            return Err(invalid("a socket path holds a NUL byte".to_owned()));
        }
        Ok(UnixAddress(Kind::Path(path)))
    }

    /// An abstract name of 1 to 107 bytes, of any value.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the name is empty or too long.
    pub fn from_abstract(name: impl Into<Vec<u8>>) -> io::Result<UnixAddress> {
        let name = name.into();
        check_name(&name, "abstract name")?;
        Ok(UnixAddress(Kind::Abstract(name)))
    }

    /// A path that the system gave us, which may fill `sun_path` to its end.
    #[cfg(any(feature = "real", feature = "sim"))]
    pub(crate) fn of_system_path(path: &Path) -> UnixAddress {
        UnixAddress(Kind::Path(path.to_owned()))
    }

    /// An abstract name that the system gave us.
    #[cfg(any(feature = "real", feature = "sim"))]
    pub(crate) fn of_system_name(name: &[u8]) -> UnixAddress {
        UnixAddress(Kind::Abstract(name.to_owned()))
    }

    /// An address to bind to, for which the system chooses an abstract name.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn autobind() -> UnixAddress {
        UnixAddress::UNNAMED
    }

    /// The path, where it is one.
    pub fn as_path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The abstract name, where it is one.
    pub fn as_abstract(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Abstract(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the socket has no name.
    pub fn is_unnamed(&self) -> bool {
        matches!(self.0, Kind::Unnamed)
    }

    /// Whether it can be connected to.
    #[cfg(unix)]
    pub(crate) fn check_named(&self) -> io::Result<()> {
        if self.is_unnamed() {
            return Err(invalid(
                "an address without a name, to which nothing connects".to_owned(),
            ));
        }
        Ok(())
    }
}

fn check_name(bytes: &[u8], what: &str) -> io::Result<()> {
    if bytes.is_empty() || bytes.len() >= SUN_PATH {
        return Err(invalid(format!(
            "a socket {what} of {} bytes; 1 to {} are allowed",
            bytes.len(),
            SUN_PATH - 1
        )));
    }
    Ok(())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unnamed => f.write_str("<unnamed>"),
            Kind::Path(path) => path.display().fmt(f),
            Kind::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_shown() {
        assert_eq!(UnixAddress::from_path("/a/b").unwrap().to_string(), "/a/b");
        assert_eq!(UnixAddress::from_abstract("n").unwrap().to_string(), "@n");
        assert_eq!(UnixAddress::UNNAMED.to_string(), "<unnamed>");
        for bad in ["", "a\0b", &"x".repeat(300)] {
            let error = UnixAddress::from_path(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
