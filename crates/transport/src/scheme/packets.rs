//! How the schemes of datagrams that are built in dial.

use std::num::NonZeroUsize;
use std::time::Duration;

#[cfg(unix)]
use bowline_backend::net::UnixDatagram;
use bowline_backend::net::{Query, UdpSocket, resolve};
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::MessageCodec;

#[cfg(unix)]
use super::{ABSTRACT, PATH, unix_address};
use super::{
    CONNECT_TIMEOUT, CONNECT_WITHIN, DialOptions, HOST, MAX_PACKET, PORT, Scheme, connect_timeout,
    connected_within, host_and_port, max_frame, params_of, unknown_name,
};
use crate::connector::in_turns;
#[cfg(unix)]
use crate::datagram::answerable_unix;
use crate::datagram::{self, DatagramSocket, DatagramTransportBuilder};
use crate::dyn_transport::DynTransport;
use crate::error::{Attempt, Error, ErrorKind, Operation};
use crate::params::{KeySpec, Params};
use crate::span::{Given, OperationSpan};
use crate::url::{At, Url, UrlErrorKind};

/// A scheme of datagrams that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketScheme {
    Udp,
    #[cfg(unix)]
    Unixgram,
}

const UDP: &[KeySpec] = &[HOST, PORT, CONNECT_TIMEOUT, MAX_PACKET];
#[cfg(unix)]
const UNIXGRAM: &[KeySpec] = &[PATH, ABSTRACT, CONNECT_TIMEOUT, MAX_PACKET];

impl PacketScheme {
    pub(crate) const ALL: &[PacketScheme] = &[
        PacketScheme::Udp,
        #[cfg(unix)]
        PacketScheme::Unixgram,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            PacketScheme::Udp => "udp",
            #[cfg(unix)]
            PacketScheme::Unixgram => "unixgram",
        }
    }

    pub(crate) fn keys(self) -> &'static [KeySpec] {
        match self {
            PacketScheme::Udp => UDP,
            #[cfg(unix)]
            PacketScheme::Unixgram => UNIXGRAM,
        }
    }

    /// The one of a URL; of one of streams it says what is for those.
    pub(crate) fn of(url: &Url) -> Result<PacketScheme, Error> {
        let mut known = PacketScheme::ALL.iter().copied();
        if let Some(scheme) = known.find(|scheme| scheme.name() == url.scheme()) {
            return Ok(scheme);
        }
        if Scheme::ALL.iter().any(|one| one.name() == url.scheme()) {
            return Err(UrlErrorKind::OfStreams.anywhere().into());
        }
        let names: Vec<&str> = PacketScheme::ALL.iter().map(|one| one.name()).collect();
        Err(unknown_name(url.scheme(), &names))
    }

    /// What these parameters come to.
    pub(crate) fn plan(self, params: &Params) -> Result<PacketPlan, Error> {
        let to = match self {
            PacketScheme::Udp => {
                let (host, port) = host_and_port(params)?;
                To::Udp(At::Host(host.to_owned(), port))
            }
            #[cfg(unix)]
            PacketScheme::Unixgram => To::Unix(unix_address(params)?),
        };
        Ok(PacketPlan {
            to,
            connect_timeout: connect_timeout(params),
            max_packet: max_frame(params)?,
        })
    }
}

/// A way to a socket that is connected when it is first used.
#[derive(Clone, Debug)]
pub(crate) struct PacketPlan {
    to: To,
    connect_timeout: Duration,
    max_packet: Option<usize>,
}

#[derive(Clone, Debug)]
enum To {
    Udp(At),
    #[cfg(unix)]
    Unix(UnixAddress),
}

impl PacketPlan {
    pub(crate) fn of_url(url: &Url) -> Result<PacketPlan, Error> {
        let scheme = PacketScheme::of(url)?;
        scheme.plan(&params_of(url, scheme.keys())?)
    }

    pub(crate) fn over_udp(at: At) -> PacketPlan {
        PacketPlan::over(To::Udp(at))
    }

    #[cfg(unix)]
    pub(crate) fn over_unix(address: UnixAddress) -> PacketPlan {
        PacketPlan::over(To::Unix(address))
    }

    fn over(to: To) -> PacketPlan {
        PacketPlan {
            to,
            connect_timeout: CONNECT_WITHIN,
            max_packet: None,
        }
    }

    /// How long dialling takes at most.
    pub(crate) fn limit(&self) -> Duration {
        self.connect_timeout
    }

    /// Connects a socket and speaks `codec` over it, in packets no longer than the plan, the options
    /// and the frames of the codec, where it has any, allow.
    pub(crate) async fn dial<C>(
        &self,
        codec: C,
        frame: Option<usize>,
        options: &DialOptions,
    ) -> Result<DynTransport<C::Sent, C::Received>, Error>
    where
        C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
    {
        #[cfg(feature = "tls")]
        if options.tls.is_some() {
            return Err(super::wrong(
                "packets are not made secure: TLS is for streams".to_owned(),
            ));
        }
        if options.stream.is_some() {
            return Err(super::wrong(
                "packets have no limits of a stream".to_owned(),
            ));
        }
        let most = options.max_frame.or(self.max_packet);
        let most = most.map_or(datagram::MAX_PACKET, at_least_one);
        let most = frame.map_or(most, |frame| most.min(at_least_one(frame)));
        match &self.to {
            To::Udp(at) => {
                let place = match at {
                    At::Address(address) => address.to_string(),
                    At::Host(host, port) => format!("{host}:{port}"),
                };
                let span = OperationSpan::new(Operation::Connect, || Some(&place));
                let socket = span.around(connected_within(self.connect_timeout, async {
                    udp_to(at, &place).await.map(Given)
                }));
                Ok(over(socket.await?.0, codec, most))
            }
            #[cfg(unix)]
            To::Unix(to) => {
                let span = OperationSpan::new(Operation::Connect, || Some(to));
                let socket = span.of(|| {
                    let socket = UnixDatagram::connect_with(to, answerable_unix());
                    let failed = |error| Error::from_io(Operation::Connect, error);
                    socket
                        .map_err(|error| failed(error).with_peer(Some(to.clone().into())))
                        .map(Given)
                });
                Ok(over(socket?.0, codec, most))
            }
        }
    }
}

fn over<S, C>(socket: S, codec: C, most: NonZeroUsize) -> DynTransport<C::Sent, C::Received>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    let builder = DatagramTransportBuilder::default().max_packet(most);
    DynTransport::new(builder.over(socket, codec))
}

/// A socket that is connected to the first address of the host that can be had, the families by turns.
/// Nothing is sent, so whether anybody is there is not known.
async fn udp_to(at: &At, place: &str) -> Result<UdpSocket, Error> {
    let addresses = match at {
        At::Address(address) => vec![*address],
        At::Host(host, port) => {
            let found = resolve(Query::host(host.clone(), *port)).await;
            in_turns(found.map_err(|error| {
                Error::new(Operation::Connect, ErrorKind::Connect)
                    .with_place(place)
                    .with_source(error)
            })?)
        }
    };
    let mut failed = Vec::new();
    for to in addresses {
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
