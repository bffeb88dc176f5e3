//! The simulated UDP: datagrams between hosts are events.
//!
//! Invariants
//! 1. A datagram is in one receive queue, and given to one receiver, whole or cut by it; or it is
//!    lost before.
//! 2. `in_flight` is what a socket sent and has not arrived; a sender waits while it is at least the
//!    send buffer. A receive queue takes no more once it passes the receive buffer.
//! 3. Both are counted in their host's `datagram_bytes`, from the send to the receive.
//! 4. Datagrams of one socket to one host arrive in the order sent, but for those that a link lets be
//!    overtaken; within a host each is there when its send returns.

mod bind;
mod deliver;

pub(crate) use deliver::Packet;

use crate::by_host::OfHost;
use crate::errno::Errno;
use crate::limits::HostLimits;
use crate::net::UdpOptions;
use crate::state::State;
use crate::table::SocketRef;
use crate::task::Waits;
use crate::tcp::canonical;
use crate::trace::EventKind;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Poll, Waker};

/// What the kernel's own record of a datagram counts for, so that empty ones count too.
pub(crate) const RECORD: usize = 768;
/// The most an IPv4 datagram carries, and an IPv6 one.
const LONGEST_V4: usize = 65_507;
const LONGEST_V6: usize = 65_527;

pub(crate) struct Received {
    pub(crate) payload: Bytes,
    pub(crate) from: SocketAddr,
    pub(crate) truncated: bool,
}

pub(crate) struct UdpSocket {
    pub(crate) host: u32,
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) options: UdpOptions,
    pub(crate) error: Option<Errno>,
    received: VecDeque<(SocketAddr, Bytes)>,
    queued: usize,
    in_flight: usize,
    /// When the last datagram to a host arrives.
    arrivals: BTreeMap<u32, u64>,
    receivers: Vec<Waker>,
    senders: Vec<Waker>,
}

impl OfHost for UdpSocket {
    fn host(&self) -> u32 {
        self.host
    }
}

/// Keeps one waker of each task that waits.
pub(crate) fn keep(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|kept| kept.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

impl State {
    /// Sends a datagram to `to`, or to the peer the socket is connected to.
    pub(crate) fn send_datagram(
        &mut self,
        socket: SocketRef,
        to: Option<SocketAddr>,
        payload: &[u8],
        waker: &Waker,
    ) -> Poll<Result<(), Errno>> {
        let Some(found) = self.udp.find(socket) else {
            return Poll::Ready(Err(Errno::BrokenPipe));
        };
        let Some(to) = to.or(found.peer) else {
            return Poll::Ready(Err(Errno::NoDestination));
        };
        let target = match found.target(to) {
            Ok(target) if payload.len() <= longest(target) => target,
            Ok(_) => return Poll::Ready(Err(Errno::MessageTooLong)),
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let Some(error) = found.error.take() {
            return Poll::Ready(Err(error));
        }
        let limits = self.machines[found.host as usize].limits;
        let capacity = found.options.send_buffer.unwrap_or(limits.udp_send_buffer);
        if found.in_flight >= capacity.max(1) {
            keep(&mut found.senders, waker);
            self.waits(Waits::Send(to));
            return Poll::Pending;
        }
        let (host, local) = (found.host, found.local);
        let source = match self.source(host, local, target.ip()) {
            Ok(ip) => SocketAddr::new(ip, local.port()),
            Err(error) => return Poll::Ready(Err(error)),
        };
        let everyone = is_broadcast(target.ip());
        let receivers: Vec<_> = if everyone {
            (0..self.machines.len() as u32).collect()
        } else {
            // An address nobody has: the datagram vanishes.
            self.route(host, target.ip()).into_iter().collect()
        };
        let size = RECORD + payload.len();
        let machine = &self.machines[host as usize];
        let room = machine.datagram_spare();
        if size.saturating_mul(receivers.len()) > room {
            return Poll::Ready(Err(Errno::NoBuffers));
        }
        let hash = self.config.payload_hash()(payload);
        self.record_write("udp", socket.slot, payload.len(), hash);
        let payload = Bytes::copy_from_slice(payload);
        for to_host in receivers {
            let packet = Packet {
                from: socket,
                from_host: host,
                source,
                to_host,
                to: target,
                payload: payload.clone(),
                charged: 0,
            };
            self.post(packet);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the oldest datagram that waits, of which the receiver wants `max` bytes.
    pub(crate) fn receive_datagram(
        &mut self,
        socket: SocketRef,
        max: usize,
        waker: &Waker,
    ) -> Poll<Result<Received, Errno>> {
        let Some(found) = self.udp.find(socket) else {
            return Poll::Ready(Err(Errno::NotConnected));
        };
        if let Some(error) = found.error.take() {
            return Poll::Ready(Err(error));
        }
        let Some((from, mut payload)) = found.received.pop_front() else {
            let local = found.local;
            keep(&mut found.receivers, waker);
            self.waits(Waits::Receive(local));
            return Poll::Pending;
        };
        let size = RECORD + payload.len();
        found.queued -= size;
        let host = found.host;
        self.vacate_datagrams(host, size);
        let (slot, length) = (u64::from(socket.slot), payload.len() as u64);
        self.record(EventKind::Read, "udp", slot, length);
        let truncated = payload.len() > max;
        payload.truncate(max);
        Poll::Ready(Ok(Received {
            payload,
            from,
            truncated,
        }))
    }

    /// The address a datagram to `to` comes from.
    fn source(&self, host: u32, local: SocketAddr, to: IpAddr) -> Result<IpAddr, Errno> {
        let bound = local.ip().to_canonical();
        if !bound.is_unspecified() {
            // What comes from a loopback address stays on its host.
            return match bound.is_loopback() && !self.machines[host as usize].owns(to) {
                true => Err(Errno::Invalid),
                false => Ok(bound),
            };
        }
        let machine = &self.machines[host as usize];
        Ok(match to {
            // As on Linux, from the first of the loopback addresses to any of them.
            IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            ip if machine.owns(ip) => ip,
            IpAddr::V4(_) => IpAddr::V4(machine.v4),
            IpAddr::V6(_) => IpAddr::V6(machine.v6),
        })
    }
}

impl UdpOptions {
    /// As on Linux twice what is asked for, because of the records.
    fn receives_at_most(&self, limits: &HostLimits) -> usize {
        self.recv_buffer
            .map_or(limits.udp_recv_buffer, |asked| asked.saturating_mul(2))
    }
}

impl UdpSocket {
    /// Where a datagram to `to` goes, in canonical form.
    fn target(&self, to: SocketAddr) -> Result<SocketAddr, Errno> {
        if to.port() == 0 {
            return Err(Errno::Invalid);
        }
        let target = canonical(to);
        match (self.local.is_ipv4(), to.is_ipv4(), target.is_ipv4()) {
            (true, false, _) => return Err(Errno::FamilyNotSupported),
            (false, _, true) if self.options.v6only => return Err(Errno::NetUnreachable),
            _ => {}
        }
        if is_broadcast(target.ip()) && !self.options.broadcast {
            return Err(Errno::NotAllowed);
        }
        // As on Linux, "any" is this host.
        let ip = match target.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Ok(SocketAddr::new(ip, target.port()))
    }
}

fn longest(to: SocketAddr) -> usize {
    if to.is_ipv4() { LONGEST_V4 } else { LONGEST_V6 }
}

fn is_broadcast(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}
