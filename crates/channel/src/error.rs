//! What a channel operation can fail with. Failed sends give the value back.

use std::fmt;

/// The channel is closed, so the value was not sent; here it is again.
///
/// `Debug` does not require `T: Debug`, so that `unwrap` works with any value.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sending into a closed channel")]
pub struct SendError<T>(
    /// The value that was not sent.
    pub T,
);

impl<T> SendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

/// The channel was closed while many values were sent.
///
/// Those sent before are delivered like any other. `Debug` does not require
/// `T: Debug`.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sending into a closed channel, after {sent} values were sent")]
pub struct SendAllError<T> {
    /// The value that was taken from the iterator but not sent.
    pub value: T,
    /// How many values were sent before.
    pub sent: usize,
}

impl<T> fmt::Debug for SendAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAllError")
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// Why a value could not be sent without waiting; it is given back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<T> {
    /// There is no room now; on a rendezvous channel, no receiver waits.
    #[error("sending into a full channel")]
    Full(T),
    /// The channel is closed and will never take a value again.
    #[error("sending into a closed channel")]
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }

    /// Whether trying again later can succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the channel is closed, so that trying again is in vain.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// The channel is closed and drained: no value will come any more.
///
/// While a value is promised to another receive that was not polled since, or
/// a [`Permit`](crate::Permit) is out, that is not decided, and a receive waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("receiving from a closed and empty channel")]
pub struct RecvError;

/// Why no value could be received without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TryRecvError {
    /// Nothing is there now; on a rendezvous channel, no sender waits.
    ///
    /// Also when the channel is closed but a value may still come: one that is
    /// promised to another receive, should that be dropped, or one out of a
    /// [`Permit`](crate::Permit).
    #[error("receiving from an empty channel")]
    Empty,
    /// The channel is closed and drained: no value will come any more.
    #[error("receiving from a closed and empty channel")]
    Closed,
}

/// Why a receiver of a broadcast gets no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BroadcastRecvError {
    /// It was too far behind and missed so many values.
    #[error("missed {0} values of a broadcast")]
    Lagged(u64),
    /// No value will come any more.
    #[error("receiving from a closed broadcast")]
    Closed,
}

/// Why a receiver of a broadcast gets no value without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TryBroadcastRecvError {
    /// It has had every value; another may come.
    #[error("receiving from an empty broadcast")]
    Empty,
    /// It was too far behind and missed so many values.
    #[error("missed {0} values of a broadcast")]
    Lagged(u64),
    /// No value will come any more.
    #[error("receiving from a closed broadcast")]
    Closed,
}

/// No buffer of the requested capacity can be allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a channel cannot buffer {requested} values of this type")]
pub struct CapacityError {
    pub(crate) requested: usize,
}

impl CapacityError {
    /// The capacity that was asked for, in values.
    pub fn requested(&self) -> usize {
        self.requested
    }
}
