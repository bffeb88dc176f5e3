//! Connecting: local addresses, ports, the request and its retries.

use super::stream::StreamOptions;
use super::{Kind, Phase, Segment, SocketRef, Stream, canonical};
use crate::errno::Errno;
use crate::event::Event;
use crate::net::TcpOptions;
use crate::oracle;
use crate::ports::Hold;
use crate::state::State;
use crate::trace::EventKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const FIRST_EPHEMERAL: u16 = 32_768;

/// Requests are sent again after 1, 2, 4, .. s; the seventh silence is the end, 127 s after the first.
const RETRY: u64 = 1_000_000_000;
const ATTEMPTS: u32 = 7;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Syn {
    pub(crate) from: SocketRef,
    pub(crate) source: SocketAddr,
    pub(crate) host: u32,
    /// Host the request goes to and the address asked for, both canonical.
    pub(crate) to_host: u32,
    pub(crate) to: SocketAddr,
    pub(crate) window: usize,
}

impl State {
    /// Opens a socket and sends the connection request.
    pub(crate) fn connect(
        &mut self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> Result<SocketRef, Errno> {
        let host = self.host();
        let to = or_loopback(to);
        let target = canonical(to);
        let route = self.route(host, target.ip());
        let local = self.local_address(to, target.ip(), options.local)?;
        // Who binds first has the port alone; other connects share it with those to other peers.
        let shares = options.local.is_none();
        match shares {
            true => self.machine().hold_flow(canonical(local), target),
            false => {
                let at = canonical(local).ip();
                self.machine().hold_port_at(local.port(), at, Hold::Shared);
            }
        }
        let limits = self.machine().limits;
        let mut stream = Stream::new(
            to,
            route.unwrap_or(u32::MAX),
            Phase::Connecting,
            StreamOptions {
                nodelay: options.nodelay,
                linger: options.linger,
                keepalive: options.keepalive,
                user_timeout: options.user_timeout,
            },
            options.send_buffer.unwrap_or(limits.tcp_send_buffer).max(1),
            options.recv_buffer.unwrap_or(limits.tcp_recv_buffer).max(1),
        );
        stream.remote_host = route.unwrap_or(host);
        stream.shares_port = shares;
        stream.asked_port = options.local.is_some_and(|local| local.port() != 0);
        let socket = self.net.insert(host, local, Kind::Stream(Box::new(stream)));
        if let Err(error) = self.hold(socket) {
            self.remove_socket(socket);
            return Err(error);
        }
        self.record(
            EventKind::Open,
            "connect",
            u64::from(socket.slot),
            u64::from(to.port()),
        );
        self.request(socket);
        Ok(socket)
    }

    fn local_address(
        &mut self,
        to: SocketAddr,
        target: IpAddr,
        asked: Option<SocketAddr>,
    ) -> Result<SocketAddr, Errno> {
        if asked.is_some_and(|asked| asked.is_ipv4() != to.is_ipv4()) {
            return Err(Errno::Invalid);
        }
        let machine = self.machine();
        let (v4, v6) = (machine.v4, machine.v6);
        let ip = match asked
            .map(|asked| asked.ip())
            .filter(|ip| !ip.is_unspecified())
        {
            Some(ip) if machine.owns(ip.to_canonical()) => ip,
            Some(_) => return Err(Errno::AddrNotAvailable),
            // A connection to oneself comes from the address it goes to, one to any of the loopback
            // addresses of IPv4 from the first of them.
            None if target.is_loopback() => match to {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) if target.is_ipv4() => {
                    Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()
                }
                SocketAddr::V6(_) => to.ip(),
            },
            None if machine.owns(target) => to.ip(),
            None => match (target, to.is_ipv4()) {
                (IpAddr::V4(_), true) => IpAddr::V4(v4),
                (IpAddr::V4(_), false) => IpAddr::V6(v4.to_ipv6_mapped()),
                (IpAddr::V6(_), _) => IpAddr::V6(v6),
            },
        };
        let port = match asked.map(|asked| asked.port()) {
            None => {
                let peer = SocketAddr::new(target, to.port());
                self.ephemeral_port(Some(peer))?
            }
            Some(0) => self.ephemeral_port(None)?,
            Some(port) if self.is_port_taken(port) => return Err(Errno::AddrInUse),
            Some(port) => port,
        };
        Ok(SocketAddr::new(ip, port))
    }

    /// Whether a socket has the port, or had it until a short while ago.
    pub(super) fn is_port_taken(&mut self, port: u16) -> bool {
        let now = self.now;
        let machine = self.machine();
        machine.time_waits.forget(now);
        machine.ports.contains_key(&port) || machine.time_waits.has(port)
    }

    /// A free port: the first one from a drawn start. One that has connections, or had them until a
    /// short while ago, is free for a connection to another peer.
    pub(super) fn ephemeral_port(&mut self, peer: Option<SocketAddr>) -> Result<u16, Errno> {
        let now = self.now;
        let count = self.machine().limits.ephemeral_ports;
        let start = self.choose(oracle::PORT, u64::from(count)) as u16;
        let machine = self.machine();
        machine.time_waits.forget(now);
        let is_free = |port: u16| match peer {
            Some(peer) => {
                machine.has_room_for(port, peer) && !machine.time_waits.has_with(port, peer)
            }
            None => !machine.ports.contains_key(&port) && !machine.time_waits.has(port),
        };
        (start..count)
            .chain(0..start)
            .map(|step| FIRST_EPHEMERAL.saturating_add(step))
            .find(|port| is_free(*port))
            .ok_or(Errno::AddrNotAvailable)
    }

    /// Sends the request once more and waits for an answer; silence too long is `TimedOut`.
    pub(crate) fn request(&mut self, socket: SocketRef) {
        let Some(found) = self.net.find(socket) else {
            return;
        };
        let (host, source) = (found.host, canonical(found.local));
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        stream.retry = None;
        if stream.attempts == ATTEMPTS {
            self.die(socket, Errno::TimedOut);
            return;
        }
        let wait = RETRY << stream.attempts;
        stream.attempts += 1;
        let to = canonical(stream.peer);
        let window = stream.receive_capacity;
        let again = self.now.saturating_add(wait);
        let key = self
            .events
            .push(again, 0, Event::ConnectRetry(socket), self.cause);
        if let Some(stream) = self.net.stream(socket) {
            stream.retry = Some(key);
        }
        // An address nobody has: the request vanishes.
        if let Some(to_host) = self.route(host, to.ip()) {
            let syn = Syn {
                from: socket,
                source,
                host,
                to_host,
                to,
                window,
            };
            self.launch_syn(syn, 0);
        }
    }

    /// The listener answered.
    pub(crate) fn connected(&mut self, socket: SocketRef, remote: SocketRef, window: usize) {
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        if stream.phase == Phase::Established && stream.remote == Some(remote) {
            // Our answer was lost.
            let window = stream.receive_capacity;
            self.transmit(socket, Segment::Established { window });
            return;
        }
        if stream.phase != Phase::Connecting {
            return;
        }
        stream.phase = Phase::Established;
        stream.remote = Some(remote);
        stream.credit = window;
        let window = stream.receive_capacity;
        let retry = stream.retry.take();
        let waker = stream.write_waker.take();
        self.wake(waker);
        if let Some(key) = retry {
            self.events.cancel(key);
        }
        self.transmit(socket, Segment::Established { window });
        self.watch(socket);
    }
}

/// As on Linux, who connects to "any" connects to this host.
fn or_loopback(to: SocketAddr) -> SocketAddr {
    let ip = match (canonical(to).ip(), to.is_ipv4()) {
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), true) => Ipv4Addr::LOCALHOST.into(),
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), false) => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), _) => Ipv6Addr::LOCALHOST.into(),
        _ => to.ip(),
    };
    SocketAddr::new(ip, to.port())
}

/// The "any" address of the family of `address`.
pub(crate) fn any_like(address: SocketAddr) -> IpAddr {
    if address.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}
