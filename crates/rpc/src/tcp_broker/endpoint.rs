//! Where to listen or connect.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bowline_backend::net::{self, Query, ResolveErrorKind};

use crate::{Error, ErrorKind};

/// The port of addresses that name none.
const DEFAULT_PORT: u16 = 15383;
/// The longest name that DNS allows.
const LONGEST_HOST: usize = 253;

/// Where to listen or connect: a socket address, `host:port`, `host` (port 15383), or one of these
/// after `tcp://`.
///
/// An IPv6 address before a port stands in brackets: `[::1]:4000`. A text that is none of these
/// fails the start of the broker it is given to, with
/// [`InvalidInput`](ErrorKind::InvalidInput), and with [`Unsupported`](ErrorKind::Unsupported) where
/// the address is of another kind, as `unix:///run/shop`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Socket(SocketAddr),
    Named { host: String, port: u16 },
    OtherKind(String),
    None { text: String, why: &'static str },
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self(Place::Socket(address))
    }
}

impl From<&str> for Endpoint {
    fn from(text: &str) -> Self {
        let address = text.strip_prefix("tcp://").unwrap_or(text);
        Self(if let Ok(address) = address.parse() {
            Place::Socket(address)
        } else if address.contains("://") {
            Place::OtherKind(text.into())
        } else {
            match split(address) {
                Ok((host, port)) => match host.parse::<IpAddr>() {
                    Ok(host) => Place::Socket(SocketAddr::new(host, port)),
                    Err(_) => Place::Named {
                        host: host.into(),
                        port,
                    },
                },
                Err(why) => Place::None {
                    text: text.into(),
                    why,
                },
            }
        })
    }
}

impl From<String> for Endpoint {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
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
            Place::OtherKind(text) | Place::None { text, .. } => f.write_str(text),
        }
    }
}

impl Endpoint {
    /// Whether it is an address at all.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.0 {
            Place::Socket(_) | Place::Named { .. } => Ok(()),
            Place::OtherKind(text) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{text} is no TCP address"),
            )),
            Place::None { text, why } => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is no address: {why}"),
            )),
        }
    }

    /// The addresses behind it, never none.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        self.check()?;
        let (host, port) = match &self.0 {
            Place::Socket(address) => return Ok(vec![*address]),
            Place::Named { host, port } => (host, *port),
            Place::OtherKind(_) | Place::None { .. } => unreachable!("it was checked"),
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
        for text in ["unix:///run/shop", "tls://example.org:80"] {
            assert_eq!(read(text), Err(ErrorKind::Unsupported), "{text}");
        }
        let error = Endpoint::from("127.0.0.1:99999").check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"127.0.0.1:99999\" is no address: the port is no number from 0 to 65535"
        );
    }
}
