use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bowline_backend::net::{Query, UdpOptions, UdpSocket, resolve};
#[cfg(unix)]
use bowline_backend::net::{UnixDatagram, UnixOptions};
use bowline_codec::MessageCodec;
use bowline_concurrency::Root;

use super::bound::BoundPackets;
use super::handler::PacketHandler;
use super::limits::PacketLimits;
use super::state::State;
use crate::datagram::{DatagramEndpointBuilder, DatagramSocket};
use crate::error::{Attempt, Error, ErrorKind, Operation};
use crate::server::NoCodec;
#[cfg(unix)]
use crate::server::{PathOptions, UnixAt, from_unix};
use crate::url::{At, WrongAddress};

/// A place to receive packets at, before anybody does.
pub trait BindPackets: Send {
    /// What receives there.
    type Socket: DatagramSocket;

    /// Takes the place.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn bind(self) -> impl Future<Output = Result<Self::Socket, Error>> + Send;
}

/// A UDP address: made of a socket address, of a host, in digits or by name, and a port, or of the text
/// of one of them, `127.0.0.1:80` or `host:80`. Of the addresses of a name it is the first that can be
/// had.
///
/// Without a host, `:80` or `*:80`, it is every address of ours, of both families by one socket: peers of
/// IPv4 are then shown as mapped into IPv6, `[::ffff:192.0.2.1]:4000`. Where the system has no IPv6 it is
/// every IPv4 address.
#[derive(Clone, Debug)]
pub struct UdpPlace(Where);

#[derive(Clone, Debug)]
enum Where {
    Address(SocketAddr),
    Host(String, u16),
    Everywhere(u16),
    /// A text that is none; told when it is bound.
    Wrong(WrongAddress),
}

impl From<&str> for UdpPlace {
    fn from(text: &str) -> Self {
        UdpPlace(match At::of(text) {
            Ok(At::Address(address)) => Where::Address(address),
            Ok(At::Host(host, port)) if host.is_empty() || host == "*" => Where::Everywhere(port),
            Ok(At::Host(host, port)) => Where::Host(host, port),
            Err(wrong) => Where::Wrong(wrong),
        })
    }
}

impl From<String> for UdpPlace {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<SocketAddr> for UdpPlace {
    fn from(address: SocketAddr) -> Self {
        UdpPlace(Where::Address(address))
    }
}

impl<H: Into<String>> From<(H, u16)> for UdpPlace {
    fn from((host, port): (H, u16)) -> Self {
        UdpPlace(Where::Host(host.into(), port))
    }
}

impl BindPackets for UdpPlace {
    type Socket = UdpSocket;

    async fn bind(self) -> Result<UdpSocket, Error> {
        let addresses = match self.0 {
            Where::Address(address) => vec![address],
            Where::Everywhere(port) => return everywhere(port, UdpSocket::bind_with),
            Where::Wrong(wrong) => return Err(wrong.error(Operation::Bind)),
            Where::Host(host, port) => {
                let place = format!("{host}:{port}");
                let found = resolve(Query::host(host, port)).await;
                found.map_err(|error| {
                    Error::new(Operation::Bind, ErrorKind::Connect)
                        .with_place(place)
                        .with_source(error)
                })?
            }
        };
        let mut failed = Vec::new();
        for address in addresses {
            match UdpSocket::bind(address) {
                Ok(socket) => return Ok(socket),
                Err(error) => failed.push(Attempt::new(address, error)),
            }
        }
        Err(Error::of_attempts(Operation::Bind, failed, None))
    }
}

impl UdpPlace {
    /// Every address of ours.
    pub(super) fn everywhere(port: u16) -> UdpPlace {
        UdpPlace(Where::Everywhere(port))
    }
}

/// A socket of both families, or, where the system has not both, of IPv4.
fn everywhere<S>(
    port: u16,
    bind: impl Fn(SocketAddr, UdpOptions) -> io::Result<S>,
) -> Result<S, Error> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let failed = match bind(both, UdpOptions::new().dual_stack()) {
        Ok(socket) => return Ok(socket),
        Err(error) => Attempt::new(both, error),
    };
    // Of a port that is taken, or not ours to take, half of it would be no better.
    let refused = matches!(
        failed.error().kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    );
    if refused {
        return Err(Error::of_attempts(Operation::Bind, vec![failed], None));
    }
    let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    bind(all, UdpOptions::new()).map_err(|error| {
        let failed = vec![failed, Attempt::new(all, error)];
        Error::of_attempts(Operation::Bind, failed, None)
    })
}

/// A path in the file system, or another address of a Unix socket, to receive datagrams at; from a path
/// or a [`UnixAddress`](bowline_backend::stream::UnixAddress).
///
/// Unless [`options`](UnixDatagramPlace::options) say otherwise nothing may be at the path, and what the
/// server puts there goes with it, if it is still its own.
///
/// # Examples
///
/// A server that takes the place of one that was killed:
///
/// ```
/// use bowline_backend::net::{Stale, UnixOptions};
/// use bowline_transport::{Server, UnixDatagramPlace};
///
/// let options = UnixOptions::new().stale(Stale::ReplaceIfRefused).unlink_at_close();
/// let server = Server::unix_datagram(UnixDatagramPlace::from("/run/app.sock").options(options));
/// ```
#[cfg(unix)]
#[derive(Clone, Debug)]
pub struct UnixDatagramPlace {
    at: UnixAt,
    options: UnixOptions,
}

#[cfg(unix)]
impl UnixDatagramPlace {
    pub(super) fn at(at: UnixAt) -> UnixDatagramPlace {
        UnixDatagramPlace {
            at,
            options: UnixOptions::new().unlink_at_close(),
        }
    }

    /// With what a URL says of the path.
    pub(super) fn said(mut self, said: PathOptions) -> UnixDatagramPlace {
        self.options = self.options.stale(said.stale);
        if let Some(mode) = said.mode {
            self.options = self.options.mode(mode);
        }
        self
    }

    /// Other options than the default, `UnixOptions::new().unlink_at_close()`. A local address in them
    /// counts for nothing.
    #[must_use = "this returns the changed place"]
    pub fn options(mut self, options: UnixOptions) -> UnixDatagramPlace {
        self.options = options;
        self
    }
}

#[cfg(unix)]
from_unix!(UnixDatagramPlace);

#[cfg(unix)]
impl BindPackets for UnixDatagramPlace {
    type Socket = UnixDatagram;

    async fn bind(self) -> Result<UnixDatagram, Error> {
        let options = self.options;
        self.at
            .bound(|address| UnixDatagram::bind_with(address, options))
    }
}

/// A socket that was made already.
#[derive(Debug)]
pub struct Socket<S>(pub(crate) S);

impl<S: DatagramSocket> BindPackets for Socket<S> {
    type Socket = S;

    async fn bind(self) -> Result<S, Error> {
        Ok(self.0)
    }
}

/// A server of messages in packets that does not receive yet; made by [`Server`](crate::Server).
#[derive(Clone)]
#[must_use = "a server does nothing until it is bound and served"]
pub struct PacketServer<B, C = NoCodec> {
    place: B,
    codec: C,
    limits: PacketLimits,
    endpoint: DatagramEndpointBuilder,
}

impl<B> PacketServer<B> {
    pub(crate) fn at(place: B) -> Self {
        PacketServer {
            place,
            codec: NoCodec,
            limits: PacketLimits::new(),
            endpoint: DatagramEndpointBuilder::default(),
        }
    }

    /// Speaks the codec that `codec` makes. It has no state, so one serves all peers.
    pub fn codec<C: MessageCodec>(self, codec: impl FnOnce() -> C) -> PacketServer<B, C> {
        PacketServer {
            place: self.place,
            codec: codec(),
            limits: self.limits,
            endpoint: self.endpoint,
        }
    }
}

impl<B, C> PacketServer<B, C> {
    /// What the server keeps at most.
    pub fn limits(mut self, limits: PacketLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How long packets may be, and what to do with senders that have no address.
    pub fn endpoint(mut self, endpoint: DatagramEndpointBuilder) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Takes the place: afterwards the address is known, and packets wait in the socket.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    pub async fn bind(self) -> Result<BoundPackets<B::Socket, C>, Error>
    where
        B: BindPackets,
        C: MessageCodec,
    {
        let socket = self.place.bind().await?;
        let endpoint = self.endpoint.over(socket, self.codec);
        let local_addrs = endpoint.local_addr().cloned().into_iter().collect();
        Ok(BoundPackets {
            state: Arc::new(State::new(self.limits, local_addrs)),
            endpoint,
        })
    }
}

impl<B, C> PacketServer<B, C>
where
    B: BindPackets,
    C: MessageCodec<Sent: Sync, Received: Send> + 'static,
{
    /// Takes the place and serves on the current backend, in this thread, until the server is stopped
    /// or drained: by the handle that [`on_start`](PacketHandler::on_start) gets.
    ///
    /// # Errors
    ///
    /// As [`bind`](PacketServer::bind) and [`serve`](BoundPackets::serve).
    ///
    /// # Panics
    ///
    /// Where a backend runs on this thread already, and with no backend compiled in. As
    /// [`serve`](BoundPackets::serve).
    pub fn serve_blocking<H>(self, handler: H) -> Result<(), Error>
    where
        H: PacketHandler<B::Socket, C> + 'static,
    {
        Root::new().block_on(async { self.bind().await?.serve(handler).await })
    }
}

impl<B: fmt::Debug, C> fmt::Debug for PacketServer<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketServer")
            .field("place", &self.place)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // T9, T11
    #[test]
    fn without_ipv6_a_server_is_at_every_address_of_ipv4() {
        /// `EAFNOSUPPORT` of Linux.
        const NO_SUCH_FAMILY: i32 = 97;
        let lacking = || io::Error::from_raw_os_error(NO_SUCH_FAMILY);
        let bound = everywhere(53, |at, _| match at.is_ipv4() {
            true => Ok(at),
            false => Err(lacking()),
        });
        assert_eq!(bound.unwrap(), "0.0.0.0:53".parse().unwrap());
        let nowhere = everywhere::<()>(53, |_, _| Err(lacking())).unwrap_err();
        assert_eq!(nowhere.attempts().len(), 2);
    }

    // T9, T11
    #[test]
    fn half_of_what_is_taken_is_not_taken() {
        let bound = everywhere(53, |at, options| match at.is_ipv4() {
            true => Ok(()),
            false => {
                assert_eq!(options, UdpOptions::new().dual_stack());
                Err(io::ErrorKind::AddrInUse.into())
            }
        });
        let error = bound.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Address);
        assert_eq!(error.attempts().len(), 1);
    }
}
