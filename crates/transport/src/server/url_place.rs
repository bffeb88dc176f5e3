use std::fmt;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "tls")]
use bowline_backend::net::TcpStream;
#[cfg(unix)]
use bowline_backend::net::UnixListener;
use bowline_backend::net::{Nodelay, TcpListenOptions};
use bowline_backend::stream::Address;

use super::bind::Bind;
use super::incoming::Incoming;
#[cfg(unix)]
use super::unix_place::UnixPlace;
use crate::connector::UNACKNOWLEDGED;
use crate::error::{Error, ErrorKind, Operation};
use crate::listener::Listener;
use crate::listeners::{Listeners, ListenersBuilder, message_options};
use crate::memory::{MemoryListener, MemoryNetwork};
#[cfg(feature = "tls")]
use crate::params::ParamType;
use crate::params::{KeySpec, Params};
#[cfg(feature = "tls")]
use crate::scheme::read_file;
use crate::scheme::{NODELAY, no_stream, wrong};
#[cfg(feature = "tls")]
use crate::tls::{
    CertStore, ClientCertificates, CloseMode, TlsHandshake, TlsListener, TlsServerConfig,
};
use crate::url::{Place, Url, UrlError, UrlErrorKind, shown};
use crate::url_stream::UrlStream;

/// A place to listen at, as a URL: made of one, or of its text.
///
/// | URL | listens | keys |
/// |---|---|---|
/// | `tcp://host:port` | at all addresses of the host; `tcp://:80` and `tcp://*:80` at every one of ours, port 0, or none, at one that the system chooses | `nodelay` |
/// | `tls://host:port` | the same, secure | `nodelay`, `cert` and `key` (files in PEM, both due), `alpn`, `ca` (clients have to show a certificate of these authorities), `close` (`strict` or `lenient`) |
/// | `unix:/path`, `unix:@name` | as [`UnixPlace`](crate::UnixPlace) does | of a path: `stale` (`refuse` by default, or `replace` where the server that had it was killed), `mode` (permissions, as `0660`) |
/// | `mem://name` | at a name of the network that [`network`](UrlPlace::network) says | |
///
/// At `udp` and `unixgram` listens a [`PacketUrlPlace`](crate::PacketUrlPlace).
///
/// # Examples
///
/// A server whose place is configuration:
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Lines;
/// use bowline_transport::{ErrorKind, Server};
///
/// # Backend::Smol.block_on(async {
/// let server = Server::url("tcp://127.0.0.1:0").codec(|| Lines::lf().text());
/// let server = server.bind().await?;
/// assert_ne!(server.local_addrs()[0].as_inet().unwrap().port(), 0);
///
/// let error = Server::url("tpc://:80").codec(|| Lines::lf().text()).bind().await;
/// assert_eq!(error.unwrap_err().kind(), ErrorKind::Config); // its source says why
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UrlPlace {
    url: Result<Url, UrlError>,
    /// What may be shown of it.
    shown: String,
    network: Option<MemoryNetwork>,
    /// How long peers may take nothing.
    stall: Option<Duration>,
}

impl UrlPlace {
    /// Where the names of `mem://` are; without it there are none.
    #[must_use = "this returns the changed place"]
    pub fn network(mut self, network: &MemoryNetwork) -> UrlPlace {
        self.network = Some(network.clone());
        self
    }
}

impl From<Url> for UrlPlace {
    fn from(url: Url) -> UrlPlace {
        UrlPlace {
            shown: shown(&url.to_string()),
            url: Ok(url),
            network: None,
            stall: Some(UNACKNOWLEDGED),
        }
    }
}

impl From<&str> for UrlPlace {
    /// What is wrong with the text is said when it is bound.
    fn from(url: &str) -> UrlPlace {
        UrlPlace {
            url: url.parse(),
            shown: shown(url),
            network: None,
            stall: Some(UNACKNOWLEDGED),
        }
    }
}

impl From<String> for UrlPlace {
    fn from(url: String) -> UrlPlace {
        url.as_str().into()
    }
}

const TCP: &[KeySpec] = &[NODELAY];
#[cfg(feature = "tls")]
const TLS: &[KeySpec] = &[
    KeySpec::new("cert", ParamType::Text),
    KeySpec::new("key", ParamType::Text),
    KeySpec::new("ca", ParamType::Text),
    KeySpec::new("alpn", ParamType::List),
    KeySpec::new("close", ParamType::Text),
    NODELAY,
];
const NONE: &[KeySpec] = &[];

/// The schemes that can be listened at.
const SCHEMES: &[&str] = &[
    "tcp",
    #[cfg(unix)]
    "unix",
    #[cfg(feature = "tls")]
    "tls",
    "mem",
];

impl Bind for UrlPlace {
    type Listener = UrlListener;

    async fn bind(self) -> Result<UrlListener, Error> {
        let shown = self.shown.clone();
        self.listen().await.map_err(|error| match error.kind() {
            // What is wrong with the text is wrong with listening there.
            ErrorKind::Config => error.of(Operation::Bind).with_place(shown),
            _ => error,
        })
    }

    fn stalling(mut self, most: Option<Duration>) -> UrlPlace {
        self.stall = most;
        self
    }
}

impl UrlPlace {
    async fn listen(self) -> Result<UrlListener, Error> {
        let url = self.url?;
        let params = |keys: &'static [KeySpec]| Params::of_pairs(keys, url.query());
        match url.scheme() {
            "tcp" => {
                let listeners = builder(&url, &params(TCP)?, self.stall)?.bind().await?;
                Ok(UrlListener(Any::Tcp(listeners)))
            }
            #[cfg(feature = "tls")]
            "tls" => {
                let params = params(TLS)?;
                let (builder, config) =
                    (builder(&url, &params, self.stall)?, config(&params).await?);
                let listeners = builder.bind().await?;
                Ok(UrlListener(Any::Tls(TlsListener::new(listeners, config))))
            }
            #[cfg(unix)]
            "unix" => {
                let place = UnixPlace::of_url(&url)?;
                Ok(UrlListener(Any::Unix(place.bind().await?)))
            }
            "mem" => {
                params(NONE)?;
                let name = match url.place() {
                    Place::Host { name, port: None } if !name.is_empty() && name != "*" => name,
                    _ => return Err(UrlErrorKind::NoHost.anywhere().into()),
                };
                let network = self.network.ok_or_else(|| {
                    wrong(
                        "names in memory are those of a network: `UrlPlace::network` says which"
                            .to_owned(),
                    )
                })?;
                Ok(UrlListener(Any::Memory(network.listen(&name[..])?)))
            }
            other => Err(no_stream(other, SCHEMES)),
        }
    }
}

/// Where to listen by TCP.
fn builder(url: &Url, params: &Params, stall: Option<Duration>) -> Result<ListenersBuilder, Error> {
    let (host, port) = url.to_listen()?;
    let mut builder = Listeners::builder(port).stalling(stall).for_messages();
    if let Some(host) = host {
        builder = builder.host(host);
    }
    if params.flag("nodelay") == Some(false) {
        let accepted = message_options(stall).nodelay(Nodelay::Off);
        builder = builder.options(TcpListenOptions::new().accept_options(accepted));
    }
    Ok(builder)
}

/// How what is accepted becomes secure.
#[cfg(feature = "tls")]
async fn config(params: &Params) -> Result<TlsServerConfig, Error> {
    let (Some(chain), Some(key)) = (params.text("cert"), params.text("key")) else {
        return Err(wrong("the keys `cert` and `key` are due".to_owned()));
    };
    let (chain, key) = (
        read_file("cert", chain).await?,
        read_file("key", key).await?,
    );
    let mut builder = TlsServerConfig::builder(&CertStore::new(&chain, &key)?);
    if let Some(roots) = params.text("ca") {
        let roots = read_file("ca", roots).await?;
        builder = builder.client_roots(ClientCertificates::Require, roots);
    }
    for protocol in params.list("alpn").unwrap_or_default() {
        builder = builder.alpn(protocol.as_bytes());
    }
    builder = builder.close_mode(CloseMode::of(params)?);
    builder.build()
}

/// What listens at the place of a URL.
#[must_use = "dropped, nobody listens"]
pub struct UrlListener(Any);

enum Any {
    Tcp(Listeners),
    #[cfg(unix)]
    Unix(UnixListener),
    Memory(MemoryListener),
    #[cfg(feature = "tls")]
    Tls(TlsListener<Listeners>),
}

/// What a [`UrlListener`] accepts: a [`UrlStream`], for some after a handshake.
#[must_use = "dropped, it closes the connection"]
pub struct UrlIncoming(Came);

enum Came {
    Stream(Box<UrlStream>),
    #[cfg(feature = "tls")]
    Handshake(Box<TlsHandshake<TcpStream>>),
}

impl UrlIncoming {
    fn ready(stream: impl Into<UrlStream>) -> UrlIncoming {
        UrlIncoming(Came::Stream(Box::new(stream.into())))
    }
}

impl Listener for UrlListener {
    type Connection = UrlIncoming;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(UrlIncoming, Address)>> {
        match &mut self.0 {
            Any::Tcp(one) => accepted(one, cx, UrlIncoming::ready),
            #[cfg(unix)]
            Any::Unix(one) => accepted(one, cx, UrlIncoming::ready),
            Any::Memory(one) => accepted(one, cx, UrlIncoming::ready),
            #[cfg(feature = "tls")]
            Any::Tls(one) => accepted(one, cx, |handshake| {
                UrlIncoming(Came::Handshake(Box::new(handshake)))
            }),
        }
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        match &self.0 {
            Any::Tcp(one) => one.local_addrs(),
            #[cfg(unix)]
            Any::Unix(one) => Listener::local_addrs(one),
            Any::Memory(one) => one.local_addrs(),
            #[cfg(feature = "tls")]
            Any::Tls(one) => one.local_addrs(),
        }
    }
}

fn accepted<L: Listener>(
    listener: &mut L,
    cx: &mut Context<'_>,
    came: impl FnOnce(L::Connection) -> UrlIncoming,
) -> Poll<io::Result<(UrlIncoming, Address)>> {
    let accepted = listener.poll_accept(cx);
    accepted.map_ok(|(connection, peer)| (came(connection), peer))
}

impl Incoming for UrlIncoming {
    type Stream = UrlStream;

    async fn heard(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            Came::Stream(_) => Ok(()),
            #[cfg(feature = "tls")]
            Came::Handshake(handshake) => handshake.heard().await,
        }
    }

    async fn establish(self) -> Result<UrlStream, Error> {
        match self.0 {
            Came::Stream(stream) => Ok(*stream),
            #[cfg(feature = "tls")]
            Came::Handshake(handshake) => Ok((*handshake).await?.into()),
        }
    }

    fn refuse(self) {
        match self.0 {
            Came::Stream(stream) => stream.refuse(),
            #[cfg(feature = "tls")]
            Came::Handshake(handshake) => handshake.refuse(),
        }
    }
}

impl fmt::Debug for UrlListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlListener")
            .field("local", &self.local_addrs().unwrap_or_default())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UrlIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Came::Stream(stream) => stream.fmt(f),
            #[cfg(feature = "tls")]
            Came::Handshake(handshake) => handshake.fmt(f),
        }
    }
}
