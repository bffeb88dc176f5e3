use crate::counters::counters;

counters! {
    /// What a server has seen since it was bound.
    ///
    /// Each connection that was `accepted` is there still or ended in one way: `handshakes_failed`,
    /// `completed`, `broken`, `undecoded`, `failed`, `panicked` or `cancelled`.
    pub struct ServerCounters from Counters {
        /// Connections that were taken.
        accepted,
        /// Those that were reset because there were as many as may be, or the server stopped.
        refused,
        /// Those that were reset because their peer had as many as it may have.
        refused_per_peer,
        /// Failed accepts that were the failure of one connection.
        accept_skipped,
        /// Failed accepts for want of descriptors or memory, each followed by a pause.
        accept_exhausted,
        /// How often accepting stopped because there were as many connections as may be
        /// ([`AtLimit::Wait`](crate::AtLimit::Wait)): from then on peers wait, if there are any.
        accept_full,
        /// Connections that did not become secure.
        handshakes_failed,
        /// Connections that ended well, from our side or the peer's.
        completed,
        /// Connections that broke.
        broken,
        /// Connections that [`serve_each`](crate::Bound::serve_each) ended since a message could not be
        /// decoded.
        undecoded,
        /// Connections whose handler failed.
        failed,
        /// Connections whose handler panicked.
        panicked,
        /// Connections that were cancelled, before their handler began or later, or that found no place
        /// in the group they were to be served in.
        cancelled,
    }
}
