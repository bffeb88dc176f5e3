//! Sockets of datagrams inside one process.

mod link;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_backend::net::Received;
use bowline_backend::stream::Address;
use bytes::BytesMut;

use self::link::{Link, Waiting};
use super::{DatagramRecv, DatagramSend, MOST_OF_UDP_V4, too_long};
use crate::attribute::{AttributeRequest, Extra, give_addresses};
use crate::memory::Side;

/// What may wait in each direction unless the builder says otherwise: what a socket of Linux has.
const DEFAULT_CAPACITY: usize = 208 * 1024;

/// One end of a pair of connected sockets of datagrams in memory.
///
/// It behaves as a Unix socket does: packets stay whole and in order, an empty one is a packet, none
/// is lost, and a sender waits while the receiver is full. A packet holds at most 65 507 bytes, as
/// over UDP. Once the other end is dropped a send is
/// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), and a receive, after what was sent
/// before, [`ConnectionReset`](io::ErrorKind::ConnectionReset), where a socket would wait for
/// ever. It needs no backend and works on any of them, and between two of them.
///
/// # Examples
///
/// ```
/// use bowline_transport::{DatagramRecv, DatagramSend, MemoryDatagram};
/// use std::num::NonZeroUsize;
///
/// # futures_util::FutureExt::now_or_never(async {
/// let (here, there) = MemoryDatagram::pair();
/// here.send(b"more than eight bytes").await?;
///
/// let mut buffer = bytes::BytesMut::new();
/// let received = there.recv_from(&mut buffer, NonZeroUsize::new(8).unwrap()).await?;
/// assert_eq!((&buffer[..], received.truncated), (&b"more tha"[..], true));
/// there.send_to(b"cut", &received.from.unwrap()).await?;
/// # std::io::Result::Ok(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[must_use = "dropping an end closes it"]
pub struct MemoryDatagram {
    link: Arc<Link>,
    side: Side,
}

impl MemoryDatagram {
    /// Two connected ends, 208 KiB each way, named `memory:a` and `memory:b`.
    pub fn pair() -> (MemoryDatagram, MemoryDatagram) {
        MemoryDatagram::builder().pair()
    }

    /// A pair with another capacity or other names.
    pub fn builder() -> MemoryDatagramBuilder {
        MemoryDatagramBuilder {
            capacity: DEFAULT_CAPACITY,
            names: [Arc::from("memory:a"), Arc::from("memory:b")],
        }
    }

    /// Sends one packet to the other end; waits while that has no room.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` beyond 65 507 bytes; [`ConnectionRefused`](io::ErrorKind::ConnectionRefused)
    /// once the other end is dropped.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the packet is sent in the poll that says so.
    pub async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let waiting = Waiting::to_send(&self.link, self.side);
        poll_fn(|cx| self.poll_send_as(waiting.id(), cx, packet)).await
    }

    fn poll_send_as(&self, id: u64, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
        if packet.len() > MOST_OF_UDP_V4 {
            return Poll::Ready(Err(too_long()));
        }
        self.link.poll_send(self.side, id, cx, packet)
    }

    fn poll_recv_as(
        &self,
        id: u64,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        self.link.poll_recv(self.side, id, cx).map_ok(|packet| {
            let len = packet.len().min(max.get());
            buffer.extend_from_slice(&packet[..len]);
            let from = Address::Named(self.link.name(self.side.peer()));
            let received = Received::new(len, Some(from));
            match len < packet.len() {
                true => received.cut(),
                false => received,
            }
        })
    }
}

/// How a pair of [`MemoryDatagram`]s is made.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `pair` is called"]
pub struct MemoryDatagramBuilder {
    capacity: usize,
    names: [Arc<str>; 2],
}

impl MemoryDatagramBuilder {
    /// How many bytes may wait in each direction; default 208 KiB. A packet counts 256 bytes more
    /// than it has; where none waits there is room for one of any length.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// What the ends are called.
    pub fn names(mut self, first: impl Into<Arc<str>>, second: impl Into<Arc<str>>) -> Self {
        self.names = [first.into(), second.into()];
        self
    }

    /// The two ends.
    pub fn pair(self) -> (MemoryDatagram, MemoryDatagram) {
        let link = Arc::new(Link::new(self.capacity, self.names));
        let end = |side| MemoryDatagram {
            link: link.clone(),
            side,
        };
        (end(Side::First), end(Side::Second))
    }
}

impl DatagramRecv for MemoryDatagram {
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        self.poll_recv_as(Waiting::POLL, cx, buffer, max)
    }

    async fn recv_from(&self, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Received> {
        let waiting = Waiting::to_recv(&self.link, self.side);
        poll_fn(|cx| self.poll_recv_as(waiting.id(), cx, buffer, max)).await
    }

    fn hears(&self) -> Option<Address> {
        Some(Address::Named(self.link.name(self.side.peer())))
    }
}

impl DatagramSend for MemoryDatagram {
    fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
        self.poll_send_as(Waiting::POLL, cx, packet)
    }

    /// There is nobody but the other end.
    async fn send_to(&self, packet: &[u8], to: &Address) -> io::Result<()> {
        match to {
            Address::Named(name) if *name == self.link.name(self.side.peer()) => {
                self.send(packet).await
            }
            Address::Named(_) => Err(io::ErrorKind::ConnectionRefused.into()),
            other => {
                let why = format!("{other} is no name within a process");
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
        }
    }

    fn max_packet(&self) -> usize {
        MOST_OF_UDP_V4
    }
}

impl Extra for MemoryDatagram {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        give_addresses(
            request,
            || Some(Address::Named(self.link.name(self.side))),
            || self.hears(),
        );
    }
}

impl Drop for MemoryDatagram {
    fn drop(&mut self) {
        self.link.close(self.side);
    }
}

impl fmt::Debug for MemoryDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDatagram")
            .field("local", &self.link.name(self.side))
            .field("peer", &self.link.name(self.side.peer()))
            .finish()
    }
}
