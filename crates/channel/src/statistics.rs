//! Numbers about a channel, for those who watch it.

/// What a channel holds and has done, as `statistics()` of either end tells.
///
/// The numbers belong together: they are read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Values that a receive could have at once.
    pub buffered: usize,
    /// The most values that were buffered at any time.
    pub peak: usize,
    /// Sends and reservations that wait.
    pub waiting_senders: usize,
    /// Receives that wait.
    pub waiting_receivers: usize,
    /// Values that were accepted from senders.
    pub sent: u64,
    /// Values that were handed to receivers.
    pub received: u64,
}
