use super::error::PortalError;
use crate::ambient;
use crate::cause::{Cause, CauseKind};
use crate::memory::{Mutex, MutexGuard};
use crate::node::NodeRef;
use crate::panic::Panic;
use crate::task_handle::{JoinError, TaskHandle};
use std::borrow::Cow;
use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a call ends with, if it is not cancelled.
pub(super) type Answer<T> = Result<T, Panic>;

/// What became of a call, for whoever made it.
///
/// Invariants:
/// 1. `stage` leaves `Queued` once: for a refusal, or to become a task, which then cannot fail. A
///    call that was cancelled while it was queued never runs.
/// 2. Under the lock no waker is cloned or woken, no task cancelled and no handle dropped.
pub(super) struct Ticket<T: Send + 'static> {
    stage: Mutex<Stage<T>>,
}

pub(super) type Task<T> = Arc<TaskHandle<Answer<T>>>;

enum Stage<T: Send + 'static> {
    Queued(Option<Waker>),
    Beginning(Option<Waker>, Option<Reason>),
    /// Shared for moments only, by who cancels it.
    Begun(Task<T>),
    Refused(PortalError),
    Taken,
}

/// Why a call is to be cancelled, and where that was said.
type Reason = (Cow<'static, str>, &'static Location<'static>);

impl<T: Send + 'static> Ticket<T> {
    pub(super) fn new() -> Ticket<T> {
        Ticket {
            stage: Mutex::new(Stage::Queued(None)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage<T>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the call out of the queue, if it is still to be begun.
    pub(super) fn leave_queue(&self) -> bool {
        let mut stage = self.lock();
        let Stage::Queued(waker) = &mut *stage else {
            return false;
        };
        let waker = waker.take();
        *stage = Stage::Beginning(waker, None);
        true
    }

    /// The call, out of the queue, has become a task.
    pub(super) fn begin(&self, task: TaskHandle<Answer<T>>) {
        let mut told = false;
        let former = loop {
            let mut stage = self.lock();
            match &*stage {
                Stage::Beginning(_, Some((reason, at))) if !told => {
                    let (reason, at) = (reason.clone(), *at);
                    drop(stage);
                    task.cancel_at(reason, at);
                    told = true;
                }
                _ => break std::mem::replace(&mut *stage, Stage::Begun(Arc::new(task))),
            }
        };
        if let Stage::Beginning(Some(waker), _) = former {
            waker.wake();
        }
    }

    /// There will be no task. Whether that is news.
    pub(super) fn refuse(&self, error: PortalError) -> bool {
        let mut stage = self.lock();
        let Stage::Queued(waker) = &mut *stage else {
            drop(stage);
            drop(error);
            return false;
        };
        let waker = waker.take();
        *stage = Stage::Refused(error);
        drop(stage);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Cancels the call, begun or not. Whether this is the first cancel, of a call that has not
    /// ended.
    pub(super) fn cancel(
        &self,
        reason: Cow<'static, str>,
        at: &'static Location<'static>,
        group: &NodeRef,
    ) -> bool {
        let task = match &mut *self.lock() {
            Stage::Queued(_) => None,
            Stage::Beginning(_, cancel) => {
                let first = cancel.is_none();
                cancel.get_or_insert((reason, at));
                return first;
            }
            Stage::Begun(task) => Some(task.clone()),
            Stage::Refused(_) | Stage::Taken => return false,
        };
        if let Some(task) = task {
            return task.cancel_at(reason, at);
        }
        let cause = Cause::here(CauseKind::Explicit, reason.clone(), at, group);
        // Else it has left the queue in between.
        self.refuse(PortalError::Cancelled(cause)) || self.cancel(reason, at, group)
    }

    /// Waits until the call has begun; the handle stays here.
    pub(super) fn poll_begun(&self, cx: &Context<'_>) -> Poll<Result<Task<T>, PortalError>> {
        let mut waker = Some(cx.waker().clone());
        let mut stage = self.lock();
        match &mut *stage {
            Stage::Queued(former) | Stage::Beginning(former, _) => {
                std::mem::swap(former, &mut waker);
            }
            Stage::Begun(task) => return Poll::Ready(Ok(task.clone())),
            Stage::Refused(_) => {
                let former = std::mem::replace(&mut *stage, Stage::Taken);
                drop(stage);
                return Poll::Ready(match former {
                    Stage::Refused(error) => Err(error),
                    _ => Err(PortalError::Closed),
                });
            }
            Stage::Taken => return Poll::Ready(Err(PortalError::Closed)),
        }
        drop(stage);
        Poll::Pending
    }

    /// Takes the handle out, once the call has begun.
    pub(super) fn take(&self) -> Option<TaskHandle<Answer<T>>> {
        let mut stage = self.lock();
        if !matches!(*stage, Stage::Begun(_)) {
            return None;
        }
        let former = std::mem::replace(&mut *stage, Stage::Taken);
        drop(stage);
        match former {
            Stage::Begun(task) => Arc::into_inner(task),
            _ => None,
        }
    }
}

/// What the end of a task means to the caller.
pub(super) fn outcome<T>(
    joined: Result<Answer<T>, JoinError>,
    group: &NodeRef,
) -> Result<T, PortalError> {
    let dropped = || {
        let (kind, at) = (CauseKind::Dropped, group.location);
        PortalError::Cancelled(Cause::here(kind, Cow::Borrowed(""), at, group))
    };
    match joined {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => Err(PortalError::Panicked(panic)),
        Err(JoinError::Cancelled(cause)) => Err(PortalError::Cancelled(cause)),
        Err(JoinError::Refused) => Err(PortalError::Closed),
        // Its finalisers did, after it had been cancelled.
        Err(JoinError::Panicked) => {
            let text = Box::new("panicked while it was cleaning up");
            Err(PortalError::Panicked(crate::panic::Panic::new(text)))
        }
        Err(JoinError::Lost | JoinError::Failed) => Err(dropped()),
    }
}

/// Whether who waits may not go on: its scope was cancelled.
pub(super) fn is_frozen() -> bool {
    ambient::is_cancelled()
}
