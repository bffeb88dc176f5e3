//! Dialling over TCP.

mod eyeballs;
mod target;

pub(crate) use eyeballs::in_turns;
pub use target::TcpTarget;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bowline_backend::net::{Keepalive, Nodelay, Query, TcpOptions, TcpStream, resolve};
use bowline_concurrency::timeout;

use self::target::Where;
use crate::error::{Error, ErrorKind, Operation, TimeLimit};
use crate::scheme::CONNECT_WITHIN;
use crate::span::OperationSpan;

/// How long an attempt goes alone before the next address is tried beside it (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Probes that find a vanished peer, of what is dialled or accepted: after a minute of silence, 3 of them
/// 20 s apart.
pub(crate) fn probes() -> Keepalive {
    Keepalive::new(Duration::from_secs(60), Duration::from_secs(20), 3)
}

/// How long a peer of messages may acknowledge nothing of what is on its way to it, or have room for nothing:
/// probes come to silent connections alone, and the system itself gives up after a quarter of an hour.
pub(crate) const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

/// Connects to a host by whichever of its addresses answers first.
///
/// The addresses of a name are tried in the order of Happy Eyeballs (RFC 8305): IPv6 and IPv4 by
/// turns, IPv6 first, each attempt beside those before it once the one before has failed or had a
/// head start of 250 ms. The first connection is taken, and all other attempts are ended before it
/// is returned, connections that came too late included.
///
/// Streams send small writes at once (`TCP_NODELAY`) and probe a peer that is silent for a minute. Those of
/// clients also give a peer up that acknowledges nothing for two (`TCP_USER_TIMEOUT`); a plain stream does not,
/// since a peer that reads nothing for so long may mean it.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_backend::net::TcpListener;
/// use bowline_transport::TcpConnector;
///
/// # Backend::Smol.block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
/// let port = listener.local_addr().unwrap().port();
/// let stream = TcpConnector::new(("localhost", port)).connect().await?;
/// # drop(stream);
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is dialled until `connect` is called"]
pub struct TcpConnector {
    target: TcpTarget,
    local: Option<SocketAddr>,
    options: TcpOptions,
    /// The options are the program's.
    chosen: bool,
    head_start: Duration,
    connect_timeout: Duration,
}

impl TcpConnector {
    /// Connects to `target`: an address, a list of them, a host and a port, or `host:port` as text.
    pub fn new(target: impl Into<TcpTarget>) -> Self {
        TcpConnector {
            target: target.into(),
            local: None,
            options: TcpOptions::new().keepalive(probes()),
            chosen: false,
            head_start: HEAD_START,
            connect_timeout: CONNECT_WITHIN,
        }
    }

    /// Connects from `local`; only addresses of its family are tried.
    pub fn bind(mut self, local: SocketAddr) -> Self {
        self.local = Some(local);
        self
    }

    /// How long an attempt goes alone before the next address is tried beside it; default 250 ms,
    /// `Duration::MAX` tries one after the other.
    pub fn happy_eyeballs(mut self, head_start: Duration) -> Self {
        self.head_start = head_start;
        self
    }

    /// How long looking up the name and all attempts may take together; default 10 s. Of a
    /// [`Client`](crate::Client) it is the bound of the TLS handshake as well.
    pub fn connect_timeout(mut self, most: Duration) -> Self {
        self.connect_timeout = most;
        self
    }

    /// Other options of the socket than the default ones, which are `TCP_NODELAY` and probes of a
    /// silent peer. For a local address there is [`bind`](TcpConnector::bind).
    pub fn options(mut self, options: TcpOptions) -> Self {
        self.options = options;
        self.chosen = true;
        self
    }

    /// For messages, whose peers read what comes: a peer that does not is given up.
    pub(crate) fn for_messages(mut self) -> Self {
        if !self.chosen {
            self.options = self.options.user_timeout(UNACKNOWLEDGED);
        }
        self
    }

    /// The options that there are, with small writes joined or not.
    pub(crate) fn nodelay(mut self, nodelay: Nodelay) -> Self {
        self.options = self.options.nodelay(nodelay);
        self
    }

    /// How long connecting may take.
    pub(crate) fn most(&self) -> Duration {
        self.connect_timeout
    }

    /// Whom it connects to.
    pub fn target(&self) -> &TcpTarget {
        &self.target
    }

    /// Looks up the name, tries the addresses and returns the first connection.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config) where the target is a text that is no address;
    /// [`Connect`](ErrorKind::Connect) where the name cannot be resolved, the source says why;
    /// [`ConnectTimeout`](ErrorKind::ConnectTimeout) where it took too long;
    /// [`Address`](ErrorKind::Address) where the name has no address of the family of
    /// [`bind`](TcpConnector::bind), or that is not ours. Where all attempts failed, their kind if that
    /// is the same of all, such as [`Refused`](ErrorKind::Refused), or
    /// [`Resource`](ErrorKind::Resource) while all ports to connect from are taken, else
    /// [`Connect`](ErrorKind::Connect); [`attempts`](Error::attempts) has each.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the sockets of all attempts are closed.
    pub async fn connect(&self) -> Result<TcpStream, Error> {
        let span = OperationSpan::new(Operation::Connect, || Some(&self.target));
        span.around(self.connect_in_time()).await
    }

    async fn connect_in_time(&self) -> Result<TcpStream, Error> {
        // Outside of what is timed, so that the error can name those that failed before.
        let failed = Mutex::new(Vec::new());
        let connected = timeout(self.connect_timeout, async {
            let addresses = self.addresses().await?;
            eyeballs::connect(
                &addresses,
                self.local,
                &self.options,
                self.head_start,
                &failed,
            )
            .await
        })
        .await;
        connected.unwrap_or_else(|_| {
            Err(Error::new(Operation::Connect, ErrorKind::ConnectTimeout)
                .with_place(&self.target)
                .with_attempts(eyeballs::taken(&failed))
                .with_source(TimeLimit::new(
                    "there was no connection",
                    self.connect_timeout,
                )))
        })
    }

    /// All addresses to try, in the order of the look-up.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let found = match &self.target.0 {
            Where::Addresses(addresses) => addresses.clone(),
            Where::Host(host, port) => {
                let found = resolve(Query::host(host.clone(), *port)).await;
                found.map_err(|error| {
                    Error::new(Operation::Connect, ErrorKind::Connect)
                        .with_place(&self.target)
                        .with_source(error)
                })?
            }
            Where::Wrong(wrong) => return Err(wrong.error(Operation::Connect)),
        };
        let fits = |address: &SocketAddr| {
            let local = self.local.as_ref();
            local.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
        };
        let fitting: Vec<SocketAddr> = found.into_iter().filter(fits).collect();
        if fitting.is_empty() {
            let why = match self.local {
                Some(local) => format!("{} has no address of the family of {local}", self.target),
                None => "there is no address to connect to".to_owned(),
            };
            return Err(Error::new(Operation::Connect, ErrorKind::Address)
                .with_source(std::io::Error::new(std::io::ErrorKind::InvalidInput, why)));
        }
        Ok(in_turns(fitting))
    }
}
