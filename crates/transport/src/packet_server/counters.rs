use crate::counters::counters;

counters! {
    /// What a server of packets has seen since it was bound.
    ///
    /// Each packet that was `received` was `taken`, dropped for one of three reasons (`overflowed`,
    /// `refused`, `unhandled`), or waits.
    pub struct PacketCounters from Counters {
        /// Packets that were received.
        received,
        /// Those that a handler took, whether they could be decoded or not.
        taken,
        /// Those dropped because more of their peer waited than may.
        overflowed,
        /// Those dropped because there were as many peers as may be and none of them made place, or the server
        /// had stopped.
        refused,
        /// Those dropped because the handler that they began returned without taking any, or was
        /// cancelled, or could not begin.
        unhandled,
        /// Packets whose descriptors were closed because more waited than may.
        stripped,
        /// Failed receives that say nothing of the socket.
        skipped,
        /// Failed receives for want of memory, each followed by a pause.
        exhausted,
        /// Handlers that were told that there is no next packet, to make place for another peer.
        displaced,
        /// Handlers that returned.
        completed,
        /// Runs of [`serve_each`](crate::BoundPackets::serve_each) that ended since a packet could not be
        /// decoded; the next packet begins another one.
        undecoded,
        /// Handlers that failed.
        failed,
        /// Handlers that panicked.
        panicked,
        /// Handlers that were cancelled.
        cancelled,
    }
}
