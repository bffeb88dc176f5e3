use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::Address;

use super::counters::ServerCounters;
use super::state::State;
use crate::drain::DrainReport;

/// What can be asked of a server, and told to it, from anywhere.
///
/// Clones are of the same server; outliving it is harmless.
#[derive(Clone)]
pub struct ServerHandle {
    state: Arc<State>,
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
        self.state.serving.count()
    }

    /// What the server has seen.
    pub fn counters(&self) -> ServerCounters {
        self.state.counters.snapshot()
    }

    /// Whether it accepts, or has connections that have not ended.
    pub fn is_serving(&self) -> bool {
        self.state.serving.is_on()
    }

    /// What became of the connections that a drain found, so far.
    pub(super) fn report(&self) -> DrainReport {
        self.state.serving.report()
    }

    /// Closes the listeners. The connections there are go on, and `serve` returns when none is
    /// left.
    pub fn stop_accepting(&self) {
        self.state.serving.stop();
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
        self.state.serving.stop();
        self.state.begin_drain();
        let (state, grace) = (&self.state, self.state.limits.grace);
        let ended = state
            .serving
            .end_within(timeout_after, || state.scopes(), grace);
        ended.await
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
