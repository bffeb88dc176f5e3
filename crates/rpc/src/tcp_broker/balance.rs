//! How one of several peers is chosen.

/// How a broker chooses among the peers that offer a method.
///
/// Whatever it is, a peer that lost five calls in a row with its connection is left out for about a
/// second, then gets one call to show that it is well again, and is left out twice as long if it
/// loses that too or does not answer it in time, up to 30 s. Any answer ends that, and so does an item that it
/// sends or takes; calls with items and notifications try it only if no other call has for as long again. At most
/// half of the peers of a method are left out so. Of peers that are gone the last 1024 that lost calls are known,
/// and apart from them as many endpoints that this side connects to.
///
/// A peer that refuses a call for want of room gets none for as long as it said, or 100 ms; then one that shows
/// whether it has some, and none for twice as long if it refuses that, up to 30 s: while there are others. A call
/// that is made again goes to a peer that it has not been to, if there is one.
///
/// To call every peer that is not left out, see [`broadcast`](crate::Caller::broadcast).
///
/// # Examples
/// ```
/// use bowline_rpc::{Balance, TcpBroker};
///
/// let broker = TcpBroker::caller()
///     .project("example")
///     .balance(Balance::PowerOfTwo)
///     .balance_of("shop.cart", Balance::Hash);
/// # drop(broker);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Of two drawn at random, the one with less to do: by calls in flight, how long its calls took
    /// of late that ran, and its [weight](crate::TcpBrokerBuilder::weight). Where none did, what the others take
    /// is expected. Calls that it refused for want of room, lost, or did not answer in time count as slow
    /// ones. All of this is forgotten by half every 10 s, so no peer is left out for good.
    PowerOfTwo,
    /// The same peer for the same [key](crate::CallBuilder::key), by rendezvous hashing: when a peer
    /// goes, only its keys move. Calls without a key go to each in turn. The keys of a peer without room go to the
    /// next best for that time, but for calls that have an
    /// [idempotency key](crate::CallBuilder::idempotency_key) too.
    Hash,
}
