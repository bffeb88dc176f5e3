//! Methods that come and go while a broker runs.

use super::TcpBroker;
use crate::offers::check_runs;
use crate::{Error, Registry, RegistryError};

impl TcpBroker {
    /// Offers the methods of `registry` as well, run by the broker's executor, and tells every peer. It
    /// is locked for good.
    ///
    /// # Errors
    /// Nothing has changed then. [`Registry`](crate::ErrorKind::Registry): a method of that name is offered
    /// already. [`InvalidInput`](crate::ErrorKind::InvalidInput): the registry is of another project, the broker
    /// would offer too many methods, or it runs none. [`Unsupported`](crate::ErrorKind::Unsupported): its executor
    /// [runs no others](crate::executor::Executor::takes_methods) than those of its own registry, as a
    /// [pool of processes](crate::executor::ProcessPoolExecutor).
    pub fn attach(&self, registry: &Registry) -> Result<(), Error> {
        check_runs(&*self.shared.executor)?;
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
