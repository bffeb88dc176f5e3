//! A turn to send.

use std::fmt;

use bowline_concurrency::sync::LockGuard;

use super::Shared;
use crate::error::{Error, Operation};
use crate::span::OperationSpan;
use crate::transport::{Transport, TransportSend};

/// A turn, and room for one message; made by [`Shared::reserve`].
#[must_use = "a permit dropped unused sends nothing, and nobody else sends until it is dropped"]
pub struct SharedPermit<'a, T: Transport> {
    pub(super) shared: &'a Shared<T>,
    pub(super) _turn: LockGuard<'a, ()>,
}

impl<T: Transport> SharedPermit<'_, T> {
    /// Queues the whole message or nothing, and tries to write without waiting.
    ///
    /// # Errors
    ///
    /// The codec refused the message, or somebody closed the transport: nothing was queued.
    pub fn send(self, message: &T::Sent) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || self.shared.peer_addr());
        span.of(|| self.queue(message))
    }

    fn queue(&self, message: &T::Sent) -> Result<(), Error> {
        self.shared
            .use_sender(Operation::Send, |sender| sender.queue(message))?
            .map_err(|error| self.shared.refused(error))
    }
}

impl<T: Transport> fmt::Debug for SharedPermit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedPermit")
    }
}
