//! The simulated TCP: sockets, and segments as events.
//!
//! Invariants
//! 1. Bytes of one direction arrive in the order written: segments of a socket never overtake.
//! 2. `unsent + in_flight <= send_capacity`: a writer waits when its buffer is full.
//! 3. `credit + in_flight data + unread + window_owed == receive capacity` of the peer: what is sent
//!    always fits, so nothing is dropped at the receiver.
//! 4. A reference names one socket for ever; a segment for a socket that is gone is answered as a
//!    kernel answers one for a closed port.
//!
//! Sockets hold no reference to a task but the wakers of at most one waiter per direction.

mod connect;
mod deliver;
mod listen;
mod stream;

pub(crate) use connect::{FIRST_EPHEMERAL, Syn, any_like};
pub(crate) use listen::Listener;
pub(crate) use stream::{Phase, Stream};

use crate::builder::Config;
use crate::errno::Errno;
use crate::event::Event;
use crate::link::Link;
use crate::machine::Machine;
use crate::oracle::{self, Scope};
use crate::state::State;
use crate::table::{SocketRef, Table};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Payload of one segment between hosts and within one.
const SEGMENT: usize = 1_460;
const LOOPBACK_SEGMENT: usize = 32_768;

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
    /// So many bytes of the send buffer are free again; `fin`: the FIN arrived too.
    Ack {
        bytes: usize,
        fin: bool,
    },
    /// The reader took so many bytes: as many more may be sent.
    Window {
        bytes: usize,
    },
    Rst,
}

impl Segment {
    fn describe(&self) -> (&'static str, u64) {
        match self {
            Segment::SynAck { .. } => ("syn-ack", 0),
            Segment::Established { .. } => ("established", 0),
            Segment::Data(bytes) => ("data", bytes.len() as u64),
            Segment::Fin => ("fin", 0),
            Segment::Ack { bytes, .. } => ("ack", *bytes as u64),
            Segment::Window { bytes } => ("window", *bytes as u64),
            Segment::Rst => ("rst", 0),
        }
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

pub(crate) struct Net {
    sockets: Table<Socket>,
    default_link: Link,
    links: BTreeMap<(u32, u32), Link>,
    /// Payload bytes delivered to receivers.
    pub(crate) bytes: u64,
    /// Datagrams delivered to receivers.
    pub(crate) datagrams: u64,
    pub(crate) buffered: usize,
    pub(crate) peak_buffered: usize,
}

impl Net {
    pub(crate) fn new(config: &Config) -> Net {
        Net {
            sockets: Table::new(),
            default_link: config.default_link,
            links: BTreeMap::new(),
            bytes: 0,
            datagrams: 0,
            buffered: 0,
            peak_buffered: 0,
        }
    }

    pub(crate) fn set_link(&mut self, from: u32, to: u32, link: Link) {
        self.links.insert((from, to), link);
    }

    fn link(&self, from: u32, to: u32) -> Link {
        if from == to {
            Link::loopback()
        } else {
            *self.links.get(&(from, to)).unwrap_or(&self.default_link)
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
        self.sockets.select(|socket| socket.host == host)
    }

    /// The sockets that programs of `host` hold.
    pub(crate) fn held_by(&self, host: u32) -> impl Iterator<Item = &Socket> {
        let sockets = self.sockets.iter();
        sockets.filter(move |socket| socket.host == host && socket.held)
    }

    pub(crate) fn count_buffered(&mut self, bytes: usize) {
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

impl State {
    /// The running host of an address, as `from` sees it.
    pub(crate) fn route(&self, from: u32, ip: IpAddr) -> Option<u32> {
        if ip.is_loopback() {
            return Some(from);
        }
        let owner = |machine: &Machine| machine.owns(ip);
        self.machines
            .iter()
            .position(owner)
            .map(|index| index as u32)
    }

    pub(crate) fn latency(&mut self, from: u32, to: u32) -> u64 {
        let link = self.net.link(from, to);
        let spread = link.longest.saturating_sub(link.shortest).saturating_add(1);
        link.shortest
            + self
                .oracle
                .choose(oracle::LATENCY, Scope::Link(from, to), spread)
    }

    /// Sends `segment` of the socket `from` to its peer, behind what it sent before.
    fn transmit(&mut self, from: SocketRef, segment: Segment) {
        let Some(socket) = self.net.find(from) else {
            return;
        };
        let host = socket.host;
        let Kind::Stream(stream) = &mut socket.kind else {
            return;
        };
        let (Some(to), to_host) = (stream.remote, stream.remote_host) else {
            return;
        };
        let latency = self.latency(host, to_host);
        let now = self.now;
        let Some(stream) = self.net.stream(from) else {
            return;
        };
        let arrival = now.saturating_add(latency).max(stream.last_arrival);
        stream.last_arrival = arrival;
        let event = Event::Segment { from, to, segment };
        self.events.push(arrival, 0, event, self.cause);
    }

    /// Answers for the socket `gone`, which no longer exists on `host`.
    fn answer(&mut self, host: u32, gone: SocketRef, to: SocketRef, segment: Segment) {
        let Some(to_host) = self.net.find(to).map(|socket| socket.host) else {
            return;
        };
        let arrival = self.now.saturating_add(self.latency(host, to_host));
        let event = Event::Segment {
            from: gone,
            to,
            segment,
        };
        self.events.push(arrival, 0, event, self.cause);
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
        machine.release_port(removed.local.port());
        match removed.kind {
            Kind::Stream(mut stream) => {
                self.net.buffered -= stream.unsent.len() + stream.unread;
                if let Some(key) = stream.retry.take() {
                    self.events.cancel(key);
                }
                self.dropped.extend(stream.read_waker.take());
                self.dropped.extend(stream.write_waker.take());
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
