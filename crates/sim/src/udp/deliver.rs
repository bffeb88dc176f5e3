//! Datagrams under way, and what their arrival does.

use super::{BUFFER, RECORD};
use crate::errno::Errno;
use crate::event::Event;
use crate::oracle::{self, Scope};
use crate::state::State;
use crate::table::SocketRef;
use crate::tcp::canonical;
use crate::trace::EventKind;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// A datagram on its way; its addresses are canonical.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketRef,
    pub(crate) from_host: u32,
    pub(crate) source: SocketAddr,
    pub(crate) to_host: u32,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Bytes,
}

impl Packet {
    fn size(&self) -> usize {
        RECORD + self.payload.len()
    }
}

impl State {
    /// Puts a datagram on its way. Within a host it is there at once, as in a kernel: a socket that
    /// is opened later never hears it.
    pub(super) fn post(&mut self, packet: Packet) {
        let (from, to) = (packet.from_host, packet.to_host);
        self.machines[from as usize].datagram_bytes += packet.size();
        let Some(socket) = self.udp.find(packet.from) else {
            return;
        };
        socket.in_flight += packet.size();
        if from == to {
            let cause = self.cause;
            self.deliver_datagram(packet);
            self.cause = cause;
            return;
        }
        let arrival = self.now.saturating_add(self.latency(from, to));
        let Some(socket) = self.udp.find(packet.from) else {
            return;
        };
        let last = socket.arrivals.entry(to).or_insert(0);
        *last = arrival.max(*last);
        let arrival = *last;
        self.events
            .push(arrival, 0, Event::Datagram(Box::new(packet)), self.cause);
    }

    /// A datagram arrives.
    pub(crate) fn deliver_datagram(&mut self, packet: Packet) {
        let size = packet.size();
        self.machines[packet.from_host as usize].datagram_bytes -= size;
        if let Some(sender) = self.udp.find(packet.from) {
            sender.in_flight -= size;
            let waiting = std::mem::take(&mut sender.senders);
            self.woken.extend(waiting);
        }
        let (port, length) = (u64::from(packet.to.port()), packet.payload.len() as u64);
        self.cause = self.record(EventKind::Datagram, "udp", port, length);
        let Some(to) = self.udp_receiver(packet.to_host, packet.source, packet.to) else {
            self.unreachable_port(&packet);
            return;
        };
        let machine = &mut self.machines[packet.to_host as usize];
        let Some(socket) = self.udp.find(to) else {
            return;
        };
        // What finds no room is lost, and nobody is told.
        let full = socket.queued > socket.options.recv_buffer.unwrap_or(BUFFER);
        if full || size > machine.limits.datagram_bytes - machine.datagram_bytes {
            self.record(EventKind::Datagram, "dropped", port, length);
            return;
        }
        let from = match (packet.source.ip(), socket.local.is_ipv4()) {
            (IpAddr::V4(ip), false) => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), packet.source.port())
            }
            _ => packet.source,
        };
        machine.datagram_bytes += size;
        socket.queued += size;
        socket.received.push_back((from, packet.payload));
        let waiting = std::mem::take(&mut socket.receivers);
        self.woken.extend(waiting);
        self.net.bytes += length;
        self.net.datagrams += 1;
        self.net.count_buffered(length as usize);
    }

    /// Nobody is at the port. A connected sender hears of it, most of the time.
    fn unreachable_port(&mut self, packet: &Packet) {
        let sender = self.udp.find(packet.from);
        let peer = sender.and_then(|sender| sender.peer).map(canonical);
        // Hosts limit how often they tell.
        let scope = Scope::Host(packet.to_host);
        if peer != Some(packet.to) || self.oracle.choose(oracle::UNREACHABLE, scope, 8) == 7 {
            return;
        }
        if packet.from_host == packet.to_host {
            self.was_unreachable(packet.from, packet.to);
            return;
        }
        let latency = self.latency(packet.to_host, packet.from_host);
        let event = Event::Unreachable {
            to: packet.from,
            peer: packet.to,
        };
        self.events
            .push(self.now.saturating_add(latency), 0, event, self.cause);
    }

    /// The answer of a host at which nobody has the port.
    pub(crate) fn was_unreachable(&mut self, to: SocketRef, peer: SocketAddr) {
        let slot = u64::from(to.slot);
        let port = u64::from(peer.port());
        self.cause = self.record(EventKind::Datagram, "unreachable", slot, port);
        let Some(socket) = self.udp.find(to) else {
            return;
        };
        if socket.peer.map(canonical) == Some(peer) {
            socket.error = Some(Errno::Refused);
            let receivers = std::mem::take(&mut socket.receivers);
            let senders = std::mem::take(&mut socket.senders);
            self.woken.extend(receivers);
            self.woken.extend(senders);
        }
    }
}
