use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::Address;
use bowline_concurrency::timeout;

use super::counters::ServerCounters;
use super::state::State;

/// What can be asked of a server, and told to it, from anywhere.
///
/// Clones are of the same server; outliving it is harmless.
#[derive(Clone)]
pub struct ServerHandle {
    state: Arc<State>,
}

/// What became of the connections that [`ServerHandle::drain`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// They came to their end within the timeout.
    pub finished: usize,
    /// They were cancelled, and ended within the grace.
    pub cancelled: usize,
    /// They were cancelled and had to be dropped.
    pub aborted: usize,
    /// They were in a handshake, or had not begun, and were dropped at once.
    pub handshaking: usize,
}

impl ServerHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        ServerHandle { state }
    }

    /// Where the server listens, with the ports that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        &self.state.local_addrs
    }

    /// How many connections there are, those in a handshake included.
    pub fn connections(&self) -> usize {
        self.state.connections()
    }

    /// What the server has seen.
    pub fn counters(&self) -> ServerCounters {
        self.state.counters.snapshot()
    }

    /// Whether it accepts, or has connections that have not ended.
    pub fn is_serving(&self) -> bool {
        self.state.is_serving()
    }

    /// What became of the connections that a drain found, so far.
    pub(super) fn report(&self) -> DrainReport {
        self.state.report()
    }

    /// Closes the listeners. The connections there are go on, and `serve` returns when none is
    /// left.
    pub fn stop_accepting(&self) {
        self.state.stop_accepting();
    }

    /// Ends the server: closes the listeners and tells the handlers, waits until all have ended or
    /// `timeout` passed, cancels those that have not, and after the
    /// [grace](crate::ServerLimits::grace) aborts their connections.
    ///
    /// A handler that waits for a message gets `None` at once, so that idle connections end now;
    /// one that is busy goes on and gets it with its next [`recv`](crate::Messages::recv) that
    /// would wait. Connections in a handshake are dropped. Called twice, the earlier end counts.
    ///
    /// # Panics
    ///
    /// Where no backend runs on this thread.
    ///
    /// # Cancel safety
    ///
    /// The listeners stay closed and the handlers told; nothing is cancelled.
    pub async fn drain(&self, timeout_after: Duration) -> DrainReport {
        self.state.stop_accepting();
        self.state.begin_drain();
        if timeout(timeout_after, self.state.ended.wait())
            .await
            .is_err()
        {
            for scope in self.state.scopes() {
                scope.shutdown(self.state.limits.grace);
            }
            self.state.ended.wait().await;
        }
        self.state.report()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("local", &self.state.local_addrs)
            .field("connections", &self.connections())
            .field("serving", &self.is_serving())
            .finish_non_exhaustive()
    }
}
