use crate::cause::Cause;
use crate::node::NodeRef;
use crate::panic::Panic;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Why a child did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError<E> {
    /// It returned this error first. The group does not have it.
    #[error("the task failed before it had started: {0}")]
    Failed(E),
    /// It panicked first.
    #[error("before it had started the task {0}")]
    Panicked(Panic),
    /// It returned without having said that it had started.
    #[error("the task ended before it had started")]
    ExitedEarly,
    /// It was cancelled first.
    #[error("the task was cancelled before it had started: {0}")]
    Cancelled(Cause),
    /// The runtime dropped it first.
    #[error("the task was dropped by the runtime before it had started")]
    Lost,
    /// The group has ended or is full; the task never ran.
    #[error("the task was refused by its group")]
    Refused,
}

/// Nobody waits for the child to start any more; here is the value again.
#[derive(Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for this task to start")]
pub struct NotWaiting<V>(
    /// The value that was not taken.
    pub V,
);

impl<V> fmt::Debug for NotWaiting<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotWaiting(..)")
    }
}

/// With this a child says that it has started; of [`TaskGroup::start`](crate::TaskGroup::start).
#[must_use = "whoever starts the task waits for this"]
pub struct Started<V> {
    record: Arc<dyn Accepts<V>>,
    child: NodeRef,
}

impl<V> Started<V> {
    pub(crate) fn new(record: Arc<dyn Accepts<V>>, child: NodeRef) -> Started<V> {
        Started { record, child }
    }

    /// Says that the task has started, and passes on a value. From now on the task is cancelled
    /// with its group.
    ///
    /// # Errors
    ///
    /// [`NotWaiting`] with the value, if whoever started the task was cancelled or dropped.
    pub fn send(self, value: V) -> Result<(), NotWaiting<V>> {
        let waker = self.record.accept(value).map_err(NotWaiting)?;
        self.child.lower_mask();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<V> fmt::Debug for Started<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// How a child ended that had not started.
pub(in crate::task_group) enum EndedEarly<E> {
    Done,
    Failed(E),
    Panicked(Panic),
    Cancelled(Cause),
    Lost,
}

/// Where a child's value goes.
pub(crate) trait Accepts<V>: Send + Sync {
    /// Takes it, with the waker of who waits for it; gives it back if nobody does.
    fn accept(&self, value: V) -> Result<Option<Waker>, V>;
}

/// Where the end of a child goes before its group hears of it.
pub(in crate::task_group) trait Reports<E>: Send + Sync {
    /// Takes it from a child that has not started: whoever waits for that hears of it. Whether it
    /// has is decided here alone, for another thread may say so until then. Of a child that was
    /// never waited for, it says with what it ends.
    fn report(&self, ended: EndedEarly<E>) -> Reported<E>;
}

/// What became of the end of a child that waits to have started.
pub(in crate::task_group) enum Reported<E> {
    Taken,
    /// Nobody waits for it any more.
    Unwanted(EndedEarly<E>),
    /// It has started: it is a child like any other.
    Started(EndedEarly<E>),
}

/// What passes between the child and the one who waits for it to start.
///
/// Invariant: `stage` leaves `Waiting` once; no waker is woken and no value dropped under it.
pub(super) struct Record<V, E> {
    /// The place of the one who waits: cancelled, it takes no value.
    place: NodeRef,
    stage: Mutex<Stage<V, E>>,
}

enum Stage<V, E> {
    /// The child runs and has not started.
    Waiting {
        waker: Option<Waker>,
        caller: Caller,
    },
    Sent(V),
    Ended(EndedEarly<E>),
    /// What there was has been taken.
    Over,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Waits,
    /// Takes no value, but waits for the end.
    Cancelled,
    Gone,
}

impl<V, E> Record<V, E> {
    pub(super) fn new(place: NodeRef) -> Record<V, E> {
        Record {
            place,
            stage: Mutex::new(Stage::Waiting {
                waker: None,
                caller: Caller::Waits,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage<V, E>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Send, E: Send> Accepts<V> for Record<V, E> {
    fn accept(&self, value: V) -> Result<Option<Waker>, V> {
        if self.place.is_cancelled() {
            return Err(value);
        }
        let mut stage = self.lock();
        match &mut *stage {
            Stage::Waiting {
                waker,
                caller: Caller::Waits,
            } => {
                let waker = waker.take();
                *stage = Stage::Sent(value);
                Ok(waker)
            }
            _ => Err(value),
        }
    }
}

impl<V: Send, E: Send> Reports<E> for Record<V, E> {
    fn report(&self, ended: EndedEarly<E>) -> Reported<E> {
        let mut stage = self.lock();
        let Stage::Waiting { waker, caller } = &mut *stage else {
            return Reported::Started(ended);
        };
        if *caller == Caller::Gone {
            *stage = Stage::Over;
            return Reported::Unwanted(ended);
        }
        let waker = waker.take();
        *stage = Stage::Ended(ended);
        drop(stage);
        if let Some(waker) = waker {
            waker.wake();
        }
        Reported::Taken
    }
}

pub(super) enum Taken<V, E> {
    Value(V),
    Ended(EndedEarly<E>),
}

impl<V, E> Record<V, E> {
    /// What has come; otherwise notes who waits, and how.
    pub(super) fn take(&self, now: Caller, cx: &Context<'_>) -> Option<Taken<V, E>> {
        let mut stage = self.lock();
        if let Stage::Waiting { waker, caller } = &mut *stage {
            *caller = now;
            let former = waker.replace(cx.waker().clone());
            drop(stage);
            drop(former);
            return None;
        }
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Sent(value) => Some(Taken::Value(value)),
            Stage::Ended(ended) => Some(Taken::Ended(ended)),
            Stage::Waiting { .. } | Stage::Over => None,
        }
    }

    /// Nobody waits from now on. Whether the child has yet to start.
    pub(super) fn leave(&self) -> bool {
        let mut stage = self.lock();
        let left = match &mut *stage {
            Stage::Waiting { waker, caller } => {
                *caller = Caller::Gone;
                let waker = waker.take();
                drop(stage);
                drop(waker);
                return true;
            }
            Stage::Sent(_) | Stage::Ended(_) => std::mem::replace(&mut *stage, Stage::Over),
            Stage::Over => return false,
        };
        drop(stage);
        drop(left);
        false
    }
}

impl<E> EndedEarly<E> {
    pub(super) fn into_error(self) -> StartError<E> {
        match self {
            EndedEarly::Done => StartError::ExitedEarly,
            EndedEarly::Failed(error) => StartError::Failed(error),
            EndedEarly::Panicked(panic) => StartError::Panicked(panic),
            EndedEarly::Cancelled(cause) => StartError::Cancelled(cause),
            EndedEarly::Lost => StartError::Lost,
        }
    }
}
