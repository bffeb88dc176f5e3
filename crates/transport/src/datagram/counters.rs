//! What became of packets that nobody was given.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many packets were left out, and why; see
/// [`DatagramTransport::counters`](crate::DatagramTransport::counters) and
/// [`DatagramEndpoint::counters`](crate::DatagramEndpoint::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramCounters {
    /// Dropped, for they came from somebody else than the peer of a connected socket.
    pub foreign: u64,
    /// Dropped, for the sender has no address to answer to.
    pub unnamed: u64,
    /// Longer than the limit, and so reported as an error instead of a message.
    pub truncated: u64,
    /// Refusals of earlier packets that a socket without a peer was told of: of whose, it cannot
    /// say.
    pub refused: u64,
}

/// The same, while they count.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) foreign: AtomicU64,
    pub(super) unnamed: AtomicU64,
    pub(super) truncated: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Counts {
    pub(super) fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> DatagramCounters {
        DatagramCounters {
            foreign: self.foreign.load(Ordering::Relaxed),
            unnamed: self.unnamed.load(Ordering::Relaxed),
            truncated: self.truncated.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
