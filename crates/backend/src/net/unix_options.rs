use std::io;

use crate::stream::UnixAddress;

/// Options of a Unix stream or datagram socket, by default as the system has it.
///
/// # Examples
///
/// ```
/// use bowline_backend::net::UnixOptions;
///
/// let options = UnixOptions::new().send_buffer(1 << 16);
/// assert_ne!(options, UnixOptions::new());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixOptions {
    pub(crate) local: Option<UnixAddress>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) recv_buffer: Option<usize>,
    pub(crate) mode: Option<u32>,
    pub(crate) stale: Stale,
    pub(crate) unlink_at_close: bool,
}

impl UnixOptions {
    /// The defaults.
    pub fn new() -> UnixOptions {
        UnixOptions {
            local: None,
            send_buffer: None,
            recv_buffer: None,
            mode: None,
            stale: Stale::Refuse,
            unlink_at_close: false,
        }
    }

    /// Binds to `address` before connecting, so that the peer can tell who we are.
    #[must_use = "this returns the changed options"]
    pub fn local(mut self, address: UnixAddress) -> UnixOptions {
        self.local = Some(address);
        self
    }

    /// Bytes of the send buffer. The system rounds and may double it.
    #[must_use = "this returns the changed options"]
    pub fn send_buffer(mut self, bytes: usize) -> UnixOptions {
        self.send_buffer = Some(bytes);
        self
    }

    /// Bytes of the receive buffer. The system rounds and may double it.
    #[must_use = "this returns the changed options"]
    pub fn recv_buffer(mut self, bytes: usize) -> UnixOptions {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Permissions of the path of the local address, or of a datagram socket, from 0 to `0o777`. Of a path
    /// alone: any other address has none. On Linux nobody can send there before they hold; elsewhere that is
    /// so right after the bind.
    #[must_use = "this returns the changed options"]
    pub fn mode(mut self, mode: u32) -> UnixOptions {
        self.mode = Some(mode);
        self
    }

    /// What to do where the path of the local address, or of a datagram socket, exists already.
    #[must_use = "this returns the changed options"]
    pub fn stale(mut self, stale: Stale) -> UnixOptions {
        self.stale = stale;
        self
    }

    /// Removes the path of a datagram socket when it is dropped, as
    /// [`UnixListenOptions::unlink_at_close`] does that of a listener. A stream leaves its path.
    #[must_use = "this returns the changed options"]
    pub fn unlink_at_close(mut self) -> UnixOptions {
        self.unlink_at_close = true;
        self
    }

    /// Whether the local address can have the mode that was chosen.
    pub(super) fn check_mode(&self) -> io::Result<()> {
        check_mode(self.mode, self.local.as_ref())
    }
}

impl Default for UnixOptions {
    fn default() -> UnixOptions {
        UnixOptions::new()
    }
}

/// Options of a Unix listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListenOptions {
    pub(crate) backlog: u32,
    pub(crate) mode: Option<u32>,
    pub(crate) stale: Stale,
    pub(crate) unlink_at_close: bool,
}

impl UnixListenOptions {
    /// The defaults: a backlog of 1024, the permissions that the process gives new files, a path
    /// that exists is refused, and the path stays when the listener is gone.
    pub fn new() -> UnixListenOptions {
        UnixListenOptions {
            backlog: 1024,
            mode: None,
            stale: Stale::Refuse,
            unlink_at_close: false,
        }
    }

    /// Connections that may wait to be accepted; the system clamps it.
    #[must_use = "this returns the changed options"]
    pub fn backlog(mut self, connections: u32) -> UnixListenOptions {
        self.backlog = connections;
        self
    }

    /// Permissions of the path, from 0 to `0o777`. They hold before anybody can connect. Of a path
    /// alone: an abstract name has none.
    #[must_use = "this returns the changed options"]
    pub fn mode(mut self, mode: u32) -> UnixListenOptions {
        self.mode = Some(mode);
        self
    }

    /// What to do where the path exists already.
    #[must_use = "this returns the changed options"]
    pub fn stale(mut self, stale: Stale) -> UnixListenOptions {
        self.stale = stale;
        self
    }

    /// Removes the path when the listener is dropped, if it is still the file that the bind made:
    /// another server may have put its own there. A process that is killed leaves it, and
    /// [`Stale::ReplaceIfRefused`] is for the next one. Given back by `into_std`, a listener keeps
    /// its path.
    #[must_use = "this returns the changed options"]
    pub fn unlink_at_close(mut self) -> UnixListenOptions {
        self.unlink_at_close = true;
        self
    }

    /// Whether `at` can have the mode that was chosen.
    pub(super) fn check_mode(&self, at: &UnixAddress) -> io::Result<()> {
        check_mode(self.mode, Some(at))
    }
}

fn check_mode(mode: Option<u32>, at: Option<&UnixAddress>) -> io::Result<()> {
    let why = match (mode, at) {
        (Some(mode), _) if mode > 0o777 => format!("a mode of {mode:#o}; 0 to 0o777 are allowed"),
        (Some(_), None) => "a socket without an address has no mode".to_owned(),
        (Some(_), Some(at)) if at.as_path().is_none() => {
            format!("{at} is no path and has no mode")
        }
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

impl Default for UnixListenOptions {
    fn default() -> UnixListenOptions {
        UnixListenOptions::new()
    }
}

/// What becomes of a path that exists already where a socket is to be bound.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Stale {
    /// Fails with [`AddrInUse`](std::io::ErrorKind::AddrInUse).
    #[default]
    Refuse,
    /// Takes its place where it is a socket that nobody has any more: who bound it was killed, or let go
    /// of it. Anything else is never removed. Whoever has the path notices nothing.
    ///
    /// No system call removes a path only if it is still the one that was looked at. So of two programs
    /// that start at the same moment at one stale path one may, seldom, take the place of the other.
    /// Where that can happen, let them start one after the other, as under a lock of theirs.
    ReplaceIfRefused,
}

/// Who is at the other end of a Unix stream, as the system knew when it was connected.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Credentials {
    /// The process, where it can be seen from here: none for one of another pid namespace.
    pub pid: Option<u32>,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

impl Credentials {
    /// The credentials of a process.
    pub(crate) fn new(pid: Option<u32>, uid: u32, gid: u32) -> Credentials {
        Credentials { pid, uid, gid }
    }
}
