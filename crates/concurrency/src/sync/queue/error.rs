use std::fmt;

/// The queue is closed and empty: no value will come any more.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is closed and empty")]
pub struct Closed;

/// The queue is closed, so the value was not sent; here it is again.
#[derive(Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sending into a closed queue")]
pub struct QueueSendError<T>(
    /// The value that was not sent.
    pub T,
);

/// Why a value could not be sent without waiting; it is given back.
#[derive(Copy, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueTrySendError<T> {
    /// There is no room now.
    #[error("sending into a full queue")]
    Full(T),
    /// The queue is closed.
    #[error("sending into a closed queue")]
    Closed(T),
}

impl<T> QueueTrySendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            QueueTrySendError::Full(value) | QueueTrySendError::Closed(value) => value,
        }
    }
}

/// Why no value could be received without waiting.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueTryRecvError {
    /// None is there now.
    #[error("the queue is empty")]
    Empty,
    /// The queue is closed and empty: none will come any more.
    #[error("the queue is closed and empty")]
    Closed,
}

/// As many values are done as were sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many values of the queue are done as were sent")]
pub struct TooManyDone;

// Without `T: Debug`, so that `unwrap` works with any value.
impl<T> fmt::Debug for QueueSendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueSendError(..)")
    }
}

impl<T> fmt::Debug for QueueTrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QueueTrySendError::Full(_) => "Full(..)",
            QueueTrySendError::Closed(_) => "Closed(..)",
        })
    }
}
