use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::MessageCodec;

use super::Client;
use super::dialling::Dial;
use crate::error::{Error, Operation};
use crate::scheme::{DialOptions, PacketPlan};
use crate::url::{At, Url, UrlErrorKind, WrongAddress, shown};

/// Whom a [`Client`] of [datagrams](Client::datagrams) talks to: made of a socket address of UDP, of a
/// host and a port, on Unix of the address of a Unix socket of datagrams, of a [`Url`], or of the text
/// of an address (`127.0.0.1:80`, `[::1]:80`, `host:80`), which is one of UDP, or of a URL
/// (`udp://host:80`, `unixgram:/path`).
///
/// | URL | to | keys |
/// |---|---|---|
/// | `udp://host:port` | the first address of the host that a socket can be connected to | `connect_timeout`, `max_frame` |
/// | `unixgram:/path`, `unixgram:@name` | a Unix socket | `connect_timeout`, `max_frame` |
///
/// `max_frame` is the longest packet. A text is an address or a URL as that of a
/// [`ClientTarget`](crate::ClientTarget) is.
#[derive(Clone, Debug)]
pub struct DatagramTarget(Result<PacketPlan, Error>);

impl DatagramTarget {
    pub(super) fn client<C>(
        self,
        codec: impl Fn() -> C + Send + Sync + 'static,
    ) -> Client<C::Sent, C::Received>
    where
        C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
    {
        let limit = self.0.as_ref().ok().map(PacketPlan::limit);
        let shared = Arc::new((self.0, codec));
        let dial: Dial<C::Sent, C::Received> = Arc::new(move |options: &DialOptions| {
            let (shared, options) = (shared.clone(), options.clone());
            Box::pin(async move {
                let (plan, codec) = &*shared;
                let plan = plan.as_ref().map_err(Clone::clone)?;
                plan.dial(codec(), None, &options).await
            })
        });
        Client::of_dial(dial, limit)
    }

    /// The address that a text says.
    fn of_address(text: &str) -> Result<PacketPlan, Error> {
        let nobody = |kind| Err(WrongAddress::nobody(text, kind).error(Operation::Connect));
        match At::of(text).map_err(|wrong| wrong.error(Operation::Connect))? {
            At::Host(host, _) if host.is_empty() || host == "*" => nobody(UrlErrorKind::NoHost),
            At::Host(_, 0) => nobody(UrlErrorKind::NoPort),
            at => Ok(PacketPlan::over_udp(at)),
        }
    }
}

impl From<SocketAddr> for DatagramTarget {
    fn from(address: SocketAddr) -> Self {
        DatagramTarget(Ok(PacketPlan::over_udp(At::Address(address))))
    }
}

impl<H: Into<String>> From<(H, u16)> for DatagramTarget {
    fn from((host, port): (H, u16)) -> Self {
        DatagramTarget(Ok(PacketPlan::over_udp(At::Host(host.into(), port))))
    }
}

#[cfg(unix)]
impl From<UnixAddress> for DatagramTarget {
    fn from(address: UnixAddress) -> Self {
        DatagramTarget(Ok(PacketPlan::over_unix(address)))
    }
}

impl From<Url> for DatagramTarget {
    fn from(url: Url) -> Self {
        let plan = PacketPlan::of_url(&url);
        DatagramTarget(plan.map_err(|error| error.with_place(shown(&url.to_string()))))
    }
}

impl From<&str> for DatagramTarget {
    /// What is wrong with the text is said by the first use.
    fn from(text: &str) -> Self {
        if At::is_meant(text) {
            return DatagramTarget(DatagramTarget::of_address(text));
        }
        match text.parse::<Url>() {
            Ok(url) => url.into(),
            Err(error) => DatagramTarget(Err(Error::from(error).with_place(shown(text)))),
        }
    }
}

impl From<String> for DatagramTarget {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}
