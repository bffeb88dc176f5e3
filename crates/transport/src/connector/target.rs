use std::fmt;
use std::net::SocketAddr;

use crate::url::{At, UrlErrorKind, WrongAddress};

/// Whom a [`TcpConnector`](super::TcpConnector) connects to: made of an address, of several, of
/// a host by name and a port, or of the text of one of them: `127.0.0.1:80`, `[::1]:80`, `host:80`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpTarget(pub(super) Where);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Where {
    Addresses(Vec<SocketAddr>),
    Host(String, u16),
    /// A text that is none; told when it is used.
    Wrong(WrongAddress),
}

impl TcpTarget {
    /// The name of the host, where it is one: what the certificate of the peer is to be for.
    pub fn host(&self) -> Option<&str> {
        match &self.0 {
            Where::Host(host, _) => Some(host),
            Where::Addresses(_) | Where::Wrong(_) => None,
        }
    }
}

impl From<SocketAddr> for TcpTarget {
    fn from(address: SocketAddr) -> Self {
        TcpTarget(Where::Addresses(vec![address]))
    }
}

impl From<Vec<SocketAddr>> for TcpTarget {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        TcpTarget(Where::Addresses(addresses))
    }
}

impl<H: Into<String>> From<(H, u16)> for TcpTarget {
    fn from((host, port): (H, u16)) -> Self {
        TcpTarget(Where::Host(host.into(), port))
    }
}

impl From<&str> for TcpTarget {
    /// What is wrong with the text is said when it is dialled.
    fn from(text: &str) -> Self {
        TcpTarget(match At::of(text) {
            Ok(At::Address(address)) => Where::Addresses(vec![address]),
            Ok(At::Host(host, _)) if host.is_empty() || host == "*" => {
                Where::Wrong(WrongAddress::nobody(text, UrlErrorKind::NoHost))
            }
            Ok(At::Host(_, 0)) => Where::Wrong(WrongAddress::nobody(text, UrlErrorKind::NoPort)),
            Ok(At::Host(host, port)) => Where::Host(host, port),
            Err(wrong) => Where::Wrong(wrong),
        })
    }
}

impl From<String> for TcpTarget {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Display for TcpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Where::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Where::Host(host, port) => write!(f, "{host}:{port}"),
            Where::Wrong(wrong) => wrong.fmt(f),
            Where::Addresses(addresses) => {
                for (n, address) in addresses.iter().enumerate() {
                    f.write_str(if n == 0 { "" } else { ", " })?;
                    address.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}
