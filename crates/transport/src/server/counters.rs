use std::sync::atomic::{AtomicU64, Ordering};

/// What a server has seen since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerCounters {
    /// Connections that were taken.
    pub accepted: u64,
    /// Those that were reset because there were as many as may be, or the server stopped.
    pub refused: u64,
    /// Those that were reset because their peer had as many as it may have.
    pub refused_per_peer: u64,
    /// Failed accepts that were the failure of one connection.
    pub accept_skipped: u64,
    /// Failed accepts for want of descriptors or memory, each followed by a pause.
    pub accept_exhausted: u64,
    /// Connections that did not become secure.
    pub handshakes_failed: u64,
    /// Connections that ended well, from our side or the peer's.
    pub completed: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Connections whose handler failed.
    pub failed: u64,
    /// Connections whose handler panicked.
    pub panicked: u64,
    /// Connections that were cancelled.
    pub cancelled: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// The counters of a server as they change.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: Count),* }

        impl Counters {
            pub(super) fn snapshot(&self) -> ServerCounters {
                ServerCounters { $($name: self.$name.value()),* }
            }
        }
    };
}

counters!(
    accepted,
    refused,
    refused_per_peer,
    accept_skipped,
    accept_exhausted,
    handshakes_failed,
    completed,
    broken,
    failed,
    panicked,
    cancelled
);

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
