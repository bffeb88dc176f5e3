use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::Address;

use super::counters::PacketCounters;
use super::state::State;
use crate::drain::DrainReport;

/// What can be asked of a server of packets, and told to it, from anywhere.
///
/// Clones are of the same server; outliving it is harmless.
#[derive(Clone)]
pub struct PacketServerHandle {
    state: Arc<State>,
}

impl PacketServerHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        PacketServerHandle { state }
    }

    /// Where the server receives, with the port that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        &self.state.local_addrs
    }

    /// How many peers a handler runs for.
    pub fn peers(&self) -> usize {
        self.state.serving.count()
    }

    /// How many packets wait for handlers.
    pub fn waiting_packets(&self) -> usize {
        self.state.waiting().0
    }

    /// How many bytes those have.
    pub fn waiting_bytes(&self) -> usize {
        self.state.waiting().1
    }

    /// What the server has seen.
    pub fn counters(&self) -> PacketCounters {
        self.state.counters.snapshot()
    }

    /// Whether it receives, or has handlers that have not ended.
    pub fn is_serving(&self) -> bool {
        self.state.serving.is_on()
    }

    /// What became of the handlers that a drain found, so far.
    pub(crate) fn report(&self) -> DrainReport {
        self.state.serving.report()
    }

    /// Receives no more. Handlers get what waits for them and then `None`, and `serve` returns when
    /// none is left.
    pub fn stop_accepting(&self) {
        self.state.serving.stop();
    }

    /// Ends the server: receives no more, waits until all handlers have ended or `timeout` passed,
    /// cancels those that have not, and after the [grace](crate::PacketLimits::grace) drops them.
    ///
    /// # Panics
    ///
    /// Where no backend runs on this thread.
    ///
    /// # Cancel safety
    ///
    /// The server is stopped; nothing is cancelled.
    pub async fn drain(&self, timeout_after: Duration) -> DrainReport {
        self.state.serving.stop();
        let (state, grace) = (&self.state, self.state.limits.grace);
        let ended = state
            .serving
            .end_within(timeout_after, || state.scopes(), grace);
        ended.await
    }
}

impl fmt::Debug for PacketServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketServerHandle")
            .field("local", &self.state.local_addrs)
            .field("peers", &self.peers())
            .field("serving", &self.is_serving())
            .finish_non_exhaustive()
    }
}
