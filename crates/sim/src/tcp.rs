//! The simulated TCP: sockets, and segments as events.
//!
//! Invariants
//! 1. Bytes of one direction arrive in the order written: segments of a socket never overtake.
//! 2. `unsent + in_flight <= send_capacity`: a writer waits when its buffer is full.
//! 3. `credit + in_flight data + unread + window_owed == receive capacity` of the peer, what is lost
//!    or stalled counted in: what is sent always fits, so nothing is dropped at the receiver.
//! 4. A reference names one socket for ever; a segment for a socket that is gone is answered as a
//!    kernel answers one for a closed port.
//!
//! 5. Each segment arrives at most once, and what of the stream was lost is sent again before
//!    anything that comes after it.
//!
//! Sockets hold no reference to a task but the wakers of at most one waiter per direction.

mod connect;
mod delayed_ack;
mod deliver;
mod keepalive;
mod launch;
mod listen;
mod persist;
mod recovery;
mod stream;
mod time_wait;
mod transfer;

pub(crate) use connect::{FIRST_EPHEMERAL, Syn, any_like};
pub(crate) use listen::Listener;
pub(crate) use stream::{Phase, Stream};
use time_wait::Ended;
pub(crate) use time_wait::TimeWaits;

use crate::builder::Config;
use crate::by_host::OfHost;
use crate::errno::Errno;
use crate::machine::Machine;
use crate::ports::Hold;
use crate::state::State;
use crate::table::{SocketRef, Table};
use crate::wire::Wires;
use bytes::Bytes;
use launch::Owed;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug)]
pub(crate) enum Segment {
    /// The listener's answer, with its receive window.
    SynAck {
        window: usize,
    },
    /// The last part of the handshake, with the connector's receive window.
    Established {
        window: usize,
    },
    Data(Bytes),
    Fin,
    /// So many bytes of the send buffer are free again, or the FIN arrived too, or the reader took
    /// so many bytes and as many more may be sent.
    Ack(Owed),
    /// Asks whether the peer is there.
    Probe,
    Rst,
}

impl Segment {
    fn describe(&self) -> (&'static str, u64) {
        match self {
            Segment::SynAck { .. } => ("syn-ack", 0),
            Segment::Established { .. } => ("established", 0),
            Segment::Data(bytes) => ("data", bytes.len() as u64),
            Segment::Fin => ("fin", 0),
            Segment::Ack(said) if said.bytes == 0 && !said.fin && said.window > 0 => {
                ("window", said.window as u64)
            }
            Segment::Ack(said) => ("ack", said.bytes as u64),
            Segment::Probe => ("probe", 0),
            Segment::Rst => ("rst", 0),
        }
    }

    /// Whether it has its place in the stream: it is sent again until it arrives.
    fn is_of_the_stream(&self) -> bool {
        matches!(self, Segment::Data(_) | Segment::Fin)
    }
}

pub(crate) enum Kind {
    Stream(Box<Stream>),
    Listener(Box<Listener>),
}

pub(crate) struct Socket {
    pub(crate) host: u32,
    pub(crate) local: SocketAddr,
    pub(crate) kind: Kind,
    /// Whether a program holds it, so that it counts among the host's descriptors.
    held: bool,
}

impl OfHost for Socket {
    fn host(&self) -> u32 {
        self.host
    }
}

pub(crate) struct Net {
    sockets: Table<Socket>,
    pub(crate) wires: Wires,
    /// Payload bytes delivered to receivers.
    pub(crate) bytes: u64,
    /// Datagrams delivered to receivers.
    pub(crate) datagrams: u64,
    /// Packets that links lost.
    pub(crate) lost: u64,
    /// What the sockets of all hosts buffer.
    pub(crate) buffered: usize,
    pub(crate) peak_buffered: usize,
}

impl Net {
    pub(crate) fn new(config: &Config) -> Net {
        Net {
            sockets: Table::new(),
            wires: Wires::new(config.default_link),
            bytes: 0,
            datagrams: 0,
            lost: 0,
            buffered: 0,
            peak_buffered: 0,
        }
    }

    pub(crate) fn insert(&mut self, host: u32, local: SocketAddr, kind: Kind) -> SocketRef {
        self.sockets.insert(Socket {
            host,
            local,
            kind,
            held: false,
        })
    }

    pub(crate) fn find(&mut self, socket: SocketRef) -> Option<&mut Socket> {
        self.sockets.find(socket)
    }

    pub(crate) fn stream(&mut self, socket: SocketRef) -> Option<&mut Stream> {
        match &mut self.find(socket)?.kind {
            Kind::Stream(stream) => Some(stream),
            Kind::Listener(_) => None,
        }
    }

    pub(crate) fn listener(&mut self, socket: SocketRef) -> Option<&mut Listener> {
        match &mut self.find(socket)?.kind {
            Kind::Listener(listener) => Some(listener),
            Kind::Stream(_) => None,
        }
    }

    pub(crate) fn of_host(&self, host: u32) -> Vec<SocketRef> {
        self.sockets.refs_of(host)
    }

    /// The sockets that programs of `host` hold.
    pub(crate) fn held_by(&self, host: u32) -> impl Iterator<Item = &Socket> {
        self.sockets.of_host(host).filter(|socket| socket.held)
    }

    /// Sockets buffer so much more.
    pub(crate) fn gain(&mut self, bytes: usize) {
        self.buffered += bytes;
        self.peak_buffered = self.peak_buffered.max(self.buffered);
    }
}

/// An address as routing sees it: an IPv4 address mapped into IPv6 is that IPv4 address.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(IpAddr::V4(ip), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}

impl Socket {
    /// Gives its port back, unless it did when it died.
    fn release_port(&self, machine: &mut Machine) {
        let port = self.local.port();
        match &self.kind {
            Kind::Stream(stream) if !stream.has_port => {}
            Kind::Stream(stream) if stream.shares_port => {
                machine.release_flow(port, canonical(stream.peer));
            }
            Kind::Stream(stream) => {
                machine.release_port_at(port, canonical(self.local).ip(), stream.hold());
            }
            Kind::Listener(_) => machine.release_port(port),
        }
    }
}

impl State {
    /// The running host of an address, as `from` sees it.
    pub(crate) fn route(&self, from: u32, ip: IpAddr) -> Option<u32> {
        if ip.is_loopback() {
            return Some(from);
        }
        // Not by a look at each of them: there may be thousands that do nothing.
        let host = Machine::numbered_by(ip)?;
        let machine = self.machines.get(host as usize)?;
        machine.owns(ip).then_some(host)
    }

    /// Gives a socket a descriptor of its host, until it is closed.
    fn hold(&mut self, socket: SocketRef) -> Result<(), Errno> {
        if let Some(found) = self.net.find(socket)
            && !found.held
        {
            self.machines[found.host as usize].take_descriptor()?;
            found.held = true;
        }
        Ok(())
    }

    /// Frees the descriptor of a socket that its program closed.
    fn let_go(&mut self, socket: SocketRef) {
        if let Some(found) = self.net.find(socket)
            && found.held
        {
            found.held = false;
            self.machines[found.host as usize].free_descriptor();
        }
    }

    /// Removes a socket and frees its port.
    pub(crate) fn remove_socket(&mut self, socket: SocketRef) {
        self.let_go(socket);
        let Some(removed) = self.net.sockets.remove(socket) else {
            return;
        };
        let machine = &mut self.machines[removed.host as usize];
        removed.release_port(machine);
        match removed.kind {
            Kind::Stream(mut stream) => {
                machine.short_of_memory.remove(&socket);
                let buffered = stream.queued() + stream.unread;
                let (port, peer) = (removed.local.port(), canonical(stream.peer));
                if let Some(since) = stream.waits_since(self.now) {
                    let waits = &mut machine.time_waits;
                    // A connect that was given its port lets nobody listen there.
                    let hold = match stream.shares_port {
                        true => Hold::Kept,
                        false => stream.hold(),
                    };
                    let at = canonical(removed.local).ip();
                    waits.insert(since, self.now, port, Ended { peer, at, hold });
                }
                for key in stream.timers().into_iter().flatten() {
                    self.events.cancel(key);
                }
                self.dropped.extend(stream.read_waker.take());
                self.dropped.extend(stream.write_waker.take());
                self.vacate(removed.host, buffered);
            }
            Kind::Listener(listener) => {
                let port = removed.local.port();
                if let Some(list) = machine.listeners.get_mut(&port) {
                    list.retain(|&other| other != socket);
                    if list.is_empty() {
                        machine.listeners.remove(&port);
                    }
                }
                self.woken.extend(listener.waiting);
            }
        }
    }
}
