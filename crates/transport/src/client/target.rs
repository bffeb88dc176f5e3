use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::Codec;

use super::Client;
use super::dialling::Dial;
use crate::connector::{TcpConnector, TcpTarget};
use crate::error::Error;
use crate::memory::MemoryNetwork;
use crate::scheme::{DialOptions, Plan};
use crate::url::{At, Url, shown};

/// Whom a [`Client`] dials: made of a socket address, of several, of a host and a port, of a
/// [`TcpConnector`], on Unix of the address of a Unix socket, of a [`Url`], or of the text of an
/// address (`127.0.0.1:80`, `[::1]:80`, `host:80`) or a URL (`tcp://host:80`).
///
/// A text is an address where a number follows its last colon, and a URL where `//` is in it or where
/// it begins with `tcp:`, `tls:`, `udp:`, `unix:`, `unixgram:` or `mem:`. Of a URL the scheme is one of a
/// byte stream: `tcp`, `tls`, `unix` or `mem`; to sockets of datagrams leads a
/// [`DatagramTarget`](crate::DatagramTarget).
#[derive(Clone, Debug)]
pub struct ClientTarget {
    to: Where,
    network: Option<MemoryNetwork>,
}

#[derive(Clone, Debug)]
enum Where {
    Tcp(TcpConnector),
    #[cfg(unix)]
    Unix(UnixAddress),
    Url(Url),
    /// A text that is none; told when it is used.
    Wrong(Error),
}

impl ClientTarget {
    fn to(to: Where) -> ClientTarget {
        ClientTarget { to, network: None }
    }

    /// Where the names of `mem://` are; without it there are none.
    #[must_use = "this returns the changed target"]
    pub fn network(mut self, network: &MemoryNetwork) -> ClientTarget {
        self.network = Some(network.clone());
        self
    }

    pub(super) fn client<C>(
        self,
        codec: impl Fn() -> C + Send + Sync + 'static,
    ) -> Client<C::Sent, C::Item>
    where
        C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
    {
        let network = self.network.as_ref();
        let plan = match self.to {
            Where::Tcp(connector) => Ok(Plan::over_tcp(connector)),
            #[cfg(unix)]
            Where::Unix(address) => Ok(Plan::over_unix(address)),
            Where::Url(url) => Plan::of_url(&url, network)
                .map_err(|error| error.with_place(shown(&url.to_string()))),
            Where::Wrong(error) => Err(error),
        };
        let limit = plan.as_ref().ok().map(Plan::limit);
        let reconnects = plan.as_ref().is_ok_and(|plan| plan.reconnect);
        let shared = Arc::new((plan, codec));
        let dial: Dial<C::Sent, C::Item> = Arc::new(move |options: &DialOptions| {
            let (shared, options) = (shared.clone(), options.clone());
            Box::pin(async move {
                let (plan, codec) = &*shared;
                plan.as_ref()
                    .map_err(Clone::clone)?
                    .dial(codec, &options)
                    .await
            })
        });
        let client = Client::of_dial(dial, limit);
        match reconnects {
            true => client.reconnecting(),
            false => client,
        }
    }
}

impl From<SocketAddr> for ClientTarget {
    fn from(address: SocketAddr) -> Self {
        TcpConnector::new(address).into()
    }
}

impl From<Vec<SocketAddr>> for ClientTarget {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        TcpConnector::new(addresses).into()
    }
}

impl<H: Into<String>> From<(H, u16)> for ClientTarget {
    fn from(target: (H, u16)) -> Self {
        TcpConnector::new(target).into()
    }
}

impl From<TcpTarget> for ClientTarget {
    fn from(target: TcpTarget) -> Self {
        TcpConnector::new(target).into()
    }
}

impl From<TcpConnector> for ClientTarget {
    fn from(connector: TcpConnector) -> Self {
        ClientTarget::to(Where::Tcp(connector))
    }
}

#[cfg(unix)]
impl From<UnixAddress> for ClientTarget {
    fn from(address: UnixAddress) -> Self {
        ClientTarget::to(Where::Unix(address))
    }
}

impl From<Url> for ClientTarget {
    fn from(url: Url) -> Self {
        ClientTarget::to(Where::Url(url))
    }
}

impl From<&str> for ClientTarget {
    fn from(text: &str) -> Self {
        if At::is_meant(text) {
            return TcpTarget::from(text).into();
        }
        ClientTarget::to(match text.parse::<Url>() {
            Ok(url) => Where::Url(url),
            Err(error) => Where::Wrong(Error::from(error).with_place(shown(text))),
        })
    }
}

impl From<String> for ClientTarget {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}
