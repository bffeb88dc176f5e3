//! Paths of Unix sockets: taking them, replacing stale ones, giving them back after a failure.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};

use super::{address, connect};
use crate::net::Stale;
use crate::stream::UnixAddress;

/// A path that a bind made. Dropped before it is kept, it is removed, unless somebody put something
/// else there meanwhile. A socket that leaves no path has it as long as it lives.
#[derive(Debug)]
#[must_use = "a path that is not kept is removed"]
pub(super) struct Made(Option<MadePath>);

#[derive(Debug)]
struct MadePath {
    path: PathBuf,
    file: File,
}

/// Device and inode.
type File = (u64, u64);

impl Made {
    /// For a socket without a path.
    pub(super) fn nothing() -> Made {
        Made(None)
    }

    pub(super) fn set_mode(&self, mode: Option<u32>) -> io::Result<()> {
        match (&self.0, mode) {
            (Some(made), Some(mode)) => {
                fs::set_permissions(&made.path, Permissions::from_mode(mode))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let Some(MadePath { path, file }) = &self.0 else {
            return;
        };
        // Where it is gone already, that is as well.
        if let Ok(Some(found)) = socket_file(path)
            && found == *file
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Takes permissions from a socket that has no path yet.
pub(super) fn narrow(socket: &Socket, mode: Option<u32>) -> io::Result<()> {
    let Some(mode) = mode else {
        return Ok(());
    };
    let file = fs::File::from(OwnedFd::from(socket.try_clone()?));
    file.set_permissions(Permissions::from_mode(mode))
}

/// Binds `socket` to `at`, in the place of a stale socket where `stale` allows.
pub(super) fn bind(socket: &Socket, at: &UnixAddress, stale: Stale) -> io::Result<Made> {
    let to = connect::bindable(at)?;
    let bound = match (socket.bind(&to), at.as_path(), stale) {
        (Err(error), Some(path), Stale::ReplaceIfRefused)
            if error.kind() == ErrorKind::AddrInUse && remove_stale(path, at)? =>
        {
            socket.bind(&to)
        }
        (bound, ..) => bound,
    };
    bound?;
    let Some(path) = at.as_path() else {
        return Ok(Made::nothing());
    };
    // Not there any more, or no socket, where somebody was as quick as that.
    let file = socket_file(path)?.ok_or(ErrorKind::AddrInUse)?;
    Ok(Made(Some(MadePath {
        path: path.to_owned(),
        file,
    })))
}

/// Removes the socket at `path` where nobody has it any more. Between the look and the removal
/// the path could become another's, so it is removed only while it is the same file; what is left
/// of that race no system call closes.
///
/// A socket of datagrams finds that out: its connect is refused only there. One to a stream socket
/// fails by its type, before anybody looks whether that listens, which a server that was bound this
/// moment does not yet; and one to another socket of datagrams tells that nothing.
fn remove_stale(path: &Path, at: &UnixAddress) -> io::Result<bool> {
    let Some(found) = socket_file(path)? else {
        return Ok(false);
    };
    let probe = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    probe.set_nonblocking(true)?;
    match super::uninterrupted(|| probe.connect(&address::unix(at)?)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        // Somebody has it.
        _ => return Ok(false),
    }
    if socket_file(path)? != Some(found) {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
}

/// Device and inode of the socket at `path`; none where it is something else.
fn socket_file(path: &Path) -> io::Result<Option<File>> {
    let found = fs::symlink_metadata(path)?;
    let same = (found.dev(), found.ino());
    Ok(found.file_type().is_socket().then_some(same))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    // L12
    #[test]
    fn a_path_is_never_wider_than_its_socket() {
        let name = format!("bowline-narrow-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let at = UnixAddress::from_path(&path).unwrap();
        for (mode, made_with) in [(Some(0o600), 0o600), (Some(0o200), 0o200)] {
            let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
            narrow(&socket, mode).unwrap();
            // Before anybody sets the mode of the path itself.
            let made = bind(&socket, &at, Stale::Refuse).unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, made_with);
            drop(made);
        }
    }
}
