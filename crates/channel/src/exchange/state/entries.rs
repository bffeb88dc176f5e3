//! What stands in the queues, and what steps on them find.

use std::task::Waker;

use crate::exchange::ticket::TicketRef;

/// Whose entry it is: whom to wake, and whether somebody may decide otherwise.
#[derive(Debug)]
pub(in crate::exchange) enum Party {
    Alone(Waker),
    Select(TicketRef, usize),
}

/// What a send brings: a value, or the wish for a slot to put one in later.
#[derive(Debug)]
pub(crate) enum Load<T> {
    Value(T),
    Slot,
}

impl<T> Load<T> {
    /// The value of a send.
    pub(crate) fn into_value(self) -> T {
        match self {
            Self::Value(value) => value,
            Self::Slot => unreachable!("a send brings a value"),
        }
    }
}

#[derive(Debug)]
pub(in crate::exchange) enum WaitingSend<T> {
    /// Queued (or stale), owns its load.
    Waiting(Load<T>, Party),
    /// A peer took the value.
    Sent,
    /// A slot was reserved for it.
    Reserved,
    /// The channel was closed; the load waits to be fetched.
    Returned(Load<T>),
}

#[derive(Debug)]
pub(in crate::exchange) enum WaitingRecv {
    /// Queued (or stale); gets a promise in its turn.
    Waiting(Party),
    /// Settled; the oldest value in the buffer may be fetched.
    Granted,
    /// Queued, but only told that a value came, without a promise: its owner
    /// may have lost interest without our seeing it (a stream that nobody
    /// polls any more), and must not be able to withhold a value from others.
    Watching(Waker),
    /// Settled; told that a value came, or the end.
    Told,
}

/// What a waiting receive wants when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// A promised value. The owner must call `forget_recv`.
    Promise,
    /// To be woken, no more.
    Notice,
}

/// What a step under the lock found; `NeedsWaker` asks the caller to clone its
/// waker without the lock and to come back.
pub(in crate::exchange) enum Step<R> {
    Finished(R),
    Parked,
    NeedsWaker,
    /// Nothing was done; others are to run first.
    Yield,
    /// It had finished before.
    Misused,
}

/// What came of a send that was attempted at once.
pub(in crate::exchange) enum SendStep<T> {
    Sent,
    Full(Load<T>),
    Closed(Load<T>),
    /// The select it belongs to was decided elsewhere.
    Lost(Load<T>),
}

/// What came of a receive that was attempted at once.
pub(in crate::exchange) enum RecvStep<T> {
    Received(T),
    Empty,
    Closed,
    /// The select it belongs to was decided elsewhere.
    Lost,
}
