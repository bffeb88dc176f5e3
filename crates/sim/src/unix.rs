//! Simulated Unix sockets: names of a host, and what is bound to them.
//!
//! They act as the kernel does, at once: what is written is in the peer's queue when the call ends.
//! Only the wakes go through the scheduler.
//!
//! Invariants
//! 1. A path stays when its socket is gone, until it is unlinked, but for one that was to connect
//!    and did not, in a program that goes on; an abstract name goes with it.
//! 2. A writer has at most its send buffer in the peer's queue, and waits while it is full.
//! 3. A datagram receiver holds at most 11 datagrams of other senders it is not connected to, and
//!    of each sender at most one more than its send buffer holds; the sender waits.

mod datagram;
mod listen;
mod stream;

pub(crate) use datagram::UnixDatagram;
pub(crate) use listen::UnixListener;
pub(crate) use stream::UnixStream;

use crate::by_host::OfHost;
use crate::errno::Errno;
use crate::machine::{Life, Machine};
use crate::net::UnixAddress;
use crate::oracle;
use crate::state::State;
use crate::table::SocketRef;
use crate::trace::EventKind;
use std::path::{Path, PathBuf};
use std::task::Waker;

/// The longest name of a Unix socket.
const LONGEST_NAME: usize = 107;
/// What `bind` makes under the usual umask.
const MODE: u32 = 0o755;
/// Whether the owner may write, and so connect. Processes of hosts are not root.
const OWNER_WRITES: u32 = 0o200;

/// What goes between two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Style {
    Streams,
    Datagrams,
}

pub(crate) enum Kind {
    Stream(UnixStream),
    Listener(UnixListener),
    Datagram(UnixDatagram),
}

pub(crate) struct UnixSocket {
    pub(crate) host: u32,
    pub(crate) local: UnixAddress,
    pub(crate) kind: Kind,
    /// Whether a program holds it, so that it counts among the host's descriptors.
    pub(crate) held: bool,
}

impl OfHost for UnixSocket {
    fn host(&self) -> u32 {
        self.host
    }
}

impl UnixSocket {
    pub(crate) fn stream(&mut self) -> Option<&mut UnixStream> {
        match &mut self.kind {
            Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn listener(&mut self) -> Option<&mut UnixListener> {
        match &mut self.kind {
            Kind::Listener(listener) => Some(listener),
            _ => None,
        }
    }

    pub(crate) fn datagram(&mut self) -> Option<&mut UnixDatagram> {
        match &mut self.kind {
            Kind::Datagram(datagram) => Some(datagram),
            _ => None,
        }
    }
}

/// What a path of a host leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) inode: u64,
    pub(crate) mode: u32,
    /// `None`: a plain file.
    pub(crate) socket: Option<SocketRef>,
    /// The incarnation of the host that made it.
    incarnation: u32,
}

impl State {
    /// Makes a socket of this host that a program holds.
    fn open_unix(&mut self, kind: Kind, what: &'static str) -> Result<SocketRef, Errno> {
        self.machine().take_descriptor()?;
        let host = self.host();
        let socket = self.unix.insert(UnixSocket {
            host,
            local: UnixAddress::Unnamed,
            kind,
            held: true,
        });
        self.record(EventKind::Open, what, u64::from(socket.slot), 0);
        Ok(socket)
    }

    /// Gives `socket` the name `at`; for `Unnamed` a drawn abstract one.
    fn name_unix(&mut self, socket: SocketRef, at: &UnixAddress) -> Result<(), Errno> {
        check(at)?;
        let style = match self.unix.peek(socket) {
            Some(found) => found.kind.style(),
            None => return Err(Errno::Invalid),
        };
        let at = match at {
            UnixAddress::Unnamed => self.any_name(style)?,
            named => named.clone(),
        };
        let machine = self.machine();
        match &at {
            UnixAddress::Path(path) => machine.add_node(path, MODE, Some(socket))?,
            UnixAddress::Abstract(name) => {
                let name = (style, name.clone());
                if machine.names.contains_key(&name) {
                    return Err(Errno::AddrInUse);
                }
                machine.names.insert(name, socket);
            }
            UnixAddress::Unnamed => {}
        }
        if let Some(found) = self.unix.find(socket) {
            found.local = at;
        }
        Ok(())
    }

    fn any_name(&mut self, style: Style) -> Result<UnixAddress, Errno> {
        const NAMES: u64 = 1 << 20;
        let start = self.choose(oracle::UNIX_NAME, NAMES);
        let names = &self.machine().names;
        (start..NAMES)
            .chain(0..start)
            .map(|number| (style, format!("{number:05x}").into_bytes()))
            .find(|name| !names.contains_key(name))
            .map(|(_, name)| UnixAddress::Abstract(name))
            .ok_or(Errno::AddrInUse)
    }

    /// The socket bound to `at` on `host`, or why it cannot be reached. An abstract name leads to a
    /// socket of that style, a path to any.
    fn find_unix(&self, host: u32, at: &UnixAddress, style: Style) -> Result<SocketRef, Errno> {
        check(at)?;
        let machine = &self.machines[host as usize];
        let socket = match at {
            UnixAddress::Unnamed => return Err(Errno::Invalid),
            UnixAddress::Abstract(name) => machine.names.get(&(style, name.clone())).copied(),
            UnixAddress::Path(path) => {
                let node = machine.paths.get(path).ok_or(Errno::NoEntry)?;
                if node.mode & OWNER_WRITES == 0 {
                    return Err(Errno::NotAllowed);
                }
                node.socket
            }
        };
        socket
            .filter(|&socket| self.unix.peek(socket).is_some())
            .ok_or(Errno::Refused)
    }

    /// The owner of the handle is gone.
    pub(crate) fn close_unix(&mut self, socket: SocketRef) {
        let Some(gone) = self.unix.remove(socket) else {
            return;
        };
        self.record(EventKind::Close, "unix", u64::from(socket.slot), 0);
        let machine = &mut self.machines[gone.host as usize];
        if gone.held {
            machine.free_descriptor();
        }
        match &gone.local {
            UnixAddress::Abstract(name) => {
                let name = (gone.kind.style(), name.clone());
                if machine.names.get(&name) == Some(&socket) {
                    machine.names.remove(&name);
                }
            }
            // Nothing happened: whoever tries again finds the name free. It is the program that sees
            // to that, so one that is killed does not.
            UnixAddress::Path(path)
                if gone.kind.never_connected() && machine.life != Life::Void =>
            {
                machine.remove_name(path, socket);
            }
            _ => {}
        }
        match gone.kind {
            Kind::Stream(stream) => self.end_unix_stream(gone.host, stream),
            Kind::Listener(listener) => self.end_unix_listener(listener),
            Kind::Datagram(datagram) => self.end_unix_datagram(gone.host, datagram),
        }
    }

    /// The same for one that leaves no path.
    pub(crate) fn abandon_unix(&mut self, socket: SocketRef) {
        if let Some(found) = self.unix.peek(socket)
            && let UnixAddress::Path(path) = &found.local
        {
            self.machines[found.host as usize].remove_name(path, socket);
        }
        self.close_unix(socket);
    }

    fn drop_wakers(&mut self, wakers: [Option<Waker>; 2]) {
        self.dropped.extend(wakers.into_iter().flatten());
    }
}

impl Kind {
    fn style(&self) -> Style {
        match self {
            Kind::Stream(_) | Kind::Listener(_) => Style::Streams,
            Kind::Datagram(_) => Style::Datagrams,
        }
    }

    fn never_connected(&self) -> bool {
        matches!(self, Kind::Stream(stream) if !stream.connected)
    }
}

impl Machine {
    /// The paths of sockets that this incarnation has left. What a crash left outlives it, as files do,
    /// and is nobody's to unlink.
    pub(crate) fn socket_paths(&self) -> impl Iterator<Item = &Path> {
        let own = self
            .paths
            .iter()
            .filter(|(_, node)| node.socket.is_some() && node.incarnation == self.incarnation);
        own.map(|(path, _)| path.as_path())
    }

    /// Unlinks `path` if it leads to `socket`.
    fn remove_name(&mut self, path: &Path, socket: SocketRef) {
        if self.paths.get(path).and_then(|node| node.socket) == Some(socket) {
            self.paths.remove(path);
        }
    }

    pub(crate) fn add_node(
        &mut self,
        path: &Path,
        mode: u32,
        socket: Option<SocketRef>,
    ) -> Result<(), Errno> {
        if self.paths.contains_key(path) {
            return Err(Errno::AddrInUse);
        }
        self.next_inode += 1;
        let node = Node {
            inode: self.next_inode,
            mode,
            socket,
            incarnation: self.incarnation,
        };
        self.paths.insert(PathBuf::from(path), node);
        Ok(())
    }
}

/// Whether `at` can be a name at all.
fn check(at: &UnixAddress) -> Result<(), Errno> {
    let name = match at {
        UnixAddress::Unnamed => return Ok(()),
        UnixAddress::Path(path) => path.as_os_str().as_encoded_bytes(),
        UnixAddress::Abstract(name) => return length(name.len()),
    };
    match name.is_empty() || name.contains(&0) {
        true => Err(Errno::Invalid),
        false => length(name.len()),
    }
}

fn length(length: usize) -> Result<(), Errno> {
    match length <= LONGEST_NAME {
        true => Ok(()),
        false => Err(Errno::Invalid),
    }
}
