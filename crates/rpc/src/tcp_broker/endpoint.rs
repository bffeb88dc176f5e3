//! Where to listen or connect.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bowline_backend::net::{self, Query, ResolveErrorKind};
use bowline_backend::stream::Address;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;

use crate::{Error, ErrorKind};

/// The port of addresses that name none.
const DEFAULT_PORT: u16 = 15383;
/// The longest name that DNS allows.
const LONGEST_HOST: usize = 253;

/// Where to listen or connect, as a text of one of these forms, or as a socket address:
///
/// | text | is |
/// |---|---|
/// | `host:port`, `host` (port 15383), `tcp://host:port` | TCP |
/// | `tls://host:port` | TLS over TCP, with the feature `tls` |
/// | `unix:/run/shop.sock`, `unix:@shop` | a Unix socket in the file system, or of an abstract name |
/// | `mem://shop` | a name within this process |
///
/// An IPv6 address before a port stands in brackets: `[::1]:4000`. A text that is none of these
/// fails the start of the broker it is given to, with
/// [`InvalidInput`](ErrorKind::InvalidInput), and with [`Unsupported`](ErrorKind::Unsupported) where
/// the address is of a kind that is unknown here.
///
/// # Examples
/// ```
/// use bowline_rpc::Endpoint;
///
/// assert_eq!(Endpoint::from("example.org").to_string(), "example.org:15383");
/// assert_eq!(Endpoint::from("unix:@shop").to_string(), "unix:@shop");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(pub(super) Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Socket(SocketAddr),
    Named {
        host: String,
        port: u16,
    },
    /// TLS over TCP.
    #[cfg(feature = "tls")]
    Secure {
        host: String,
        port: u16,
    },
    #[cfg(unix)]
    Unix(UnixAddress),
    Memory(Arc<str>),
    OtherKind(String),
    None {
        text: String,
        why: String,
    },
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self(Place::Socket(address))
    }
}

#[cfg(unix)]
impl From<UnixAddress> for Endpoint {
    fn from(address: UnixAddress) -> Self {
        Self(Place::Unix(address))
    }
}

impl From<&str> for Endpoint {
    fn from(text: &str) -> Self {
        Self(read(text).unwrap_or_else(|why| Place::None {
            text: text.into(),
            why,
        }))
    }
}

impl From<String> for Endpoint {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

fn read(text: &str) -> Result<Place, String> {
    if let Some(name) = text.strip_prefix("mem://") {
        return match name.is_empty() {
            true => Err("it has no name".into()),
            false => Ok(Place::Memory(name.into())),
        };
    }
    #[cfg(unix)]
    if let Some(path) = text.strip_prefix("unix:") {
        let address = match path.strip_prefix('@') {
            Some(name) => UnixAddress::from_abstract(name),
            None if path.starts_with("//") && !path.starts_with("///") => {
                return Err("a path after unix: has one slash at its begin, or three".into());
            }
            None => UnixAddress::from_path(path.strip_prefix("//").unwrap_or(path)),
        };
        return address.map(Place::Unix).map_err(|error| error.to_string());
    }
    #[cfg(feature = "tls")]
    if let Some(address) = text.strip_prefix("tls://") {
        let (host, port) = split(address)?;
        let host = host.into();
        return Ok(Place::Secure { host, port });
    }
    let address = text.strip_prefix("tcp://").unwrap_or(text);
    if let Ok(address) = address.parse() {
        return Ok(Place::Socket(address));
    }
    if address.contains("://") || address.starts_with("unix:") {
        return Ok(Place::OtherKind(text.into()));
    }
    let (host, port) = split(address)?;
    Ok(match host.parse::<IpAddr>() {
        Ok(host) => Place::Socket(SocketAddr::new(host, port)),
        Err(_) => Place::Named {
            host: host.into(),
            port,
        },
    })
}

/// Host and port of `address`, or what is wrong with it.
fn split(address: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed
                .split_once(']')
                .ok_or("the bracket is not closed")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err("after the bracket comes a colon and the port"),
            }
        }
        None if address.parse::<IpAddr>().is_ok() => (address, None),
        None => match address.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address before a port stands in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    if host.len() > LONGEST_HOST {
        return Err("the name of the host is longer than 253 bytes");
    }
    if host.contains(|c: char| c.is_control() || c.is_whitespace() || "/[]".contains(c)) {
        return Err("the name of the host has a character that no name has");
    }
    let port = match port {
        None => DEFAULT_PORT,
        // `u16` takes a sign too.
        Some(port) if port.starts_with('+') => return Err(BAD_PORT),
        Some(port) => port.parse().map_err(|_| BAD_PORT)?,
    };
    Ok((host, port))
}

const BAD_PORT: &str = "the port is no number from 0 to 65535";

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Socket(address) => write!(f, "{address}"),
            Place::Named { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Named { host, port } => write!(f, "{host}:{port}"),
            #[cfg(feature = "tls")]
            Place::Secure { host, port } if host.contains(':') => {
                write!(f, "tls://[{host}]:{port}")
            }
            #[cfg(feature = "tls")]
            Place::Secure { host, port } => write!(f, "tls://{host}:{port}"),
            #[cfg(unix)]
            Place::Unix(address) => write!(f, "unix:{address}"),
            Place::Memory(name) => write!(f, "mem://{name}"),
            Place::OtherKind(text) | Place::None { text, .. } => f.write_str(text),
        }
    }
}

/// The kinds of addresses that there are.
const KINDS: &str = if cfg!(feature = "tls") {
    "there are host:port, tcp://, tls://, unix: and mem://"
} else {
    "there are host:port, tcp://, unix: and mem://, and tls:// with the feature `tls`"
};

impl Endpoint {
    /// Whether it is an address at all.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.0 {
            Place::OtherKind(text) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{text} is an address of a kind that is unknown here: {KINDS}"),
            )),
            Place::None { text, why } => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is no address: {why}"),
            )),
            _ => Ok(()),
        }
    }

    /// The address it is, unless it is a name.
    pub(super) fn literal(&self) -> Option<SocketAddr> {
        match &self.0 {
            Place::Socket(address) => Some(*address),
            _ => None,
        }
    }

    /// Its address, if it is one and no name of one.
    pub(super) fn address(&self) -> Option<Address> {
        match &self.0 {
            Place::Socket(address) => Some((*address).into()),
            #[cfg(feature = "tls")]
            Place::Secure { host, port } => {
                let host: IpAddr = host.parse().ok()?;
                Some(SocketAddr::new(host, *port).into())
            }
            #[cfg(unix)]
            Place::Unix(address) => Some(address.clone().into()),
            Place::Memory(name) => Some(Address::Named(name.clone())),
            _ => None,
        }
    }

    /// The internet addresses behind it, never none; of no other place than one that has such.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        self.check()?;
        let (host, port) = match &self.0 {
            Place::Socket(address) => return Ok(vec![*address]),
            Place::Named { host, port } => (host, *port),
            #[cfg(feature = "tls")]
            Place::Secure { host, port } => match host.parse::<IpAddr>() {
                Ok(host) => return Ok(vec![SocketAddr::new(host, *port)]),
                Err(_) => (host, *port),
            },
            _ => {
                let message = format!("{self} has no internet address");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        net::resolve(Query::host(host, port))
            .await
            .map_err(|error| {
                let kind = match error.kind() {
                    ResolveErrorKind::InvalidName => ErrorKind::InvalidInput,
                    _ => ErrorKind::Transport,
                };
                Error::with_source(kind, format_args!("{self} was not resolved"), error)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, ErrorKind> {
        let endpoint = Endpoint::from(text);
        endpoint
            .check()
            .map(|()| endpoint.to_string())
            .map_err(|error| error.kind())
    }

    #[test]
    fn addresses_are_read() {
        for (text, is) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1", "127.0.0.1:15383"),
            ("tcp://127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:15383"),
            ("::1", "[::1]:15383"),
            ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
            ("example.org", "example.org:15383"),
            ("example.org:0", "example.org:0"),
            ("tcp://example.org:65535", "example.org:65535"),
            ("unix:/run/shop.sock", "unix:/run/shop.sock"),
            ("unix:///run/shop.sock", "unix:/run/shop.sock"),
            ("unix:shop.sock", "unix:shop.sock"),
            ("unix:@shop", "unix:@shop"),
            ("mem://shop", "mem://shop"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(is), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}:80", "x".repeat(254));
        for text in [
            "",
            "tcp://",
            ":80",
            "127.0.0.1:99999",
            "127.0.0.1:",
            "127.0.0.1:-1",
            "127.0.0.1:+1",
            "example.org:http",
            "[::1",
            "[::1]80",
            "[]:80",
            "::1:80:x",
            "a b:80",
            "a\0b:80",
            "example.org/shop",
            &long,
        ] {
            assert_eq!(read(text), Err(ErrorKind::InvalidInput), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(200));
        for text in ["mem://", "unix:", "unix:@", "unix://run/shop", &long] {
            assert_eq!(read(text), Err(ErrorKind::InvalidInput), "{text}");
        }
        assert_eq!(read("http://example.org"), Err(ErrorKind::Unsupported));
        #[cfg(feature = "tls")]
        {
            assert_eq!(read("tls://[::1]:80").as_deref(), Ok("tls://[::1]:80"));
            assert_eq!(
                read("tls://example.org").as_deref(),
                Ok("tls://example.org:15383")
            );
            assert_eq!(read("tls://:80"), Err(ErrorKind::InvalidInput));
        }
        #[cfg(not(feature = "tls"))]
        assert_eq!(read("tls://example.org:80"), Err(ErrorKind::Unsupported));
        let error = Endpoint::from("127.0.0.1:99999").check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"127.0.0.1:99999\" is no address: the port is no number from 0 to 65535"
        );
    }
}
