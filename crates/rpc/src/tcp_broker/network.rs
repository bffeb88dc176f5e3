//! Which addresses unencrypted bytes may go to and come from, and at which anybody may connect.

use std::net::SocketAddr;

use super::Endpoint;
use crate::{Error, ErrorKind};

/// What the broker was told about the network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Network {
    /// Unencrypted bytes may leave this machine, and strangers may come from elsewhere.
    pub(super) insecure: bool,
    /// Who connects need not prove who it is.
    #[cfg(feature = "tls")]
    pub(super) strangers: bool,
}

impl Network {
    /// The addresses behind `endpoint`, all of which may be used.
    pub(super) async fn addresses(self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Error> {
        let addresses = endpoint.addresses().await?;
        for address in &addresses {
            self.check(*address)?;
        }
        Ok(addresses)
    }

    /// Refuses an endpoint that is an address which may not be used; a name is looked up later.
    pub(super) fn check_literal(self, endpoint: &Endpoint) -> Result<(), Error> {
        endpoint
            .literal()
            .map_or(Ok(()), |address| self.check(address))
    }

    /// Refuses an address at which everybody elsewhere could connect and call, though bytes are encrypted.
    #[cfg(feature = "tls")]
    pub(super) fn check_strangers(self, address: SocketAddr) -> Result<(), Error> {
        if !self.strangers || self.permits(address) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InsecureNetwork,
            format!(
                "{address} is reached from other machines, and whoever connects may call: secret(), keys() and \
                 certificates() ask who it is; allow_insecure_network() permits it"
            ),
        ))
    }

    fn permits(self, address: SocketAddr) -> bool {
        self.insecure || address.ip().to_canonical().is_loopback()
    }

    fn check(self, address: SocketAddr) -> Result<(), Error> {
        if self.permits(address) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InsecureNetwork,
            format!(
                "{address} is not on this machine, and what is sent there is not encrypted; \
                 allow_insecure_network() permits it"
            ),
        ))
    }
}
