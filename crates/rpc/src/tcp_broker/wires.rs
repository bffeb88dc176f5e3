//! The kinds of byte streams that connections are made of.

use std::io;
use std::net::SocketAddr;

#[cfg(unix)]
use bowline_backend::net::{Stale, UnixListenOptions, UnixListener, UnixStream};
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::Address;
#[cfg(feature = "tls")]
use bowline_transport::{
    Extra, TlsClientConfig, TlsHandshake, TlsInfo, TlsServerConfig, TlsStream,
};
use bowline_transport::{Listener, MemoryListener, MemoryNetwork, MemoryStream};

use super::Endpoint;
use super::endpoint::Place;
use super::network::Network;
use crate::proto::StreamProof;
use crate::{Error, ErrorKind};

/// How one side of `tls://` addresses is made secure.
#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Of what is listened at.
    Server(TlsServerConfig),
    /// Of what is connected to.
    Client(TlsClientConfig),
}

#[cfg(feature = "tls")]
impl From<TlsServerConfig> for TlsConfig {
    fn from(config: TlsServerConfig) -> Self {
        Self::Server(config)
    }
}

#[cfg(feature = "tls")]
impl From<TlsClientConfig> for TlsConfig {
    fn from(config: TlsClientConfig) -> Self {
        Self::Client(config)
    }
}

/// What other addresses than those of TCP need.
#[derive(Clone, Debug, Default)]
pub(super) struct Wires {
    /// Where unencrypted bytes may go.
    pub(super) plain: Network,
    /// Where names in memory are.
    pub(super) network: Option<MemoryNetwork>,
    #[cfg(feature = "tls")]
    pub(super) server: Option<TlsServerConfig>,
    #[cfg(feature = "tls")]
    pub(super) client: Option<TlsClientConfig>,
}

/// Where connections come in.
pub(super) enum Door {
    Tcp(TcpListener),
    #[cfg(feature = "tls")]
    Tls(TcpListener, TlsServerConfig),
    #[cfg(unix)]
    Unix(UnixListener),
    Memory(MemoryListener),
}

/// A connection that came in.
pub(super) enum Visitor {
    Ready(Wire),
    #[cfg(feature = "tls")]
    Tls(Box<TlsHandshake<TcpStream>>),
}

/// A byte stream of one of the kinds.
pub(super) enum Wire {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(UnixStream),
    Memory(MemoryStream),
}

impl Door {
    /// Waits for the next connection.
    pub(super) async fn accept(&mut self) -> io::Result<(Visitor, Address)> {
        let (wire, address) = match self {
            Door::Tcp(listener) => {
                let (stream, address) = TcpListener::accept(listener).await?;
                (Wire::Tcp(stream), address)
            }
            #[cfg(feature = "tls")]
            Door::Tls(listener, config) => {
                let (stream, address) = TcpListener::accept(listener).await?;
                let handshake = config.handshake(stream).map_err(io::Error::other)?;
                return Ok((Visitor::Tls(Box::new(handshake)), address));
            }
            #[cfg(unix)]
            Door::Unix(listener) => {
                let (stream, address) = UnixListener::accept(listener).await?;
                (Wire::Unix(stream), address)
            }
            Door::Memory(listener) => {
                let (stream, address) = Listener::accept(listener).await?;
                (Wire::Memory(stream), address)
            }
        };
        Ok((Visitor::Ready(wire), address))
    }

    /// Where it is, for those who connect.
    pub(super) fn endpoint(&self) -> io::Result<Endpoint> {
        Ok(Endpoint(match self {
            Door::Tcp(listener) => Place::Socket(listener.local_addr()?),
            #[cfg(feature = "tls")]
            Door::Tls(listener, _) => {
                let address = listener.local_addr()?;
                Place::Secure {
                    host: address.ip().to_string(),
                    port: address.port(),
                }
            }
            #[cfg(unix)]
            Door::Unix(listener) => match listener.local_addr()? {
                Address::Unix(address) => Place::Unix(address),
                other => Place::OtherKind(other.to_string()),
            },
            Door::Memory(listener) => {
                let name = listener.local_addrs()?.into_iter().next();
                Place::Memory(name.map_or_else(Default::default, |name| name.to_string().into()))
            }
        }))
    }
}

impl Visitor {
    /// The stream, once its handshake is done.
    pub(super) async fn wire(self) -> Result<Wire, bowline_transport::Error> {
        match self {
            Visitor::Ready(wire) => Ok(wire),
            #[cfg(feature = "tls")]
            Visitor::Tls(handshake) => Ok(Wire::Tls(Box::new((*handshake).await?))),
        }
    }
}

impl Wire {
    /// What both ends of an encrypted channel know, and nobody who ends it in between; nothing where
    /// bytes are not encrypted.
    pub(super) fn binding(&self) -> Result<Vec<u8>, bowline_transport::Error> {
        match self {
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => {
                let mut binding = vec![0; 32];
                stream.export_keying_material(b"EXPORTER-bowline-rpc", None, &mut binding)?;
                Ok(binding)
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl Wire {
    /// What the stream proves of the peer.
    pub(super) fn proof(&self) -> StreamProof {
        match self {
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => {
                let details = stream.extra::<TlsInfo>();
                let own = details.as_ref().and_then(|it| it.peer_certificates.first());
                StreamProof::Certificate(own.and_then(|own| super::certificate::principal(own)))
            }
            #[cfg(unix)]
            Wire::Unix(stream) => {
                let credentials = stream.peer_credentials().ok();
                StreamProof::User(credentials.map(|it| it.uid))
            }
            _ => StreamProof::Nothing,
        }
    }
}

impl Wires {
    /// Whether this side has what `endpoint` needs.
    pub(super) fn check(&self, endpoint: &Endpoint, listens: Way) -> Result<(), Error> {
        endpoint.check()?;
        self.plain.check_literal(endpoint)?;
        let lacks = match &endpoint.0 {
            Place::Memory(_) if self.network.is_none() => "network() says where its names are",
            #[cfg(feature = "tls")]
            Place::Secure { .. } if listens == Way::In && self.server.is_none() => {
                "tls() takes the configuration of a server"
            }
            #[cfg(feature = "tls")]
            Place::Secure { .. } if listens == Way::Out && self.client.is_none() => {
                "tls() takes the configuration of a client"
            }
            #[cfg(feature = "tls")]
            Place::Secure { .. } if listens == Way::In => {
                // A name is looked up later.
                let address = endpoint.address().and_then(|it| it.as_inet());
                return address.map_or(Ok(()), |it| self.plain.check_strangers(it));
            }
            _ => return Ok(()),
        };
        let _ = listens;
        let message = format!("{endpoint} needs more to be given: {lacks}");
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// Listens at all addresses of `endpoint`.
    pub(super) async fn bind(&self, endpoint: &Endpoint) -> Result<Vec<Door>, Error> {
        self.check(endpoint, Way::In)?;
        let failed = |error| Error::transport(format_args!("{endpoint} was not bound"), error);
        match &endpoint.0 {
            #[cfg(unix)]
            Place::Unix(address) => {
                let options = UnixListenOptions::new()
                    .stale(Stale::ReplaceIfRefused)
                    .unlink_at_close();
                let listener = UnixListener::bind_with(address, options).map_err(failed)?;
                Ok(vec![Door::Unix(listener)])
            }
            Place::Memory(name) => {
                let network = self.network.clone().unwrap_or_default();
                let listener = network.listen(name.clone()).map_err(|error| {
                    let what = format_args!("{endpoint} was not bound");
                    Error::with_source(ErrorKind::Transport, what, error)
                })?;
                Ok(vec![Door::Memory(listener)])
            }
            place => {
                let mut doors = Vec::new();
                for address in self.addresses(endpoint).await? {
                    #[cfg(feature = "tls")]
                    if let Place::Secure { .. } = place {
                        self.plain.check_strangers(address)?;
                    }
                    let failed =
                        |error| Error::transport(format_args!("{address} was not bound"), error);
                    let listener = TcpListener::bind(address).map_err(failed)?;
                    doors.push(match (place, &self) {
                        #[cfg(feature = "tls")]
                        (
                            Place::Secure { .. },
                            Wires {
                                server: Some(server),
                                ..
                            },
                        ) => Door::Tls(listener, server.clone()),
                        _ => Door::Tcp(listener),
                    });
                }
                Ok(doors)
            }
        }
    }
}

impl Wires {
    /// The internet addresses of `endpoint` that may be used as it says.
    pub(super) async fn addresses(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Error> {
        match &endpoint.0 {
            #[cfg(feature = "tls")]
            Place::Secure { .. } => endpoint.addresses().await,
            _ => self.plain.addresses(endpoint).await,
        }
    }
}

/// Which side of a connection an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}
