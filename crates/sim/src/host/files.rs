//! The paths of a host: its Unix sockets, and files that stand in their way.

use crate::current;
use crate::errno::Errno;
use crate::machine::Life;
use std::io;
use std::path::Path;

/// What a path of a host leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Number of the file on its host; a new file has a new one.
    pub inode: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it is a socket.
    pub is_socket: bool,
}

/// What `path` leads to on this host.
///
/// # Errors
/// `NotFound` if there is nothing.
pub fn file(path: impl AsRef<Path>) -> io::Result<File> {
    let found = current::with("file", |state| {
        state.machine().paths.get(path.as_ref()).copied()
    });
    match found {
        Some(node) => Ok(File {
            inode: node.inode,
            mode: node.mode,
            is_socket: node.socket.is_some(),
        }),
        None => Err(Errno::NoEntry.error()),
    }
}

/// Removes `path` from this host. A socket bound to it goes on without it.
///
/// # Errors
/// `NotFound` if there is nothing.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    current::with("remove_file", |state| {
        if state.machine().life == Life::Void {
            return Err(Errno::InputOutput.error());
        }
        match state.machine().paths.remove(path.as_ref()) {
            Some(_) => Ok(()),
            None => Err(Errno::NoEntry.error()),
        }
    })
}

/// Makes an empty plain file. Hosts have no file system: it only stands where a socket may want to.
///
/// # Errors
/// `AlreadyExists` if there is something.
pub fn create_file(path: impl AsRef<Path>) -> io::Result<()> {
    current::with("create_file", |state| {
        if state.machine().life == Life::Void {
            return Err(Errno::InputOutput.error());
        }
        let made = state.machine().add_node(path.as_ref(), 0o644, None);
        made.map_err(|_| io::ErrorKind::AlreadyExists.into())
    })
}
