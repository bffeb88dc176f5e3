//! Methods that come and go while a broker runs.

use super::TcpBroker;
use crate::{Error, ErrorKind, Registry, RegistryError};

impl TcpBroker {
    /// Offers the methods of `registry` as well, run by the broker's executor, and tells every peer. It
    /// is locked for good.
    ///
    /// # Errors
    /// A method of that name is offered already, and nothing has changed. The registry is of another
    /// project, or the broker runs nothing.
    pub fn attach(&self, registry: &Registry) -> Result<(), Error> {
        if self.shared.executor.capacity().max_workers == 0 {
            let message = "a broker that only calls offers no methods";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.shared.offers.attach(registry)?;
        self.shared.offers_changed();
        Ok(())
    }

    /// Offers the methods of `registry` and no others, and tells every peer.
    #[cfg(unix)]
    pub(crate) fn offer_only(&self, registry: &Registry) {
        self.shared.offers.set(registry);
        self.shared.offers_changed();
    }

    /// Offers the methods of `registry` no longer, and tells every peer; whether it did. Calls that run
    /// go on.
    pub fn detach(&self, registry: &Registry) -> bool {
        let changed = self.shared.offers.detach(registry);
        if changed {
            self.shared.offers_changed();
        }
        changed
    }

    /// Offers the method with this full name no longer, until it is [resumed](Self::resume), and tells
    /// every peer. Calls that run go on.
    ///
    /// # Errors
    /// There is no such method here.
    pub fn pause(&self, name: &str) -> Result<(), RegistryError> {
        self.shared.offers.pause(name, true)?;
        self.shared.offers_changed();
        Ok(())
    }

    /// Offers a paused method again, and tells every peer.
    ///
    /// # Errors
    /// There is no such method here.
    pub fn resume(&self, name: &str) -> Result<(), RegistryError> {
        self.shared.offers.pause(name, false)?;
        self.shared.offers_changed();
        Ok(())
    }
}
