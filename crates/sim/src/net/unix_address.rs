//! Names of Unix sockets.

use std::fmt;
use std::path::PathBuf;

/// The name of a Unix socket of a host.
///
/// A path is one of the host's own, whose directories all exist; an abstract name is gone with its
/// socket. A name is at most 107 bytes long and a path has no NUL in it; what is given another one
/// answers `InvalidInput`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnixAddress {
    /// Without a name. Bound to, it draws an abstract one.
    Unnamed,
    /// A path.
    Path(PathBuf),
    /// A name outside the file system.
    Abstract(Vec<u8>),
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixAddress::Unnamed => f.write_str("<unnamed>"),
            UnixAddress::Path(path) => write!(f, "{}", path.display()),
            UnixAddress::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}

/// Whose process is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// Number of the process: one per life of a host, from 1000.
    pub pid: u32,
    /// The user: 1000, on every host.
    pub uid: u32,
    /// The group: 1000, on every host.
    pub gid: u32,
}

impl Credentials {
    pub(super) fn of_incarnation(incarnation: u32) -> Credentials {
        Credentials {
            pid: 1000 + incarnation,
            uid: 1000,
            gid: 1000,
        }
    }
}
