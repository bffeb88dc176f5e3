//! How one of several peers is chosen.

/// How a broker chooses among the peers that offer a method.
///
/// Whatever it is, a peer that lost five calls in a row with its connection is left out for about a
/// second, then gets one call to show that it is well again, and is left out twice as long if it
/// loses that too or does not answer it in time, up to 30 s. At most half of the peers of a method are
/// left out so.
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
    /// of late, and its [weight](crate::TcpBrokerBuilder::weight).
    PowerOfTwo,
    /// The same peer for the same [key](crate::CallBuilder::key), by rendezvous hashing: when a peer
    /// goes, only its keys move. Calls without a key go to each in turn.
    Hash,
}
