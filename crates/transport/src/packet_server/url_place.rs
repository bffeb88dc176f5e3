use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

#[cfg(all(unix, feature = "ancillary"))]
use bowline_backend::net::ReceivedFds;
#[cfg(unix)]
use bowline_backend::net::UnixDatagram;
use bowline_backend::net::{Received, UdpSocket};
use bowline_backend::stream::Address;
use bytes::BytesMut;

#[cfg(unix)]
use super::builder::UnixDatagramPlace;
use super::builder::{BindPackets, UdpPlace};
use crate::attribute::{AttributeRequest, Extra, LocalAddr};
use crate::datagram::{DatagramRecv, DatagramSend};
use crate::error::{Error, ErrorKind, Operation};
use crate::params::Params;
use crate::scheme::PacketScheme;
#[cfg(unix)]
use crate::server::{PathOptions, UnixAt};
use crate::url::{Url, UrlError, shown};

/// A place to receive packets at, as a URL: made of one, or of its text.
///
/// | URL | receives | keys |
/// |---|---|---|
/// | `udp://host:port` | as [`UdpPlace`] does, at the first address of the host that can be had; `udp://:53` and `udp://*:53` at every one of ours, port 0, or none, at one that the system chooses | |
/// | `unixgram:/path`, `unixgram:@name` | as `UnixDatagramPlace` does | of a path: `stale` (`refuse` by default, or `replace` where the server that had it was killed), `mode` (permissions, as `0660`) |
///
/// There are no others: a server has its limits by [`limits`](crate::PacketServer::limits) and
/// [`endpoint`](crate::PacketServer::endpoint). At `tcp`, `tls`, `unix` and `mem` listens a
/// [`UrlPlace`](crate::UrlPlace).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Text;
/// use bowline_transport::{ErrorKind, Server};
///
/// # Backend::Smol.block_on(async {
/// let server = Server::url_datagrams("udp://127.0.0.1:0").codec(Text::new).bind().await?;
/// assert_ne!(server.local_addrs()[0].as_inet().unwrap().port(), 0);
///
/// let error = Server::url_datagrams("tcp://:80").codec(Text::new).bind().await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Config); // its source says what is for streams
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PacketUrlPlace {
    url: Result<Url, UrlError>,
    /// What may be shown of it.
    shown: String,
}

impl From<Url> for PacketUrlPlace {
    fn from(url: Url) -> PacketUrlPlace {
        PacketUrlPlace {
            shown: shown(&url.to_string()),
            url: Ok(url),
        }
    }
}

impl From<&str> for PacketUrlPlace {
    /// What is wrong with the text is said when it is bound.
    fn from(url: &str) -> PacketUrlPlace {
        PacketUrlPlace {
            url: url.parse(),
            shown: shown(url),
        }
    }
}

impl From<String> for PacketUrlPlace {
    fn from(url: String) -> PacketUrlPlace {
        url.as_str().into()
    }
}

impl BindPackets for PacketUrlPlace {
    type Socket = UrlDatagram;

    async fn bind(self) -> Result<UrlDatagram, Error> {
        let bound = match self.url {
            Ok(url) => bind(&url).await,
            Err(error) => Err(error.into()),
        };
        bound.map_err(|error| match error.kind() {
            // What is wrong with the text is wrong with receiving there.
            ErrorKind::Config => error.of(Operation::Bind).with_place(self.shown),
            _ => error,
        })
    }
}

async fn bind(url: &Url) -> Result<UrlDatagram, Error> {
    let scheme = PacketScheme::of(url)?;
    match scheme {
        PacketScheme::Udp => {
            Params::of_pairs(&[], url.query())?;
            let (host, port) = url.to_listen()?;
            let place = match host {
                Some(host) => UdpPlace::from((host, port)),
                None => UdpPlace::everywhere(port),
            };
            Ok(UrlDatagram(Any::Udp(place.bind().await?)))
        }
        #[cfg(unix)]
        PacketScheme::Unixgram => {
            let at = UnixAt::of_url(url)?;
            let said = PathOptions::of_url(url, &at)?;
            let place = UnixDatagramPlace::at(at).said(said);
            Ok(UrlDatagram(Any::Unix(place.bind().await?)))
        }
    }
}

/// What receives at the place of a URL: a socket of UDP, or a Unix socket of datagrams.
#[must_use = "dropped, nobody receives"]
pub struct UrlDatagram(Any);

enum Any {
    Udp(UdpSocket),
    #[cfg(unix)]
    Unix(UnixDatagram),
}

/// Does the same with whichever there is.
macro_rules! whichever {
    ($value:expr, $one:ident => $act:expr) => {
        match &$value.0 {
            Any::Udp($one) => $act,
            #[cfg(unix)]
            Any::Unix($one) => $act,
        }
    };
}

impl DatagramRecv for UrlDatagram {
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        whichever!(self, one => one.poll_recv_from(cx, buffer, max))
    }

    async fn recv_from(&self, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Received> {
        whichever!(self, one => one.recv_from(buffer, max).await)
    }

    #[cfg(all(unix, feature = "ancillary"))]
    async fn recv_with_fds(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> io::Result<(Received, ReceivedFds)> {
        whichever!(self, one => DatagramRecv::recv_with_fds(one, buffer, max, max_fds).await)
    }

    fn hears(&self) -> Option<Address> {
        whichever!(self, one => one.hears())
    }
}

impl DatagramSend for UrlDatagram {
    fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
        whichever!(self, one => one.poll_send(cx, packet))
    }

    async fn send_to(&self, packet: &[u8], to: &Address) -> io::Result<()> {
        whichever!(self, one => one.send_to(packet, to).await)
    }

    fn max_packet(&self) -> usize {
        whichever!(self, one => one.max_packet())
    }
}

impl Extra for UrlDatagram {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        whichever!(self, one => one.provide(request));
    }
}

impl fmt::Debug for UrlDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlDatagram")
            .field("local", &self.extra::<LocalAddr>())
            .finish_non_exhaustive()
    }
}
