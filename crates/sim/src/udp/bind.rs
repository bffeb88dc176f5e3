//! Binding, connecting and closing.

use super::UdpSocket;
use crate::errno::Errno;
use crate::net::UdpOptions;
use crate::oracle;
use crate::state::State;
use crate::table::SocketRef;
use crate::tcp::{FIRST_EPHEMERAL, any_like, canonical};
use crate::trace::EventKind;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

impl State {
    /// Opens a socket at `at`; port 0 draws a free one.
    pub(crate) fn bind_udp(
        &mut self,
        at: SocketAddr,
        options: &UdpOptions,
    ) -> Result<SocketRef, Errno> {
        let host = self.host();
        let owned = self.machine().owns(at.ip().to_canonical());
        if !at.ip().is_unspecified() && !owned && !at.ip().is_loopback() {
            return Err(Errno::AddrNotAvailable);
        }
        let mut local = at;
        if at.port() == 0 {
            local.set_port(self.udp_port()?);
        } else if self.udp_taken(at, options) {
            return Err(Errno::AddrInUse);
        }
        self.machine().take_descriptor()?;
        let socket = self.udp.insert(UdpSocket {
            host,
            local,
            peer: None,
            options: *options,
            error: None,
            received: VecDeque::new(),
            queued: 0,
            in_flight: 0,
            arrivals: BTreeMap::new(),
            receivers: Vec::new(),
            senders: Vec::new(),
        });
        let port = local.port();
        let of_port = self.machine().udp_ports.entry(port).or_default();
        of_port.push(socket);
        self.record(
            EventKind::Open,
            "udp",
            u64::from(socket.slot),
            u64::from(port),
        );
        Ok(socket)
    }

    /// Opens a socket that hears `to` alone.
    pub(crate) fn connect_udp(
        &mut self,
        to: SocketAddr,
        options: &UdpOptions,
    ) -> Result<SocketRef, Errno> {
        let at = options.local.unwrap_or(SocketAddr::new(any_like(to), 0));
        if at.is_ipv4() != to.is_ipv4() {
            return Err(Errno::Invalid);
        }
        let socket = self.bind_udp(at, options)?;
        let connected = self.point_at(socket, to);
        if connected.is_err() {
            self.close_udp(socket);
        }
        connected.map(|()| socket)
    }

    fn point_at(&mut self, socket: SocketRef, to: SocketAddr) -> Result<(), Errno> {
        let Some(found) = self.udp.find(socket) else {
            return Err(Errno::Invalid);
        };
        let (host, local) = (found.host, found.local);
        let target = found.target(to)?;
        let ip = match (self.source(host, local, target.ip())?, to.is_ipv4()) {
            (IpAddr::V4(ip), false) => IpAddr::V6(ip.to_ipv6_mapped()),
            (ip, _) => ip,
        };
        if let Some(found) = self.udp.find(socket) {
            found.peer = Some(to);
            found.local.set_ip(ip);
        }
        Ok(())
    }

    fn udp_port(&mut self) -> Result<u16, Errno> {
        let count = self.machine().limits.ephemeral_ports;
        let start = self.choose(oracle::UDP_PORT, u64::from(count)) as u16;
        let machine = self.machine();
        (start..count)
            .chain(0..start)
            .map(|step| FIRST_EPHEMERAL.saturating_add(step))
            .find(|port| !machine.udp_ports.contains_key(port))
            .ok_or(Errno::AddrInUse)
    }

    fn udp_taken(&mut self, at: SocketAddr, options: &UdpOptions) -> bool {
        let others = self.machine().udp_ports.get(&at.port()).cloned();
        let conflicts = |other: SocketRef| {
            let Some(found) = self.udp.peek(other) else {
                return false;
            };
            if options.reuse_port && found.options.reuse_port {
                return false;
            }
            let (mine, theirs) = (at.ip(), found.local.ip());
            match (mine.is_ipv4(), theirs.is_ipv4()) {
                (true, true) | (false, false) => {
                    mine == theirs || mine.is_unspecified() || theirs.is_unspecified()
                }
                (true, false) => theirs.is_unspecified() && !found.options.v6only,
                (false, true) => mine.is_unspecified() && !options.v6only,
            }
        };
        others.unwrap_or_default().into_iter().any(conflicts)
    }

    /// The owner is gone: what waits to be received is lost.
    pub(crate) fn close_udp(&mut self, socket: SocketRef) {
        let Some(gone) = self.udp.remove(socket) else {
            return;
        };
        let machine = &mut self.machines[gone.host as usize];
        machine.free_descriptor();
        let port = gone.local.port();
        if let Some(of_port) = machine.udp_ports.get_mut(&port) {
            of_port.retain(|&other| other != socket);
            if of_port.is_empty() {
                machine.udp_ports.remove(&port);
            }
        }
        self.vacate_datagrams(gone.host, gone.queued);
        self.woken.extend(gone.receivers);
        self.woken.extend(gone.senders);
        self.record(EventKind::Close, "udp", u64::from(socket.slot), 0);
    }

    /// The socket of `host` for a datagram: the one connected to its sender, else the most specific
    /// address; equal ones share by hash.
    pub(super) fn udp_receiver(
        &self,
        host: u32,
        source: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketRef> {
        let of_port = self.machines[host as usize].udp_ports.get(&to.port())?;
        let mut found = Vec::new();
        for &socket in of_port {
            let Some(candidate) = self.udp.peek(socket) else {
                continue;
            };
            let peer = candidate.peer.map(canonical);
            if peer.is_some_and(|peer| peer != source) || !candidate.hears(to.ip()) {
                continue;
            }
            let wildcard = candidate.local.ip().is_unspecified();
            let foreign = candidate.local.is_ipv4() != to.is_ipv4();
            found.push(((peer.is_none(), wildcard, foreign), socket));
        }
        let best = found.iter().map(|entry| entry.0).min()?;
        found.retain(|entry| entry.0 == best);
        let mut key = [0; 18];
        key[..2].copy_from_slice(&source.port().to_le_bytes());
        match source.ip() {
            IpAddr::V4(ip) => key[2..6].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => key[2..].copy_from_slice(&ip.octets()),
        }
        let index = crate::xxhash::xxh64(&key, 0) as usize % found.len();
        Some(found[index].1)
    }
}

impl UdpSocket {
    fn hears(&self, to: IpAddr) -> bool {
        match (self.local.ip(), to) {
            (IpAddr::V4(ip), IpAddr::V4(to)) => ip == to || ip.is_unspecified(),
            (IpAddr::V6(ip), IpAddr::V6(to)) => ip == to || ip.is_unspecified(),
            (IpAddr::V6(ip), IpAddr::V4(to)) => {
                !self.options.v6only && (ip.is_unspecified() || ip.to_ipv4_mapped() == Some(to))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}
