//! What became of packets that nobody was given.

use crate::counters::counters;

counters! {
    /// How many packets were left out, and why; see
    /// [`DatagramTransport::counters`](crate::DatagramTransport::counters) and
    /// [`DatagramEndpoint::counters`](crate::DatagramEndpoint::counters).
    pub struct DatagramCounters from Counts {
        /// Dropped, for they came from somebody else than the peer of a connected socket.
        foreign,
        /// Dropped, for the sender has no address to answer to.
        unnamed,
        /// Longer than the limit, and so reported as an error instead of a message.
        truncated,
        /// Refusals of earlier packets that a socket without a peer was told of: of whose, it cannot
        /// say.
        refused,
    }
}
