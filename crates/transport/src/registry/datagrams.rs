//! The factories of transports over sockets of datagrams.

use std::num::NonZeroUsize;
use std::sync::Arc;

#[cfg(unix)]
use bowline_backend::net::UnixDatagram;
use bowline_backend::net::{Query, UdpSocket, resolve};
use bowline_codec::{Decode, MessageCodec, Unframe};

use super::TransportFactory;
use crate::client::{Broken, lazy};
use crate::connector::in_turns;
#[cfg(unix)]
use crate::datagram::answerable_unix;
use crate::datagram::{self, DatagramSocket, DatagramTransportBuilder};
use crate::dyn_transport::{BoxFuture, DynTransport};
use crate::error::{Attempt, Error, ErrorKind, Operation};
use crate::params::{KeySpec, Params};
#[cfg(unix)]
use crate::scheme::{ABSTRACT, PATH};
use crate::scheme::{
    CONNECT_TIMEOUT, DialOptions, HOST, MAX_PACKET, PORT, connect_timeout, connected_within,
    host_and_port, max_frame,
};

const UDP: &[KeySpec] = &[HOST, PORT, CONNECT_TIMEOUT, MAX_PACKET];

#[cfg(unix)]
const UNIXGRAM: &[KeySpec] = &[PATH, ABSTRACT, CONNECT_TIMEOUT, MAX_PACKET];

/// What makes the codec of a transport's packets.
pub(super) trait PacketCodecs: Send + Sync + 'static {
    type Codec: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static;

    /// A codec, and the longest packet that it is for, if it has an opinion.
    fn make(&self) -> (Self::Codec, Option<usize>);
}

/// Codecs of messages as they are.
pub(super) struct OfMessages<F>(pub(super) F);

/// Those inside of the codecs of streams.
pub(super) struct Unframed<F>(pub(super) Arc<F>);

impl<F, C> PacketCodecs for OfMessages<F>
where
    F: Fn() -> C + Send + Sync + 'static,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    type Codec = C;

    fn make(&self) -> (C, Option<usize>) {
        ((self.0)(), None)
    }
}

impl<F, C> PacketCodecs for Unframed<F>
where
    F: Fn() -> C + Send + Sync + 'static,
    C: Unframe<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    type Codec = C::Message;

    fn make(&self) -> (C::Message, Option<usize>) {
        let codec = (self.0)();
        let most = Decode::limits(&codec).max_frame;
        (codec.unframe(), most)
    }
}

/// The factories there are, by name.
pub(super) fn factories<P: PacketCodecs>(
    codecs: &Arc<P>,
) -> impl Iterator<Item = (&'static str, Factory<P::Codec>)> + use<P> {
    let all: Vec<(&'static str, Factory<P::Codec>)> = vec![
        ("udp", Arc::new(Udp(codecs.clone()))),
        #[cfg(unix)]
        ("unixgram", Arc::new(Unixgram(codecs.clone()))),
    ];
    all.into_iter()
}

type Factory<C> =
    Arc<dyn TransportFactory<<C as MessageCodec>::Sent, <C as MessageCodec>::Received>>;

/// `udp`: connected when it is first used, to the first address of the host that can be had.
struct Udp<P>(Arc<P>);

/// `unixgram`: the same to a Unix socket.
#[cfg(unix)]
struct Unixgram<P>(Arc<P>);

impl<P, C> TransportFactory<C::Sent, C::Received> for Udp<P>
where
    P: PacketCodecs<Codec = C>,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    fn create(&self, params: &Params) -> Result<DynTransport<C::Sent, C::Received>, Error> {
        let (host, port) = host_and_port(params)?;
        let host = host.to_owned();
        dialled(&self.0, params, move || udp_to(host.clone(), port))
    }

    fn keys(&self) -> &'static [KeySpec] {
        UDP
    }
}

#[cfg(unix)]
impl<P, C> TransportFactory<C::Sent, C::Received> for Unixgram<P>
where
    P: PacketCodecs<Codec = C>,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    fn create(&self, params: &Params) -> Result<DynTransport<C::Sent, C::Received>, Error> {
        let to = crate::scheme::unix_address(params)?;
        dialled(&self.0, params, move || {
            let socket = UnixDatagram::connect_with(&to, answerable_unix());
            let failed = |error| Error::from_io(Operation::Connect, error);
            let socket = socket.map_err(|error| failed(error).with_peer(Some(to.clone().into())));
            std::future::ready(socket)
        })
    }

    fn keys(&self) -> &'static [KeySpec] {
        UNIXGRAM
    }
}

/// A transport over the socket that `connect` makes when it is first used.
fn dialled<P, C, S, F>(
    codecs: &Arc<P>,
    params: &Params,
    connect: impl Fn() -> F + Send + Sync + 'static,
) -> Result<DynTransport<C::Sent, C::Received>, Error>
where
    P: PacketCodecs<Codec = C>,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
    S: DatagramSocket,
    F: Future<Output = Result<S, Error>> + Send + 'static,
{
    let codecs = codecs.clone();
    let most = max_frame(params)?;
    let within = connect_timeout(params);
    let dial = Arc::new(move |options: &DialOptions| {
        let codecs = codecs.clone();
        let most = options.max_frame.or(most);
        let connecting = connect();
        let dialled = connected_within(within, async move {
            let socket = connecting.await?;
            let (codec, frame) = codecs.make();
            let most = most.map_or(datagram::MAX_PACKET, at_least_one);
            let most = frame.map_or(most, |frame| most.min(at_least_one(frame)));
            let builder = DatagramTransportBuilder::default().max_packet(most);
            Ok(DynTransport::new(builder.over(socket, codec)))
        });
        Box::pin(dialled) as BoxFuture<'static, _>
    });
    Ok(lazy(dial, Broken::Stays))
}

/// A socket that is connected to the first address of the host that can be had, the families by turns.
/// Nothing is sent, so whether anybody is there is not known.
async fn udp_to(host: String, port: u16) -> Result<UdpSocket, Error> {
    let place = format!("{host}:{port}");
    let found = resolve(Query::host(host, port)).await.map_err(|error| {
        Error::new(Operation::Connect, ErrorKind::Connect)
            .with_place(place)
            .with_source(error)
    })?;
    let mut failed = Vec::new();
    for to in in_turns(found) {
        match UdpSocket::connect(to) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed.push(Attempt::new(to, error)),
        }
    }
    Err(Error::of_attempts(Operation::Connect, failed, None))
}

fn at_least_one(bytes: usize) -> NonZeroUsize {
    NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN)
}
