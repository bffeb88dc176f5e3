//! Listening, connecting and accepting.

use super::stream::{Ends, UnixStream};
use super::{Kind, Style, UnixSocket};
use crate::errno::Errno;
use crate::net::{UnixAddress, UnixListenOptions, UnixOptions};
use crate::state::State;
use crate::table::SocketRef;
use crate::task::Waits;
use crate::trace::EventKind;
use crate::udp::keep;
use std::collections::VecDeque;
use std::task::{Poll, Waker};

pub(crate) struct UnixListener {
    backlog: u32,
    send_capacity: usize,
    queue: VecDeque<SocketRef>,
    accepting: Vec<Waker>,
    /// Those that connect and found the queue full.
    connecting: Vec<Waker>,
}

impl State {
    pub(crate) fn listen_unix(
        &mut self,
        at: &UnixAddress,
        options: &UnixListenOptions,
    ) -> Result<SocketRef, Errno> {
        if options.replace_stale {
            self.remove_stale(at)?;
        }
        let buffer = self.machine().limits.unix_send_buffer;
        let listener = UnixListener {
            backlog: options.backlog,
            send_capacity: options.send_buffer.unwrap_or(buffer).max(1),
            queue: VecDeque::new(),
            accepting: Vec::new(),
            connecting: Vec::new(),
        };
        let socket = self.open_unix(Kind::Listener(listener), "unix listen")?;
        if let Err(error) = self.name_unix(socket, at) {
            self.close_unix(socket);
            return Err(error);
        }
        self.set_mode(at, options.mode);
        Ok(socket)
    }

    pub(super) fn set_mode(&mut self, at: &UnixAddress, mode: Option<u32>) {
        if let (UnixAddress::Path(path), Some(mode)) = (at, mode)
            && let Some(node) = self.machine().paths.get_mut(path)
        {
            node.mode = mode & 0o7777;
        }
    }

    /// Unlinks a socket that nobody has any more. Whatever else is there stays. Who looks connects a socket
    /// of datagrams, as on a kernel, which nobody notices.
    pub(super) fn remove_stale(&mut self, at: &UnixAddress) -> Result<(), Errno> {
        let UnixAddress::Path(path) = at else {
            return Ok(());
        };
        let found = self.machine().paths.get(path);
        if found.is_none_or(|node| node.socket.is_none()) {
            return Ok(());
        }
        let probe = self.open_unix_datagram(&UnixOptions::default())?;
        let connected = self.connect_unix_datagram(probe, at);
        self.close_unix(probe);
        if connected == Err(Errno::Refused) {
            self.machine().paths.remove(path);
        }
        Ok(())
    }

    /// The same, for a socket that is to have the local name of these options.
    pub(super) fn make_way(&mut self, options: &UnixOptions) -> Result<(), Errno> {
        match &options.local {
            Some(local) if options.replace_stale => self.remove_stale(local),
            _ => Ok(()),
        }
    }

    /// Opens the socket that is going to connect.
    pub(crate) fn open_unix_stream(&mut self, options: &UnixOptions) -> Result<SocketRef, Errno> {
        self.make_way(options)?;
        let buffer = self.machine().limits.unix_send_buffer;
        let stream = UnixStream::new(options.send_buffer.unwrap_or(buffer).max(1));
        let socket = self.open_unix(Kind::Stream(stream), "unix connect")?;
        self.name_local(socket, options)?;
        Ok(socket)
    }

    /// Gives an open socket the local name of these options; one that cannot have it is closed.
    pub(super) fn name_local(
        &mut self,
        socket: SocketRef,
        options: &UnixOptions,
    ) -> Result<(), Errno> {
        let Some(local) = &options.local else {
            return Ok(());
        };
        if let Err(error) = self.name_unix(socket, local) {
            self.close_unix(socket);
            return Err(error);
        }
        self.set_mode(local, options.mode);
        Ok(())
    }

    /// Connects an open socket to whoever listens at `to`; waits while too many wait there.
    pub(crate) fn connect_unix(
        &mut self,
        socket: SocketRef,
        to: &UnixAddress,
        waker: &Waker,
    ) -> Poll<Result<(), Errno>> {
        let Some(host) = self.unix.peek(socket).map(|found| found.host) else {
            return Poll::Ready(Err(Errno::Invalid));
        };
        let at = match self.find_unix(host, to, Style::Streams) {
            Ok(at) => at,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let Some(found) = self.unix.find(at) else {
            return Poll::Ready(Err(Errno::Refused));
        };
        let address = found.local.clone();
        let listener = match &mut found.kind {
            Kind::Listener(listener) => listener,
            Kind::Stream(_) => return Poll::Ready(Err(Errno::Refused)),
            Kind::Datagram(_) => return Poll::Ready(Err(Errno::WrongProtocol)),
        };
        // As on Linux, one more than the backlog fits.
        if listener.queue.len() > listener.backlog as usize {
            keep(&mut listener.connecting, waker);
            self.waits(Waits::Unix("room in the backlog of", at.slot));
            return Poll::Pending;
        }
        let server = UnixStream::new(listener.send_capacity);
        let end = self.unix.insert(UnixSocket {
            host,
            local: address,
            kind: Kind::Stream(server),
            held: false,
        });
        self.join(Ends(socket, end));
        if let Some(listener) = self.unix.find(at).and_then(UnixSocket::listener) {
            listener.queue.push_back(end);
            let accepting = std::mem::take(&mut listener.accepting);
            self.woken.extend(accepting);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn accept_unix(
        &mut self,
        socket: SocketRef,
        waker: &Waker,
    ) -> Poll<Result<SocketRef, Errno>> {
        let Some(found) = self.unix.find(socket) else {
            return Poll::Ready(Err(Errno::Invalid));
        };
        let host = found.host as usize;
        let Kind::Listener(listener) = &mut found.kind else {
            return Poll::Ready(Err(Errno::Invalid));
        };
        let Some(&end) = listener.queue.front() else {
            keep(&mut listener.accepting, waker);
            self.waits(Waits::Unix("a connection at", socket.slot));
            return Poll::Pending;
        };
        // Refused for want of a descriptor, it stays queued.
        if let Err(error) = self.machines[host].take_descriptor() {
            return Poll::Ready(Err(error));
        }
        listener.queue.pop_front();
        let connecting = std::mem::take(&mut listener.connecting);
        self.woken.extend(connecting);
        if let Some(end) = self.unix.find(end) {
            end.held = true;
        }
        self.record(EventKind::Accept, "unix", u64::from(end.slot), 0);
        Poll::Ready(Ok(end))
    }

    pub(super) fn end_unix_listener(&mut self, listener: UnixListener) {
        self.woken.extend(listener.accepting);
        self.woken.extend(listener.connecting);
        for end in listener.queue {
            self.refuse_unix(end);
        }
    }
}
