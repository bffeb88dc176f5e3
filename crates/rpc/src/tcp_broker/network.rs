//! Which addresses unencrypted bytes may go to and come from.

use std::net::SocketAddr;

use super::Endpoint;
use crate::{Error, ErrorKind};

/// What the broker was told about the network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Network {
    /// Unencrypted bytes may leave this machine.
    pub(super) insecure: bool,
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

    fn check(self, address: SocketAddr) -> Result<(), Error> {
        if self.insecure || address.ip().to_canonical().is_loopback() {
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
