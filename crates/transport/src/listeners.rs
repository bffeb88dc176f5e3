//! TCP listeners at several addresses as one.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::net::{Query, TcpListenOptions, TcpListener, TcpOptions, TcpStream, resolve};
use bowline_backend::stream::Address;

use crate::connector::{UNACKNOWLEDGED, probes};
use crate::error::{Attempt, Error, ErrorKind, Operation};
use crate::listener::Listener;
use crate::url::{At, WrongAddress};

/// How often another port is tried where the one that the system chose for the first address is
/// taken at the next.
const SAME_PORT_ATTEMPTS: usize = 16;

/// A set of TCP listeners: one per address of the hosts it was made for.
///
/// IPv6 listeners take IPv6 alone, so that both families of one port are two listeners. No address
/// is there twice. Connections are accepted from each listener by turns, so that a flood at one
/// does not starve another.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_transport::{Listener, Listeners, TcpConnector};
///
/// # Backend::Smol.block_on(async {
/// let mut listeners = Listeners::builder(0).host("127.0.0.1").bind().await?;
/// let address = listeners.local_addrs().unwrap()[0].as_inet().unwrap();
/// let stream = TcpConnector::new(address).connect().await?;
/// let (_accepted, peer) = listeners.accept().await.unwrap();
/// # drop(stream);
/// assert_eq!(peer.as_inet().unwrap().ip(), address.ip());
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<TcpListener>,
    /// The one that is asked first next time.
    turn: usize,
}

impl Listeners {
    /// Listeners at `port` of all interfaces, unless the builder is given hosts. With port 0 the
    /// system chooses one for each listener, or one [for all](ListenersBuilder::same_port).
    pub fn builder(port: u16) -> ListenersBuilder {
        ListenersBuilder {
            port,
            hosts: Vec::new(),
            addresses: Vec::new(),
            same_port: false,
            options: TcpListenOptions::new().accept_options(accept_options()),
            chosen: false,
            stall: Some(UNACKNOWLEDGED),
            wrong: None,
        }
    }
}

impl Listener for Listeners {
    type Connection = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
        let count = self.listeners.len();
        for n in 0..count {
            let at = (self.turn + n) % count;
            if let Poll::Ready(accepted) = self.listeners[at].poll_accept(cx) {
                self.turn = (at + 1) % count;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        let local = |listener: &TcpListener| listener.local_addr().map(Address::Inet);
        self.listeners.iter().map(local).collect()
    }
}

/// How [`Listeners`] are made.
#[derive(Clone, Debug)]
#[must_use = "nothing listens until `bind` is called"]
pub struct ListenersBuilder {
    port: u16,
    hosts: Vec<String>,
    /// Besides those of the hosts.
    addresses: Vec<SocketAddr>,
    same_port: bool,
    options: TcpListenOptions,
    /// The options are the program's.
    chosen: bool,
    /// How long peers may take nothing that messages are for.
    stall: Option<Duration>,
    /// It was made of a text that is no address.
    wrong: Option<WrongAddress>,
}

impl ListenersBuilder {
    /// Listens at the addresses of `host`, in digits or by name, instead of all interfaces; may be
    /// called for several.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Listens at this address instead of all interfaces; may be called for several.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// With port 0: the port that the system chooses for the first is that of all.
    pub fn same_port(mut self) -> Self {
        self.same_port = true;
        self
    }

    /// Options of each listener and of what it accepts, instead of the default ones: what is accepted
    /// sends small writes at once (`TCP_NODELAY`), and probes a peer that is silent for a minute, so that
    /// one that vanished is found after two. A [`Server`](crate::Server) finds it then, too, if something was on
    /// its way to it (`TCP_USER_TIMEOUT`), which nobody probes; not where its
    /// [`write_stall_timeout`](crate::MessageStreamBuilder::write_stall_timeout) is longer.
    /// [`dual_stack`](TcpListenOptions::dual_stack) would let an IPv6 listener take the port of
    /// both families, and fails beside an IPv4 one.
    pub fn options(mut self, options: TcpListenOptions) -> Self {
        self.options = options;
        self.chosen = true;
        self
    }

    /// For messages, whose peers read what comes: a peer that does not is given up.
    pub(crate) fn for_messages(mut self) -> Self {
        if !self.chosen {
            self.options = TcpListenOptions::new().accept_options(message_options(self.stall));
        }
        self
    }

    /// For messages whose peers may take nothing for so long, `None` for ever.
    pub(crate) fn stalling(mut self, most: Option<Duration>) -> Self {
        self.stall = most;
        self
    }

    /// Looks the hosts up and listens at each of their addresses, or at none.
    ///
    /// # Errors
    ///
    /// Where one address fails all are closed: with the kind of the failures if that is the same of
    /// all, such as [`Address`](ErrorKind::Address), else [`Connect`](ErrorKind::Connect).
    /// [`attempts`](Error::attempts) has each that failed. `Connect` where a name cannot be
    /// resolved; the source says why. [`Config`](ErrorKind::Config) where it was made of a text that is
    /// no address. Of all interfaces, a family that the system lacks is left
    /// out.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: it waits for names only, before it listens anywhere.
    pub async fn bind(self) -> Result<Listeners, Error> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.error(Operation::Bind));
        }
        let mut addresses = self.addresses.clone();
        let queries = match self.is_everywhere() {
            true => vec![Query::passive(self.port)],
            false => {
                let query = |host: &String| Query::host(host.clone(), self.port);
                self.hosts.iter().map(query).collect()
            }
        };
        for query in queries {
            let place = query.host.clone().unwrap_or_else(|| "*".to_owned());
            let found = resolve(query).await;
            addresses.extend(found.map_err(|error| {
                Error::new(Operation::Bind, ErrorKind::Connect)
                    .with_place(format_args!("{place}:{}", self.port))
                    .with_source(error)
            })?);
        }
        // IPv4 before IPv6, each by address and port.
        addresses.sort();
        addresses.dedup();
        let mut attempts = 0;
        let listeners = loop {
            attempts += 1;
            let bind = |address| TcpListener::bind_with(address, self.options.clone());
            match self.bind_all(&addresses, bind, TcpListener::local_addr) {
                // Somebody else has the port there that the system chose: it is asked for another.
                Err(error) if attempts < SAME_PORT_ATTEMPTS && self.is_unlucky(&error) => {}
                bound => break bound?,
            }
        };
        Ok(Listeners { listeners, turn: 0 })
    }

    /// Whether it listens at all interfaces.
    fn is_everywhere(&self) -> bool {
        self.hosts.is_empty() && self.addresses.is_empty()
    }

    /// Whether the system chooses a port, and one for all.
    fn shares_chosen_port(&self) -> bool {
        self.same_port && self.port == 0
    }

    /// Whether another port for all may do.
    fn is_unlucky(&self, error: &Error) -> bool {
        let in_use = |attempt: &Attempt| attempt.error().kind() == io::ErrorKind::AddrInUse;
        self.shares_chosen_port() && error.attempts().iter().all(in_use)
    }

    /// Binds each address, where they share a port to the one that the first was given.
    fn bind_all<L>(
        &self,
        addresses: &[SocketAddr],
        bind: impl Fn(SocketAddr) -> io::Result<L>,
        local_addr: impl Fn(&L) -> io::Result<SocketAddr>,
    ) -> Result<Vec<L>, Error> {
        let mut listeners = Vec::with_capacity(addresses.len());
        let mut failed = Vec::new();
        let mut chosen = None;
        for address in addresses {
            let mut address = *address;
            if let Some(port) = chosen {
                address.set_port(port);
            }
            match bind(address) {
                Ok(listener) => {
                    if self.shares_chosen_port() && chosen.is_none() {
                        let local = local_addr(&listener);
                        let local = local.map_err(|error| Error::from_io(Operation::Bind, error));
                        chosen = Some(local?.port());
                    }
                    listeners.push(listener);
                }
                Err(error) => failed.push(Attempt::new(address, error)),
            }
        }
        if self.is_everywhere() && !listeners.is_empty() {
            failed.retain(|attempt| !is_lacking(attempt));
        }
        match failed.is_empty() {
            true => Ok(listeners),
            false => Err(Error::of_attempts(Operation::Bind, failed, None)),
        }
    }
}

impl From<SocketAddr> for ListenersBuilder {
    fn from(address: SocketAddr) -> Self {
        Listeners::builder(address.port()).address(address)
    }
}

impl From<&str> for ListenersBuilder {
    /// `127.0.0.1:80`, `[::1]:80` or `host:80`; `:80` and `*:80` are all interfaces. What is wrong with
    /// the text is said by [`bind`](ListenersBuilder::bind).
    fn from(text: &str) -> Self {
        match At::of(text) {
            Ok(At::Address(address)) => address.into(),
            Ok(At::Host(host, port)) if host.is_empty() || host == "*" => Listeners::builder(port),
            Ok(At::Host(host, port)) => (host, port).into(),
            Err(wrong) => ListenersBuilder {
                wrong: Some(wrong),
                ..Listeners::builder(0)
            },
        }
    }
}

impl From<String> for ListenersBuilder {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl<H: Into<String>> From<(H, u16)> for ListenersBuilder {
    fn from((host, port): (H, u16)) -> Self {
        Listeners::builder(port).host(host)
    }
}

/// Options of what is accepted, unless others are asked for.
fn accept_options() -> TcpOptions {
    TcpOptions::new().keepalive(probes())
}

/// Options of what is accepted for messages, unless others are asked for; the peer may take nothing for
/// `stall`, `None` for ever.
///
/// The system counts a shut window as nothing acknowledged, so whoever gives a peer more time than the system
/// would asks for none of it; with a longer one the system would also probe those who are silent for longer.
pub(crate) fn message_options(stall: Option<Duration>) -> TcpOptions {
    match stall {
        Some(most) if most <= UNACKNOWLEDGED => accept_options().user_timeout(UNACKNOWLEDGED),
        _ => accept_options(),
    }
}

/// Whether the system has no such family, as far as its error tells.
fn is_lacking(attempt: &Attempt) -> bool {
    /// `EAFNOSUPPORT` of Linux.
    const NO_SUCH_FAMILY: i32 = 97;
    let error = attempt.error();
    error.raw_os_error() == Some(NO_SUCH_FAMILY) || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;

    // T11
    #[test]
    fn a_family_that_is_lacking_is_left_out_where_one_port_is_for_all() {
        let addresses: [SocketAddr; 2] =
            ["0.0.0.0:0", "[::]:0"].map(|address| address.parse().unwrap());
        for lacking in addresses {
            let bind = |address: SocketAddr| match address.is_ipv4() == lacking.is_ipv4() {
                true => Err(io::ErrorKind::AddrNotAvailable.into()),
                false => Ok(SocketAddr::new(address.ip(), 4000)),
            };
            let everywhere = Listeners::builder(0).same_port();
            let bound = everywhere.bind_all(&addresses, bind, |local| Ok(*local));
            let bound = bound.expect("the other family is there");
            assert_eq!(bound.len(), 1, "{bound:?}");
            assert_ne!(bound[0].is_ipv4(), lacking.is_ipv4());
        }
    }

    // T11
    #[test]
    fn all_get_the_port_of_the_first() {
        let addresses: [SocketAddr; 2] =
            ["0.0.0.0:0", "[::]:0"].map(|address| address.parse().unwrap());
        let bind = |address: SocketAddr| match address.port() {
            0 => Ok(SocketAddr::new(address.ip(), 4000)),
            _ => Ok(address),
        };
        let local = |local: &SocketAddr| Ok(*local);
        let shared = Listeners::builder(0).same_port();
        let bound = shared.bind_all(&addresses, bind, local).unwrap();
        assert_eq!(
            bound.iter().map(SocketAddr::port).collect::<Vec<_>>(),
            [4000, 4000]
        );
    }
}
