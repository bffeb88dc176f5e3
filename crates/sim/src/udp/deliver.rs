//! Datagrams under way, and what their arrival does.

use super::RECORD;
use crate::errno::Errno;
use crate::event::Event;
use crate::oracle::{self, Scope};
use crate::state::State;
use crate::table::SocketRef;
use crate::tcp::canonical;
use crate::trace::EventKind;
use crate::wire::{Fate, Way};
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
    /// What of its sender's buffer it takes until it arrives.
    pub(crate) charged: usize,
}

impl Packet {
    fn size(&self) -> usize {
        RECORD + self.payload.len()
    }
}

impl State {
    /// Puts a datagram on its way. Within a host it is there at once, as in a kernel: a socket that
    /// is opened later never hears it.
    pub(super) fn post(&mut self, mut packet: Packet) {
        let (from, to) = (packet.from_host, packet.to_host);
        let Some(socket) = self.udp.find(packet.from) else {
            return;
        };
        packet.charged = packet.size();
        socket.in_flight += packet.charged;
        self.occupy_datagrams(from, packet.charged);
        if from == to {
            let cause = self.cause;
            self.deliver_datagram(packet);
            self.cause = cause;
            return;
        }
        self.launch_datagram(packet, 0);
    }

    /// Puts a datagram on the wire, to arrive not before `earliest`.
    pub(crate) fn launch_datagram(&mut self, packet: Packet, earliest: u64) -> Option<u64> {
        let way = (packet.from_host, packet.to_host);
        let wires = &mut self.net.wires;
        let fate = wires.judge(&mut self.oracle, self.now, way, packet.payload.len());
        match fate {
            Fate::Held if self.net.wires.is_full(way) => {
                self.left(&packet);
                self.count_lost("udp", u64::from(packet.to.port()), 0);
                None
            }
            Fate::Lost => {
                self.left(&packet);
                let (port, length) = (u64::from(packet.to.port()), packet.payload.len() as u64);
                self.count_lost("udp", port, length);
                None
            }
            Fate::Held => {
                // Its sender is rid of it: what is kept is the link's.
                self.left(&packet);
                let packet = Packet {
                    charged: 0,
                    ..packet
                };
                let event = Event::Datagram(Box::new(packet));
                self.net.wires.keep(way, event, self.cause);
                None
            }
            Fate::Arrives(arrival) => {
                let arrival = arrival.max(earliest);
                if self.net.wires.is_doubled(&mut self.oracle, way) {
                    self.launch_copy(&packet);
                }
                let later = self.net.wires.is_overtaken(&mut self.oracle, way);
                let arrival = match (self.udp.find(packet.from), later) {
                    (_, Some(later)) => arrival.saturating_add(later),
                    (Some(socket), None) => {
                        let last = socket.arrivals.entry(way.1).or_insert(0);
                        *last = arrival.max(*last);
                        *last
                    }
                    (None, None) => arrival,
                };
                let event = Event::Datagram(Box::new(packet));
                self.events.push(arrival, 0, event, self.cause);
                // What is overtaken holds up nobody.
                later.is_none().then_some(arrival)
            }
        }
    }

    /// A link made a second one of a datagram: it goes its own way, and nobody answers for it.
    fn launch_copy(&mut self, packet: &Packet) {
        let way = (packet.from_host, packet.to_host);
        let wires = &mut self.net.wires;
        let fate = wires.judge(&mut self.oracle, self.now, way, packet.payload.len());
        if let Fate::Arrives(arrival) = fate {
            let copy = Packet {
                from: SocketRef::NOBODY,
                payload: packet.payload.clone(),
                charged: 0,
                ..*packet
            };
            let event = Event::Datagram(Box::new(copy));
            self.events.push(arrival, 0, event, self.cause);
        }
    }

    /// A datagram no longer takes room at its sender.
    fn left(&mut self, packet: &Packet) {
        self.vacate_datagrams(packet.from_host, packet.charged);
        if let Some(sender) = self.udp.find(packet.from) {
            sender.in_flight -= packet.charged;
            let waiting = std::mem::take(&mut sender.senders);
            self.woken.extend(waiting);
        }
    }

    /// A datagram arrives.
    pub(crate) fn deliver_datagram(&mut self, packet: Packet) {
        let size = packet.size();
        self.left(&packet);
        let (port, length) = (u64::from(packet.to.port()), packet.payload.len() as u64);
        if self.machines[packet.to_host as usize].off {
            self.count_lost("udp", port, length);
            return;
        }
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
        let full = socket.queued > socket.options.receives_at_most(&machine.limits);
        if full || size > machine.datagram_spare() {
            self.record(EventKind::Datagram, "dropped", port, length);
            return;
        }
        let from = match (packet.source.ip(), socket.local.is_ipv4()) {
            (IpAddr::V4(ip), false) => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), packet.source.port())
            }
            _ => packet.source,
        };
        socket.queued += size;
        socket.received.push_back((from, packet.payload));
        let waiting = std::mem::take(&mut socket.receivers);
        self.woken.extend(waiting);
        self.net.bytes += length;
        self.net.datagrams += 1;
        self.occupy_datagrams(packet.to_host, size);
    }

    /// Nobody is at the port. A connected sender hears of it, one of another host most of the time.
    fn unreachable_port(&mut self, packet: &Packet) {
        let sender = self.udp.find(packet.from);
        let peer = sender.and_then(|sender| sender.peer).map(canonical);
        if peer != Some(packet.to) {
            return;
        }
        if packet.from_host == packet.to_host {
            self.was_unreachable(packet.from, packet.to);
            return;
        }
        // Hosts limit how often they tell others.
        let scope = Scope::Host(packet.to_host);
        if self.oracle.choose(oracle::UNREACHABLE, scope, 8) == 7 {
            return;
        }
        let way = (packet.to_host, packet.from_host);
        self.launch_unreachable(way, packet.from, packet.to, 0);
    }

    /// Puts the answer to a datagram that found nobody on the wire.
    pub(crate) fn launch_unreachable(
        &mut self,
        way: Way,
        to: SocketRef,
        peer: SocketAddr,
        earliest: u64,
    ) -> Option<u64> {
        let event = Event::Unreachable { to, peer };
        let net = &mut self.net;
        match net.wires.judge(&mut self.oracle, self.now, way, 0) {
            Fate::Arrives(arrival) => {
                let arrival = arrival.max(earliest);
                self.events.push(arrival, 0, event, self.cause);
                return Some(arrival);
            }
            Fate::Held => self.net.wires.keep(way, event, self.cause),
            Fate::Lost => self.count_lost("unreachable", u64::from(to.slot), 0),
        }
        None
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
