use std::fmt;

use bowline_concurrency::sync::LockGuard;

use super::Client;
use super::line::NotQueued;
use crate::error::{Error, Operation};
use crate::span::OperationSpan;
use crate::transport::TransportSend;

/// A turn, and room for one message; made by [`Client::reserve`].
#[must_use = "a permit dropped unused sends nothing, and nobody else sends until it is dropped"]
pub struct ClientPermit<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) client: &'a Client<S, R>,
    pub(super) _turn: LockGuard<'a, ()>,
}

impl<S, R> ClientPermit<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Queues the whole message or nothing, and tries to write without waiting.
    ///
    /// # Errors
    ///
    /// The codec refused the message, or the connection is gone since: nothing was queued.
    pub fn send(self, message: &S) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || self.client.peer_addr());
        span.of(|| self.queue(message))
    }

    fn queue(&self, message: &S) -> Result<(), Error> {
        match self.client.line().queue(message, TransportSend::queue) {
            Ok(generation) => {
                self.client.queued.on(generation);
                Ok(())
            }
            Err(NotQueued::Refused(error)) => {
                Err(Error::from_encode(error).with_peer(self.client.peer_addr()))
            }
            Err(NotQueued::Gone(error)) => Err(error),
        }
    }
}

impl<S, R> fmt::Debug for ClientPermit<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientPermit")
    }
}
