use std::sync::atomic::{AtomicU64, Ordering};

/// What a server of packets has seen since it was bound.
///
/// Each packet that was `received` was `taken`, dropped for one of three reasons (`overflowed`,
/// `refused`, `unhandled`), or waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketCounters {
    /// Packets that were received.
    pub received: u64,
    /// Those that a handler took, whether they could be decoded or not.
    pub taken: u64,
    /// Those dropped because more of their peer waited than may.
    pub overflowed: u64,
    /// Those dropped because there were as many peers as may be.
    pub refused: u64,
    /// Those dropped because the handler that they began returned without taking any, or was
    /// cancelled, or could not begin.
    pub unhandled: u64,
    /// Failed receives that say nothing of the socket.
    pub skipped: u64,
    /// Failed receives for want of memory, each followed by a pause.
    pub exhausted: u64,
    /// Handlers that returned.
    pub completed: u64,
    /// Handlers that failed.
    pub failed: u64,
    /// Handlers that panicked.
    pub panicked: u64,
    /// Handlers that were cancelled.
    pub cancelled: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// The counters of a server as they change.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: Count),* }

        impl Counters {
            pub(super) fn snapshot(&self) -> PacketCounters {
                PacketCounters { $($name: self.$name.value()),* }
            }
        }
    };
}

counters!(
    received, taken, overflowed, refused, unhandled, skipped, exhausted, completed, failed,
    panicked, cancelled
);

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
