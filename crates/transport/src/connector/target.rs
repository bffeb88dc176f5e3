use std::fmt;
use std::net::SocketAddr;

/// Whom a [`TcpConnector`](super::TcpConnector) connects to: made of an address, of several, or of
/// a host by name and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpTarget(pub(super) Where);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Where {
    Addresses(Vec<SocketAddr>),
    Host(String, u16),
}

impl TcpTarget {
    /// The name of the host, where it is one: what the certificate of the peer is to be for.
    pub fn host(&self) -> Option<&str> {
        match &self.0 {
            Where::Host(host, _) => Some(host),
            Where::Addresses(_) => None,
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

impl fmt::Display for TcpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Where::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Where::Host(host, port) => write!(f, "{host}:{port}"),
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
