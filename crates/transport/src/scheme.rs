//! What the schemes that are built in can be told, and how they dial.

mod packets;
mod reading;
#[cfg(feature = "tls")]
mod secure;

pub(crate) use packets::{PacketPlan, PacketScheme};
pub(crate) use reading::params_of;
#[cfg(feature = "tls")]
pub(crate) use secure::{Tls, read_file};

use std::future::Future;
use std::io;
use std::time::Duration;

#[cfg(unix)]
use bowline_backend::net::UnixStream;
use bowline_backend::stream::ByteStream;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_backend::time::Instant;
use bowline_codec::Codec;
use bowline_concurrency::{now, timeout_at};

#[cfg(unix)]
use self::reading::unix_address;
use self::reading::{connector, host_and_port, max_frame, memory_name};
use crate::attribute::Extra;
use crate::connector::TcpConnector;
use crate::dyn_transport::DynTransport;
#[cfg(feature = "tls")]
use crate::error::TlsFailure;
use crate::error::{Error, ErrorKind, Operation, TimeLimit};
use crate::memory::MemoryNetwork;
use crate::message_stream::MessageStreamBuilder;
use crate::params::{KeySpec, ParamType, Params};
use crate::span::OperationSpan;
use crate::url::{Url, UrlErrorKind};

/// A scheme that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tcp,
    #[cfg(unix)]
    Unix,
    #[cfg(feature = "tls")]
    Tls,
    Mem,
}

/// How long making a connection takes at most, where nothing else is said.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// From a millisecond to a day.
const CONNECT_TIMEOUT: KeySpec =
    KeySpec::new("connect_timeout", ParamType::Duration).within(1, 24 * 60 * 60 * 1000);
/// Of a frame in memory: from a byte to 4 GiB, which no header but the longest can say.
const MAX_FRAME: KeySpec = KeySpec::new("max_frame", ParamType::Size).within(1, 4 << 30);
/// Of a packet, for which there is room before it comes: from a byte to 1 MiB.
const MAX_PACKET: KeySpec = KeySpec::new("max_frame", ParamType::Size).within(1, 1 << 20);
pub(crate) const NODELAY: KeySpec = KeySpec::new("nodelay", ParamType::Flag);
const RECONNECT: KeySpec = KeySpec::new("reconnect", ParamType::Flag);
const HOST: KeySpec = KeySpec::new("host", ParamType::Text);
const PORT: KeySpec = KeySpec::new("port", ParamType::Integer).within(1, 65_535);
#[cfg(unix)]
const PATH: KeySpec = KeySpec::new("path", ParamType::Text);
#[cfg(unix)]
const ABSTRACT: KeySpec = KeySpec::new("abstract", ParamType::Text);

const TCP: &[KeySpec] = &[HOST, PORT, CONNECT_TIMEOUT, NODELAY, MAX_FRAME, RECONNECT];
#[cfg(unix)]
const UNIX: &[KeySpec] = &[PATH, ABSTRACT, CONNECT_TIMEOUT, MAX_FRAME, RECONNECT];
#[cfg(feature = "tls")]
const TLS: &[KeySpec] = &[
    HOST,
    PORT,
    KeySpec::new("sni", ParamType::Text),
    KeySpec::new("alpn", ParamType::List),
    KeySpec::new("ca", ParamType::Text),
    KeySpec::new("close", ParamType::Text),
    CONNECT_TIMEOUT,
    NODELAY,
    MAX_FRAME,
    RECONNECT,
];

const MEM: &[KeySpec] = &[
    KeySpec::new("name", ParamType::Text),
    CONNECT_TIMEOUT,
    MAX_FRAME,
    RECONNECT,
];

impl Scheme {
    pub(crate) const ALL: &[Scheme] = &[
        Scheme::Tcp,
        #[cfg(unix)]
        Scheme::Unix,
        #[cfg(feature = "tls")]
        Scheme::Tls,
        Scheme::Mem,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::Tcp => "tcp",
            #[cfg(unix)]
            Scheme::Unix => "unix",
            #[cfg(feature = "tls")]
            Scheme::Tls => "tls",
            Scheme::Mem => "mem",
        }
    }

    pub(crate) fn keys(self) -> &'static [KeySpec] {
        match self {
            Scheme::Tcp => TCP,
            #[cfg(unix)]
            Scheme::Unix => UNIX,
            #[cfg(feature = "tls")]
            Scheme::Tls => TLS,
            Scheme::Mem => MEM,
        }
    }

    /// What these parameters come to; names of memory are those of `network`.
    pub(crate) fn plan(
        self,
        params: &Params,
        network: Option<&MemoryNetwork>,
    ) -> Result<Plan, Error> {
        let to = match self {
            Scheme::Tcp => To::Tcp(Box::new(connector(params)?)),
            #[cfg(unix)]
            Scheme::Unix => To::Unix(unix_address(params)?),
            #[cfg(feature = "tls")]
            Scheme::Tls => To::Tcp(Box::new(connector(params)?)),
            Scheme::Mem => To::Memory(
                memory_name(params)?,
                network.cloned().ok_or_else(|| {
                    wrong(
                        "names in memory are those of a network: `ClientTarget::network` says which"
                            .to_owned(),
                    )
                })?,
            ),
        };
        Ok(Plan {
            to,
            connect_timeout: connect_timeout(params),
            reconnect: params.flag("reconnect").unwrap_or(false),
            options: DialOptions {
                max_frame: max_frame(params)?,
                stream: None,
                #[cfg(feature = "tls")]
                tls: match self {
                    Scheme::Tls => Some(Tls::of(params)?),
                    _ => None,
                },
            },
        })
    }
}

/// A way to dial.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    to: To,
    /// Of all of it: files that are read and the handshake are part of a connection.
    connect_timeout: Duration,
    pub(crate) reconnect: bool,
    options: DialOptions,
}

#[derive(Clone, Debug)]
enum To {
    Tcp(Box<TcpConnector>),
    #[cfg(unix)]
    Unix(UnixAddress),
    Memory(String, MemoryNetwork),
}

/// What is done with a stream that was dialled.
#[derive(Clone, Debug, Default)]
pub(crate) struct DialOptions {
    pub(crate) max_frame: Option<usize>,
    /// The limits of a stream of messages; those of a URL count besides.
    pub(crate) stream: Option<MessageStreamBuilder>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
}

impl Plan {
    /// What a URL says, of a scheme that is built in; names of memory are those of `network`.
    pub(crate) fn of_url(url: &Url, network: Option<&MemoryNetwork>) -> Result<Plan, Error> {
        let known = Scheme::ALL.iter();
        let Some(scheme) = known.copied().find(|scheme| scheme.name() == url.scheme()) else {
            let names: Vec<&str> = Scheme::ALL.iter().map(|scheme| scheme.name()).collect();
            return Err(no_stream(url.scheme(), &names));
        };
        scheme.plan(&params_of(url, scheme.keys())?, network)
    }

    pub(crate) fn over_tcp(connector: TcpConnector) -> Plan {
        let most = connector.most();
        Plan::over(To::Tcp(Box::new(connector.for_messages())), most)
    }

    #[cfg(unix)]
    pub(crate) fn over_unix(address: UnixAddress) -> Plan {
        Plan::over(To::Unix(address), CONNECT_WITHIN)
    }

    fn over(to: To, connect_timeout: Duration) -> Plan {
        Plan {
            to,
            connect_timeout,
            reconnect: false,
            options: DialOptions::default(),
        }
    }

    /// How long dialling takes at most.
    pub(crate) fn limit(&self) -> Duration {
        self.connect_timeout
    }

    /// That somebody is trusted, for whoever dials with no options besides those of the plan.
    pub(crate) fn check(&self) -> Result<(), Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.options.tls {
            tls.trusts()?;
        }
        Ok(())
    }

    /// Dials, with these options in place of those of the plan where they say anything.
    pub(crate) async fn dial<C>(
        &self,
        codec: &(impl Fn() -> C + Send + Sync),
        options: &DialOptions,
    ) -> Result<DynTransport<C::Sent, C::Item>, Error>
    where
        C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
    {
        let options = DialOptions {
            max_frame: options.max_frame.or(self.options.max_frame),
            stream: options.stream.clone(),
            #[cfg(feature = "tls")]
            tls: match (&options.tls, &self.options.tls) {
                (Some(given), Some(said)) => Some(said.replaced_by(given)?),
                (given, said) => given.as_ref().or(said.as_ref()).cloned(),
            },
        };
        let most = self.connect_timeout;
        match &self.to {
            // Its attempts have that bound of their own, and tell of each; the rest has what they leave.
            To::Tcp(connector) => {
                let until = now().saturating_add(most);
                let stream = connector.connect().await?;
                let host = connector.target().host();
                connected_by(until, most, options.over(stream, host, codec)).await
            }
            #[cfg(unix)]
            To::Unix(address) => {
                let span = OperationSpan::new(Operation::Connect, || Some(address));
                let connecting = async {
                    let connected = UnixStream::connect(address).await;
                    connected.map_err(|error| {
                        Error::from_io(Operation::Connect, error)
                            .with_peer(Some(address.clone().into()))
                    })
                };
                let over = async {
                    let stream = span.around(connecting).await?;
                    options.over(stream, None, codec).await
                };
                connected_within(most, over).await
            }
            To::Memory(name, network) => {
                let span = OperationSpan::new(Operation::Connect, || Some(name));
                let over = async {
                    let stream = span.around(network.connect(name)).await?;
                    options.over(stream, None, codec).await
                };
                connected_within(most, over).await
            }
        }
    }
}

impl DialOptions {
    /// Makes the stream secure, if it is to be, and a transport.
    pub(crate) async fn over<B, C>(
        &self,
        stream: B,
        host: Option<&str>,
        codec: &(impl Fn() -> C + Send + Sync),
    ) -> Result<DynTransport<C::Sent, C::Item>, Error>
    where
        B: ByteStream + Extra + 'static,
        C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
    {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let peer = stream.peer_addr().ok().and_then(|peer| peer.as_inet());
            let address = peer.map(|peer| peer.ip().to_string());
            let name = tls.name.as_deref().or(host).or(address.as_deref());
            let config = tls.config().await?;
            let Some(name) = name.or(config.names_server().then_some("")) else {
                return Err(wrong(
                    "there is no host whose name the certificate could be for; the key `sni` names one"
                        .to_owned(),
                ));
            };
            let handshake = config.handshake(stream, name)?.await;
            let stream = handshake.inspect_err(|error| {
                if error.kind() == ErrorKind::Tls(TlsFailure::Certificate) {
                    tls.doubt();
                }
            })?;
            return Ok(DynTransport::new(self.messages().over(stream, codec())));
        }
        let _ = host;
        Ok(DynTransport::new(self.messages().over(stream, codec())))
    }

    fn messages(&self) -> MessageStreamBuilder {
        let builder = self.stream.clone().unwrap_or_default();
        match self.max_frame {
            Some(most) => builder.no_longer_than(most),
            None => builder,
        }
    }
}

/// How long connecting may take, as these parameters say.
fn connect_timeout(params: &Params) -> Duration {
    params.duration("connect_timeout").unwrap_or(CONNECT_WITHIN)
}

/// What connecting comes to, if it takes no longer than this.
async fn connected_within<T>(
    most: Duration,
    connecting: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    connected_by(now().saturating_add(most), most, connecting).await
}

/// The same of what began earlier and is to be done by then.
async fn connected_by<T>(
    until: Instant,
    most: Duration,
    connecting: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout_at(until, connecting).await.unwrap_or_else(|_| {
        Err(Error::new(Operation::Connect, ErrorKind::ConnectTimeout)
            .with_source(TimeLimit::new("there was no connection", most)))
    })
}

/// No scheme of streams has that name; one of packets says what is for those.
pub(crate) fn no_stream(name: &str, names: &[&str]) -> Error {
    match PacketScheme::ALL.iter().any(|one| one.name() == name) {
        true => UrlErrorKind::OfPackets.anywhere().into(),
        false => unknown_name(name, names),
    }
}

/// There is nothing of that name.
pub(crate) fn unknown_name(name: &str, names: &[&str]) -> Error {
    // Whatever came from outside is shown as it would be in source text, and not too much of it.
    let shown: String = name.chars().take(64).collect();
    let shown = shown.escape_debug();
    wrong(match names {
        [] => format!("there is no transport `{shown}`, nor any other"),
        _ => format!(
            "there is no transport `{shown}`; there are {}",
            names.join(", ")
        ),
    })
}

pub(crate) fn wrong(why: String) -> Error {
    let source = io::Error::new(io::ErrorKind::InvalidInput, why);
    Error::new(Operation::Connect, ErrorKind::Config).with_source(source)
}
