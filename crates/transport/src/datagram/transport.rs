use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::net::UdpSocket;
#[cfg(unix)]
use bowline_backend::net::{UnixDatagram, UnixOptions};
use bowline_backend::stream::Address;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::MessageCodec;

use super::counters::DatagramCounters;
use super::outbound::{Outbound, Setup};
use super::receiver::DatagramReceiver;
use super::sender::DatagramSender;
use super::{DatagramSocket, MAX_PACKET, OfPackets};
use crate::attribute::{AttributeRequest, Attributes, Extra};
use crate::close_timeout::shut_down_within;
use crate::error::{Delivery, Error, ErrorKind, Operation};
use crate::span::OperationSpan;
use crate::transport::{Transport, TransportSend};

/// How long `close` waits for a packet that had no room.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connected socket of datagrams and a codec: messages both ways, one to a packet.
///
/// What a socket of datagrams is, this is: messages over UDP may be lost, doubled and reordered,
/// and the peer does not end, so [`recv`](Transport::recv) never gives `None`. An error is of one
/// packet, and the transport stays usable: [`Refused`](ErrorKind::Refused) where an earlier packet
/// found nobody, [`Decode`](ErrorKind::Decode) where the codec refused one that came or more of it
/// came than [`max_packet`](DatagramTransportBuilder::max_packet),
/// [`TooLarge`](ErrorKind::TooLarge) where a message does not fit into a packet.
///
/// Sending is atomic: a packet goes to the system in one call, and a `send` waits until it takes
/// it. One that was queued by a permit and finds no room is held, and senders wait until it is gone.
/// What comes from somebody else than the peer is dropped and counted.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Text;
/// use bowline_transport::{DatagramEndpoint, DatagramTransport, Extra, LocalAddr, Transport};
///
/// # Backend::Smol.block_on(async {
/// let server = DatagramEndpoint::udp("127.0.0.1:0".parse().unwrap(), Text::new())?;
/// let at = server.extra::<LocalAddr>().and_then(|at| at.as_inet()).unwrap();
/// let mut client = DatagramTransport::udp(at, Text::new())?;
///
/// client.send(&"ping".to_owned()).await?;
/// let (message, sender) = server.recv_from().await?;
/// assert_eq!(message, "ping");
/// server.send_to(&"pong".to_owned(), &sender).await?;
/// assert_eq!(client.recv().await?.as_deref(), Some("pong"));
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "dropping it closes the socket"]
pub struct DatagramTransport<S, C> {
    pub(super) sender: DatagramSender<S, C>,
    pub(super) receiver: DatagramReceiver<S, C>,
}

impl<S: DatagramSocket, C: MessageCodec> DatagramTransport<S, C> {
    /// Speaks `codec` over `socket`, which is connected, with the default limits.
    pub fn new(socket: S, codec: C) -> Self {
        DatagramTransportBuilder::default().over(socket, codec)
    }
}

impl<C: MessageCodec> DatagramTransport<UdpSocket, C> {
    /// Speaks `codec` over UDP to `to`. Nothing is sent by this, so nothing says whether anybody
    /// is there.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::connect`].
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn udp(to: std::net::SocketAddr, codec: C) -> Result<Self, Error> {
        let socket = UdpSocket::connect(to);
        connected(socket, to.into(), codec)
    }
}

#[cfg(unix)]
impl<C: MessageCodec> DatagramTransport<UnixDatagram, C> {
    /// Speaks `codec` to the Unix socket at `to`. On Linux ours gets a name of the system's choice,
    /// so that the peer has an address to answer to; elsewhere bind one with
    /// [`UnixOptions::local`].
    ///
    /// # Errors
    ///
    /// As [`UnixDatagram::connect_with`].
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn unix_datagram(to: &UnixAddress, codec: C) -> Result<Self, Error> {
        let socket = UnixDatagram::connect_with(to, answerable_unix());
        connected(socket, to.clone().into(), codec)
    }
}

/// On Linux a name of the system's choice, so that the peer has an address to answer to.
#[cfg(unix)]
pub(crate) fn answerable_unix() -> UnixOptions {
    let options = UnixOptions::new();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let options = options.local(UnixAddress::autobind());
    options
}

fn connected<S: DatagramSocket, C: MessageCodec>(
    socket: std::io::Result<S>,
    to: Address,
    codec: C,
) -> Result<DatagramTransport<S, C>, Error> {
    match socket {
        Ok(socket) => Ok(DatagramTransport::new(socket, codec)),
        Err(error) => Err(Error::from_io(Operation::Connect, error).with_peer(Some(to))),
    }
}

impl<S, C> DatagramTransport<S, C> {
    /// Our address, where the socket could say.
    pub fn local_addr(&self) -> Option<&Address> {
        self.outbound().setup.attributes.local_addr()
    }

    /// Who is at the other end, where the socket could say.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.sender.peer_addr()
    }

    /// How many packets were left out, and why.
    pub fn counters(&self) -> DatagramCounters {
        self.outbound().counts.snapshot()
    }

    fn outbound(&self) -> &Arc<Outbound> {
        self.sender.outbound()
    }

    fn release(&mut self) {
        self.outbound().close();
        self.sender.release();
        self.receiver.release();
    }
}

/// The limits of a [`DatagramTransport`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `over` is called"]
pub struct DatagramTransportBuilder {
    max_packet: NonZeroUsize,
    close_timeout: Duration,
}

impl Default for DatagramTransportBuilder {
    fn default() -> Self {
        DatagramTransportBuilder {
            max_packet: MAX_PACKET,
            close_timeout: CLOSE_TIMEOUT,
        }
    }
}

impl DatagramTransportBuilder {
    /// The longest packet that is sent, if the socket does not take less, and the most that is
    /// received of one; default 64 KiB. Of a longer one nothing is decoded.
    ///
    /// There has to be room before a packet comes: as much as this says, but for no more than 64 KiB of
    /// UDP, whose packets are not longer, and 1 MiB of a Unix socket, of which more is not received. It
    /// is kept while packets come, and a packet that is handed out keeps twice its length at most.
    pub fn max_packet(mut self, bytes: NonZeroUsize) -> Self {
        self.max_packet = bytes;
        self
    }

    /// How long `close` waits for a packet that had no room; default 5 s.
    pub fn close_timeout(mut self, most: Duration) -> Self {
        self.close_timeout = most;
        self
    }

    /// Speaks `codec` over `socket`, which is connected.
    pub fn over<S: DatagramSocket, C: MessageCodec>(
        self,
        socket: S,
        codec: C,
    ) -> DatagramTransport<S, C> {
        let outbound = Arc::new(Outbound::new(Setup {
            close_timeout: self.close_timeout,
            limit: self.max_packet.get().min(socket.max_packet()),
            attributes: Attributes::of(&socket),
        }));
        let hears = socket.hears();
        let (socket, codec) = (Arc::new(socket), Arc::new(codec));
        DatagramTransport {
            sender: DatagramSender::new(socket.clone(), codec.clone(), outbound.clone()),
            receiver: DatagramReceiver::new(socket, codec, outbound, hears, self.max_packet),
        }
    }
}

impl<S, C> Extra for DatagramTransport<S, C> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        request.give::<OfPackets>(|| Some(()));
        self.outbound().setup.attributes.provide(request);
    }
}

impl<S, C> Transport for DatagramTransport<S, C>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    type Sent = C::Sent;
    type Received = C::Received;
    type Sender<'a> = &'a mut DatagramSender<S, C>;
    type Receiver<'a> = &'a mut DatagramReceiver<S, C>;
    type SendHalf = DatagramSender<S, C>;
    type RecvHalf = DatagramReceiver<S, C>;

    async fn connect(&mut self) -> Result<(), Error> {
        match self.outbound().is_closed() {
            true => Err(self.outbound().closed(Operation::Connect)),
            false => Ok(()),
        }
    }

    fn split(&mut self) -> (Self::Sender<'_>, Self::Receiver<'_>) {
        (&mut self.sender, &mut self.receiver)
    }

    fn into_split(self) -> (DatagramSender<S, C>, DatagramReceiver<S, C>) {
        (self.sender, self.receiver)
    }

    fn reunite(
        sender: DatagramSender<S, C>,
        receiver: DatagramReceiver<S, C>,
    ) -> Result<Self, (DatagramSender<S, C>, DatagramReceiver<S, C>)> {
        match Arc::ptr_eq(sender.outbound(), receiver.outbound()) {
            true => Ok(DatagramTransport { sender, receiver }),
            false => Err((sender, receiver)),
        }
    }

    /// Waits until a packet that is held has gone, and closes the socket.
    async fn close(&mut self) -> Result<(), Error> {
        if self.outbound().is_closed() {
            return Ok(());
        }
        let span = OperationSpan::new(Operation::Close, || self.peer_addr().cloned());
        let most = self.outbound().setup.close_timeout;
        let closing = Closing(self);
        let sender = &mut closing.0.sender;
        let closed = shut_down_within(most, sender, DatagramSender::poll_shutdown, |sender| {
            Error::new(Operation::Close, ErrorKind::Elapsed)
                .with_peer(sender.peer_addr().cloned())
                .with_unsent_frames(sender.outbound().unsent_frames())
                .with_delivery(Delivery::NotSent)
        });
        span.around(closed).await
    }

    fn abort(&mut self) {
        self.release();
    }
}

/// A `close` under way: over or dropped, the socket is closed.
struct Closing<'a, S, C>(&'a mut DatagramTransport<S, C>);

impl<S, C> Drop for Closing<'_, S, C> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<S, C> fmt::Debug for DatagramTransport<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("local", &self.local_addr())
            .field("peer", &self.peer_addr())
            .field("unsent", &self.outbound().unsent_frames())
            .finish_non_exhaustive()
    }
}
