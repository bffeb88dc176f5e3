use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::Address;

use super::counters::PacketCounters;
use super::state::State;
use crate::drain::{DrainReport, end_within};

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
        self.state.peers()
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
        self.state.is_serving()
    }

    /// What became of the handlers that a drain found, so far.
    pub(crate) fn report(&self) -> DrainReport {
        self.state.report()
    }

    /// Receives no more. Handlers get what waits for them and then `None`, and `serve` returns when
    /// none is left.
    pub fn stop_accepting(&self) {
        self.state.stop_accepting();
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
        self.state.stop_accepting();
        let (state, grace) = (&self.state, self.state.limits.grace);
        end_within(timeout_after, &state.ended, || state.scopes(), grace).await;
        state.report()
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
