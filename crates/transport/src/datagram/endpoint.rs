mod builder;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

#[cfg(unix)]
use bowline_backend::net::UnixDatagram;
use bowline_backend::net::{Received, UdpSocket};
use bowline_backend::stream::{Address, UnixAddress};
use bowline_codec::MessageCodec;
use bowline_concurrency::yield_now;
use bytes::{Bytes, BytesMut};

pub use builder::{DatagramEndpointBuilder, UnnamedSender, UnnamedSenders};

use super::counters::{Counts, DatagramCounters};
use super::packet::{self, Came, Descriptors, Packet};
use super::receiver::{refused, taken, truncated};
use super::sender::{encode, too_long_for_system};
use super::{DatagramSocket, is_refusal, is_too_long};
use crate::attribute::{AttributeRequest, Attributes, Extra};
use crate::error::{Delivery, Error, ErrorKind, Operation};
use crate::span::OperationSpan;

/// After as many packets that are nobody's a receiver lets other tasks run.
const OF_NOBODY_IN_A_ROW: usize = 32;

/// A socket of datagrams without a peer, and a codec: messages from and to anybody.
///
/// Any number of tasks may send and receive at once, through a reference or an
/// [`Arc`](std::sync::Arc); each packet goes to one of those who receive. An error is of one packet,
/// names its [`peer`](Error::peer), and the endpoint stays usable.
///
/// The refusal of an earlier packet, which a system may tell, cannot be said to be of any peer:
/// it is counted and no error, unless the socket is connected after all.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Text;
/// use bowline_transport::{DatagramEndpoint, Extra, LocalAddr};
///
/// # Backend::Smol.block_on(async {
/// let any = "127.0.0.1:0".parse().unwrap();
/// let one = DatagramEndpoint::udp(any, Text::new())?;
/// let other = DatagramEndpoint::udp(any, Text::new())?;
///
/// one.send_to(&"hello".to_owned(), &other.extra::<LocalAddr>().unwrap()).await?;
/// let (message, sender) = other.recv_from().await?;
/// assert_eq!((message.as_str(), Some(sender)), ("hello", one.extra::<LocalAddr>()));
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
pub struct DatagramEndpoint<S, C> {
    pub(super) socket: S,
    codec: C,
    max_packet: NonZeroUsize,
    limit: usize,
    unnamed: UnnamedSenders,
    connected: bool,
    attributes: Attributes,
    counts: Counts,
    /// Room for a packet, lent to whoever receives.
    spare: Mutex<BytesMut>,
}

impl<S: DatagramSocket, C: MessageCodec> DatagramEndpoint<S, C> {
    /// Speaks `codec` over `socket`, with the default limits.
    pub fn new(socket: S, codec: C) -> Self {
        DatagramEndpointBuilder::default().over(socket, codec)
    }

    /// Sends `message` to `to`, in one packet.
    ///
    /// # Errors
    ///
    /// The codec's, or [`TooLarge`](ErrorKind::TooLarge) where the message does not fit into a
    /// packet; [`Refused`](ErrorKind::Refused) and [`Connect`](ErrorKind::Connect) of a Unix
    /// socket where nobody is at `to`; [`Address`](ErrorKind::Address) where `to` is of another
    /// family; what else the system reports. Nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the packet is sent in the poll that says so.
    pub async fn send_to(&self, message: &C::Sent, to: &Address) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || Some(to));
        let packet = self.encode(message, to);
        span.around(async { self.send_packet(packet?, to).await })
            .await
    }

    /// One packet for `to`.
    pub(super) fn encode(&self, message: &C::Sent, to: &Address) -> Result<Bytes, Error> {
        let packet = encode(&self.codec, message, &mut BytesMut::new(), self.limit);
        packet.map_err(|error| Error::from_encode(error).with_peer(Some(to.clone())))
    }

    /// Receives a message, and who sent it.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) where the codec refused the packet, or more of it came than
    /// [`max_packet`](DatagramEndpointBuilder::max_packet); the error names the sender. What the
    /// system reports. The next call goes on.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a packet is taken in the poll that reports it.
    pub async fn recv_from(&self) -> Result<(C::Received, Address), Error> {
        // Of whom it will be is not known before.
        let span = OperationSpan::new(Operation::Recv, || None::<Address>);
        let received = async {
            let packet = self.recv_packet(Descriptors::Closed).await?;
            let message = self.decode(packet.truncated, &packet.bytes);
            match message {
                Ok(message) => Ok((message, packet.from)),
                Err(error) => Err(error.with_peer(Some(packet.from))),
            }
        };
        span.around(received).await
    }

    /// By the bytes alone, so that what waits needs of the message nothing.
    pub(super) async fn send_packet(&self, packet: Bytes, to: &Address) -> Result<(), Error> {
        let mut sent = self.socket.send_to(&packet, to).await;
        if let Err(error) = &sent
            && is_refusal(error)
            && matches!(to, Address::Inet(_))
        {
            // UDP tells of an earlier packet, and has not sent this one.
            self.counts.refused.one();
            sent = self.socket.send_to(&packet, to).await;
        }
        sent.map_err(|error| not_sent(packet.len(), error, to))
    }

    /// The next packet that is somebody's.
    pub(crate) async fn recv_packet(&self, descriptors: Descriptors) -> Result<Packet, Error> {
        let mut lent = self.lend();
        let mut in_a_row = 0;
        loop {
            if in_a_row >= OF_NOBODY_IN_A_ROW {
                in_a_row = 0;
                yield_now().await;
            }
            in_a_row += 1;
            lent.buffer.clear();
            let buffer = &mut lent.buffer;
            let received = packet::receive(&self.socket, buffer, self.max_packet, descriptors);
            match received.await {
                Ok((received, came)) => {
                    if let Some(packet) = self.of_somebody(received, came, buffer)? {
                        return Ok(packet);
                    }
                }
                Err(error) if is_refusal(&error) && !self.connected => self.counts.refused.one(),
                Err(error) => return Err(Error::from_io(Operation::Recv, error)),
            }
        }
    }

    /// Room for a packet.
    fn lend(&self) -> Lent<'_> {
        Lent {
            buffer: std::mem::take(&mut *self.lock()),
            spare: &self.spare,
        }
    }

    /// The packet that was received into `buffer`, if it is somebody's.
    fn of_somebody(
        &self,
        received: Received,
        came: Came,
        buffer: &mut BytesMut,
    ) -> Result<Option<Packet>, Error> {
        let from = match (received.from, self.unnamed) {
            (Some(from), _) => from,
            (None, UnnamedSenders::Handle) => Address::Unix(UnixAddress::UNNAMED),
            (None, warn) => {
                self.counts.unnamed.one();
                let len = received.len;
                return match warn {
                    UnnamedSenders::Warn => Err(Error::new(Operation::Recv, ErrorKind::Address)
                        .with_delivery(Delivery::MaybeSent)
                        .with_source(UnnamedSender { len })),
                    _ => Ok(None),
                };
            }
        };
        if received.truncated {
            self.counts.truncated.one();
        }
        Ok(Some(Packet {
            bytes: taken(buffer),
            truncated: received.truncated,
            from,
            came,
        }))
    }

    pub(crate) fn decode(&self, cut: bool, packet: &Bytes) -> Result<C::Received, Error> {
        let decoded = match cut {
            true => Err(truncated(self.max_packet.get())),
            false => self.codec.decode(packet),
        };
        decoded.map_err(refused)
    }
}

impl<S, C> DatagramEndpoint<S, C> {
    /// Our address, where the socket could say.
    pub fn local_addr(&self) -> Option<&Address> {
        self.attributes.local_addr()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// How many packets were left out, and why.
    pub fn counters(&self) -> DatagramCounters {
        self.counts.snapshot()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BytesMut> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a packet of so many bytes that the system did not send.
pub(super) fn not_sent(len: usize, error: io::Error, to: &Address) -> Error {
    let error = match is_too_long(&error) {
        true => Error::from_encode(too_long_for_system(len, error)),
        false => Error::from_io(Operation::Send, error).with_delivery(Delivery::NotSent),
    };
    error.with_peer(Some(to.clone()))
}

/// The room for a packet on loan; dropped, the next receiver has it.
struct Lent<'a> {
    buffer: BytesMut,
    spare: &'a Mutex<BytesMut>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *spare, &mut self.buffer);
    }
}

impl<C: MessageCodec> DatagramEndpoint<UdpSocket, C> {
    /// Speaks `codec` over UDP at `at`; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::bind`].
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn udp(at: SocketAddr, codec: C) -> Result<Self, Error> {
        bound(UdpSocket::bind(at), at, codec)
    }
}

#[cfg(unix)]
impl<C: MessageCodec> DatagramEndpoint<UnixDatagram, C> {
    /// Speaks `codec` at a Unix address.
    ///
    /// # Errors
    ///
    /// As [`UnixDatagram::bind`].
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn unix_datagram(at: &UnixAddress, codec: C) -> Result<Self, Error> {
        bound(UnixDatagram::bind(at), at, codec)
    }
}

fn bound<S: DatagramSocket, C: MessageCodec>(
    socket: io::Result<S>,
    at: impl fmt::Display,
    codec: C,
) -> Result<DatagramEndpoint<S, C>, Error> {
    match socket {
        Ok(socket) => Ok(DatagramEndpoint::new(socket, codec)),
        Err(error) => Err(Error::from_io(Operation::Bind, error).with_place(at)),
    }
}

impl<S, C> Extra for DatagramEndpoint<S, C> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.attributes.provide(request);
    }
}

impl<S, C> fmt::Debug for DatagramEndpoint<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramEndpoint")
            .field("local", &self.local_addr())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
