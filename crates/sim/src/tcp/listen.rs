//! Listening: binding, the backlog, accepting.
//!
//! Invariants
//! 1. `queue + half_open <= backlog + 1`: a request beyond it is dropped, and its sender asks again.
//! 2. A connection is in `queue` until one acceptor took it; waiting tasks are all woken, so a task
//!    that gave up never keeps one from the others.

use super::connect::any_like;
use super::stream::StreamOptions;
use super::{Kind, Phase, Segment, SocketRef, Stream, Syn, canonical};
use crate::errno::Errno;
use crate::net::TcpListenOptions;
use crate::ports::Hold;
use crate::state::State;
use crate::task::Waits;
use crate::trace::EventKind;
use crate::xxhash::xxh64;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, Waker};

pub(crate) struct Listener {
    options: TcpListenOptions,
    queue: VecDeque<SocketRef>,
    /// (connector, our end) of handshakes under way.
    half_open: Vec<(SocketRef, SocketRef)>,
    pub(crate) waiting: Vec<Waker>,
}

impl Listener {
    fn accepts(&self, local: SocketAddr, to: IpAddr) -> bool {
        covers(local.ip(), self.options.v6only, to)
    }
}

/// Whether who listens at `local` is reached by the address `to`, in canonical form.
fn covers(local: IpAddr, v6only: bool, to: IpAddr) -> bool {
    match (local, to) {
        (IpAddr::V4(ip), IpAddr::V4(to)) => ip == to || ip.is_unspecified(),
        (IpAddr::V6(ip), IpAddr::V6(to)) => ip == to || ip.is_unspecified(),
        (IpAddr::V6(ip), IpAddr::V4(to)) => {
            !v6only && (ip.is_unspecified() || ip.to_ipv4_mapped() == Some(to))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}

impl State {
    pub(crate) fn listen(
        &mut self,
        at: SocketAddr,
        options: &TcpListenOptions,
    ) -> Result<SocketRef, Errno> {
        let (host, now) = (self.host(), self.now);
        let machine = self.machine();
        if !at.ip().is_unspecified() && !machine.owns(at.ip().to_canonical()) {
            return Err(Errno::AddrNotAvailable);
        }
        let port = match at.port() {
            0 => self.ephemeral_port(None).map_err(|_| Errno::AddrInUse)?,
            port => {
                let listeners = machine.listeners.get(&port).cloned().unwrap_or_default();
                let held = machine.ports.get(&port);
                machine.time_waits.forget(now);
                let covered = |held| covers(at.ip(), options.v6only, held);
                let kept = held.is_some_and(|held| held.kept().any(covered))
                    || machine.time_waits.held(port, Hold::Kept).any(covered);
                let shared = held.is_some_and(|held| held.shared().any(covered))
                    || machine.time_waits.held(port, Hold::Shared).any(covered);
                if shared && !options.reuse_address || kept {
                    return Err(Errno::AddrInUse);
                }
                for other in listeners {
                    if self.conflicts(other, at, options) {
                        return Err(Errno::AddrInUse);
                    }
                }
                port
            }
        };
        let mut local = at;
        local.set_port(port);
        let listener = Listener {
            options: *options,
            queue: VecDeque::new(),
            half_open: Vec::new(),
            waiting: Vec::new(),
        };
        let socket = self
            .net
            .insert(host, local, Kind::Listener(Box::new(listener)));
        let machine = self.machine();
        machine.hold_port(port);
        machine.listeners.entry(port).or_default().push(socket);
        if let Err(error) = self.hold(socket) {
            self.remove_socket(socket);
            return Err(error);
        }
        self.record(
            EventKind::Open,
            "listen",
            u64::from(socket.slot),
            u64::from(port),
        );
        Ok(socket)
    }

    fn conflicts(&mut self, other: SocketRef, at: SocketAddr, options: &TcpListenOptions) -> bool {
        let Some(found) = self.net.find(other) else {
            return false;
        };
        let Kind::Listener(listener) = &found.kind else {
            return false;
        };
        if options.reuse_port && listener.options.reuse_port {
            return false;
        }
        let (mine, theirs) = (at.ip(), found.local.ip());
        match (mine.is_ipv4(), theirs.is_ipv4()) {
            (true, true) | (false, false) => {
                mine == theirs || mine.is_unspecified() || theirs.is_unspecified()
            }
            (true, false) => theirs.is_unspecified() && !listener.options.v6only,
            (false, true) => mine.is_unspecified() && !options.v6only,
        }
    }

    /// A connection request arrives.
    pub(crate) fn syn(&mut self, syn: Syn) {
        let asked = u64::from(syn.to.port());
        if self.machines[syn.to_host as usize].off {
            self.count_lost("syn", u64::from(syn.from.slot), asked);
            return;
        }
        self.cause = self.record(EventKind::Segment, "syn", u64::from(syn.from.slot), asked);
        // A connector that gave up or was answered already: an old duplicate.
        if self.net.stream(syn.from).map(|stream| stream.phase) != Some(Phase::Connecting) {
            return;
        }
        let Some((socket, local)) = self.listener_for(&syn) else {
            self.answer(syn.to_host, SocketRef::NOBODY, syn.from, Segment::Rst);
            return;
        };
        let Some(listener) = self.net.listener(socket) else {
            return;
        };
        let options = listener.options;
        let waiting = listener.queue.len() + listener.half_open.len();
        let mut known = listener.half_open.iter();
        if let Some(&(_, end)) = known.find(|&&(from, _)| from == syn.from) {
            // Asked again because the answer was lost, or while it is under way.
            if self.net.stream(end).is_some_and(|end| end.retry.is_some()) {
                self.answer_request(end);
            }
            return;
        }
        // As on Linux, one more than the backlog fits.
        if waiting > options.backlog as usize {
            return;
        }
        let map = |ip: IpAddr| match ip {
            IpAddr::V4(ip) if local.is_ipv6() => IpAddr::V6(ip.to_ipv6_mapped()),
            ip => ip,
        };
        let limits = self.machines[syn.to_host as usize].limits;
        let mut stream = Stream::new(
            SocketAddr::new(map(syn.source.ip()), syn.source.port()),
            syn.host,
            Phase::HalfOpen(socket),
            StreamOptions::default(),
            options.send_buffer.unwrap_or(limits.tcp_send_buffer).max(1),
            options.recv_buffer.unwrap_or(limits.tcp_recv_buffer).max(1),
        );
        stream.remote = Some(syn.from);
        stream.keeps_port = !options.reuse_address;
        let hold = stream.hold();
        stream.credit = syn.window;
        let window = stream.receive_capacity;
        let local = SocketAddr::new(map(syn.to.ip()), syn.to.port());
        let kind = Kind::Stream(Box::new(stream));
        let end = self.net.insert(syn.to_host, local, kind);
        let machine = &mut self.machines[syn.to_host as usize];
        machine.hold_port_at(local.port(), canonical(local).ip(), hold);
        if let Some(listener) = self.net.listener(socket) {
            listener.half_open.push((syn.from, end));
        }
        self.transmit(end, Segment::SynAck { window });
    }

    /// The listener a request is for: the most specific address wins, equal ones share by hash.
    fn listener_for(&mut self, syn: &Syn) -> Option<(SocketRef, SocketAddr)> {
        let machine = &self.machines[syn.to_host as usize];
        let listeners = machine.listeners.get(&syn.to.port())?.clone();
        let mut found = Vec::new();
        for socket in listeners {
            if let Some(entry) = self.net.find(socket)
                && let Kind::Listener(listener) = &entry.kind
                && listener.accepts(entry.local, syn.to.ip())
            {
                let wildcard = entry.local.ip() == any_like(entry.local);
                let foreign = entry.local.is_ipv4() != syn.to.is_ipv4();
                found.push(((wildcard, foreign), socket, entry.local));
            }
        }
        let best = found.iter().map(|entry| entry.0).min()?;
        found.retain(|entry| entry.0 == best);
        let mut key = [0; 6];
        key[..2].copy_from_slice(&syn.source.port().to_le_bytes());
        key[2..].copy_from_slice(&syn.host.to_le_bytes());
        let index = xxh64(&key, 0) as usize % found.len();
        let (_, socket, local) = found[index];
        Some((socket, local))
    }

    /// The connector confirmed: the connection waits for an acceptor.
    pub(crate) fn handshake_done(&mut self, end: SocketRef, window: usize) {
        let Some(stream) = self.net.stream(end) else {
            return;
        };
        let Phase::HalfOpen(socket) = stream.phase else {
            return;
        };
        stream.phase = Phase::Established;
        stream.credit = window;
        let retry = stream.retry.take();
        if let Some(key) = retry {
            self.events.cancel(key);
        }
        self.forget_half_open(socket, end);
        if let Some(listener) = self.net.listener(socket) {
            listener.queue.push_back(end);
            let waiting = std::mem::take(&mut listener.waiting);
            self.woken.extend(waiting);
        }
    }

    pub(crate) fn forget_half_open(&mut self, listener: SocketRef, end: SocketRef) {
        if let Some(listener) = self.net.listener(listener) {
            listener.half_open.retain(|&(_, ours)| ours != end);
        }
    }

    pub(crate) fn accept(
        &mut self,
        socket: SocketRef,
        waker: &Waker,
    ) -> Poll<io::Result<SocketRef>> {
        let Some(listener) = self.net.listener(socket) else {
            return Poll::Ready(Err(Errno::Invalid.error()));
        };
        if let Some(&end) = listener.queue.front() {
            // Refused for want of a descriptor, it stays queued.
            if let Err(error) = self.hold(end) {
                return Poll::Ready(Err(error.error()));
            }
            if let Some(listener) = self.net.listener(socket) {
                listener.queue.pop_front();
            }
            let port = self.net.stream(end).map_or(0, |stream| stream.peer.port());
            let slot = u64::from(end.slot);
            self.record(EventKind::Accept, "tcp", slot, u64::from(port));
            return Poll::Ready(Ok(end));
        }
        let Some(found) = self.net.find(socket) else {
            return Poll::Pending;
        };
        let local = found.local;
        if let Kind::Listener(listener) = &mut found.kind
            && !listener.waiting.iter().any(|kept| kept.will_wake(waker))
        {
            listener.waiting.push(waker.clone());
        }
        self.waits(Waits::Accept(local));
        Poll::Pending
    }

    /// The listener is gone: whoever was not accepted hears a reset.
    pub(crate) fn close_listener(&mut self, socket: SocketRef) {
        self.let_go(socket);
        let Some(listener) = self.net.listener(socket) else {
            return;
        };
        let queued = std::mem::take(&mut listener.queue);
        let half_open = std::mem::take(&mut listener.half_open);
        self.record(EventKind::Close, "listener", u64::from(socket.slot), 0);
        for end in queued
            .into_iter()
            .chain(half_open.into_iter().map(|pair| pair.1))
        {
            self.reset(end);
        }
        self.remove_socket(socket);
    }
}
