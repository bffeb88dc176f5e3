mod join;

pub use join::{Join, JoinOrCancel, Wait};

use crate::ambient;
use crate::cause::{Cause, CauseKind};
use crate::node::{Kind, Node, NodeRef, Payload, Roster};
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A child of a task group.
///
/// Dropping it neither cancels nor stops the child; its result is then not kept.
pub struct TaskHandle<T: Send + 'static> {
    node: Arc<Node<Place<T>>>,
}

/// What a task is doing or what became of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It has not ended.
    Running,
    /// It was cancelled and has not ended.
    Cancelling,
    /// It returned well.
    Done,
    /// It returned an error, which its group has.
    Failed,
    /// It panicked.
    Panicked,
    /// It was cancelled and dropped.
    Cancelled,
    /// The runtime dropped it.
    Lost,
    /// Its group did not take it; it never ran.
    Refused,
}

impl TaskStatus {
    /// Whether the task is over.
    pub fn has_ended(self) -> bool {
        !matches!(self, TaskStatus::Running | TaskStatus::Cancelling)
    }
}

/// Why a child has no value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It returned an error, which its group has.
    #[error("the task failed")]
    Failed,
    /// It panicked.
    #[error("the task panicked")]
    Panicked,
    /// It was cancelled.
    #[error("the task was cancelled: {0}")]
    Cancelled(Cause),
    /// The runtime dropped it.
    #[error("the task was dropped by the runtime")]
    Lost,
    /// Its group did not take it; it never ran.
    #[error("the task was refused by its group")]
    Refused,
}

impl<T: Send + 'static> TaskHandle<T> {
    pub(crate) fn new(node: Arc<Node<Place<T>>>) -> TaskHandle<T> {
        TaskHandle { node }
    }

    /// Of a child that its group did not take.
    #[track_caller]
    pub(crate) fn refused(name: Cow<'static, str>) -> TaskHandle<T> {
        let place = Place::new(TaskStatus::Refused);
        let at = Location::caller();
        let node = Node::new(Kind::Task, TaskId::OUTSIDE, name, at, place);
        TaskHandle::new(Arc::new(node))
    }

    /// The task's number within its root.
    pub fn id(&self) -> TaskId {
        self.node.id
    }

    /// The task's name, empty if it was given none.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// What the task is doing.
    pub fn status(&self) -> TaskStatus {
        match self.node.payload.lock().status {
            TaskStatus::Running if self.node.is_cancelled() => TaskStatus::Cancelling,
            status => status,
        }
    }

    /// Cancels this child alone. True if this call was the first.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        let at = Location::caller();
        let reason = reason.into();
        if self.status().has_ended() {
            return false;
        }
        let node: NodeRef = self.node.clone();
        node.cancel(|| Cause::here(CauseKind::Explicit, reason, at, &node))
    }

    /// Waits until the task has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened: the task goes on.
    pub fn wait(&self) -> Wait<'_, T> {
        Wait {
            handle: self,
            place: None,
        }
    }

    /// Waits for the task's value. The error of a task that failed belongs to its group, which
    /// fails with it also if it was joined.
    ///
    /// # Errors
    ///
    /// [`JoinError`] says why there is no value.
    ///
    /// # Cancel safety
    ///
    /// The task goes on; its value is not kept.
    pub fn join(self) -> Join<T> {
        Join {
            handle: self,
            place: None,
        }
    }

    /// As [`join`](TaskHandle::join), but who is dropped before the task has ended cancels it;
    /// the group waits for it.
    ///
    /// # Errors
    ///
    /// [`JoinError`] says why there is no value.
    ///
    /// # Cancel safety
    ///
    /// The task is cancelled.
    #[track_caller]
    pub fn join_or_cancel(self) -> JoinOrCancel<T> {
        JoinOrCancel {
            join: self.join(),
            at: Location::caller(),
        }
    }

    /// The task's result if it has ended, the handle otherwise.
    ///
    /// # Errors
    ///
    /// The handle, if the task has not ended.
    pub fn try_join(self) -> Result<Result<T, JoinError>, TaskHandle<T>> {
        let result = self.node.payload.lock().take();
        result.ok_or(self)
    }

    fn forget(&self, place: &mut Option<usize>) {
        if let Some(key) = place.take() {
            let former = self.node.payload.lock().waiters.remove(key);
            drop(former);
        }
    }

    /// Whether one who waits may go on; registers it otherwise.
    fn poll_ended(&self, place: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<()> {
        let frozen = ambient::is_cancelled();
        let context = ambient::current();
        let mut former = None;
        let mut state = self.node.payload.lock();
        let ended = state.status.has_ended();
        let waiter = place.and_then(|key| state.waiters.get_mut(key));
        let granted = waiter.as_ref().is_some_and(|waiter| waiter.granted);
        if ended && (granted || !frozen) {
            return Poll::Ready(());
        }
        if ended || frozen {
            return Poll::Pending;
        }
        let entry = Waiter {
            waker: cx.waker().clone(),
            context,
            granted: false,
        };
        match waiter {
            Some(waiter) => former = Some(std::mem::replace(waiter, entry)),
            None => *place = Some(state.waiters.insert(entry)),
        }
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl<T: Send + 'static> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        let mut state = self.node.payload.lock();
        state.unwanted = true;
        let value = state.value.take();
        drop(state);
        drop(value);
    }
}

impl<T: Send + 'static> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// A task's own part of its node: the place of its result.
pub(crate) struct Place<T> {
    state: Mutex<PlaceState<T>>,
}

struct PlaceState<T> {
    status: TaskStatus,
    value: Option<T>,
    cause: Option<Cause>,
    /// The handle is gone: a value would be for nobody.
    unwanted: bool,
    waiters: Roster<Waiter>,
}

struct Waiter {
    waker: Waker,
    /// Where it waits: cancelled, it is frozen and not granted.
    context: Option<NodeRef>,
    granted: bool,
}

impl<T: Send + 'static> Payload for Place<T> {}

impl<T> Place<T> {
    pub(crate) fn new(status: TaskStatus) -> Place<T> {
        Place {
            state: Mutex::new(PlaceState {
                status,
                value: None,
                cause: None,
                unwanted: false,
                waiters: Roster::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, PlaceState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how the task ended and wakes those who wait for it.
    pub(crate) fn fill(&self, status: TaskStatus, value: Option<T>, cause: Option<Cause>) {
        let mut state = self.lock();
        state.status = status;
        state.cause = cause;
        let surplus = if state.unwanted {
            value
        } else {
            state.value = value;
            None
        };
        let mut wakers = Vec::new();
        for waiter in state.waiters.iter_mut() {
            if waiter.context.as_ref().is_some_and(|c| c.is_cancelled()) {
                continue;
            }
            waiter.granted = true;
            wakers.push(waiter.waker.clone());
        }
        drop(state);
        for waker in wakers {
            quietly(|| waker.wake());
        }
        quietly(|| drop(surplus));
    }
}

/// Calls foreign code (a waker, the destructor of a value nobody wants) whose panic has no one to
/// go to: the others who wait have to be woken, and the child to be counted out.
fn quietly(foreign: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(foreign));
}

impl<T> PlaceState<T> {
    fn take(&mut self) -> Option<Result<T, JoinError>> {
        Some(match self.status {
            TaskStatus::Running | TaskStatus::Cancelling => return None,
            TaskStatus::Done => return self.value.take().map(Ok),
            TaskStatus::Failed => Err(JoinError::Failed),
            TaskStatus::Panicked => Err(JoinError::Panicked),
            TaskStatus::Cancelled => match self.cause.clone() {
                Some(cause) => Err(JoinError::Cancelled(cause)),
                None => Err(JoinError::Lost),
            },
            TaskStatus::Lost => Err(JoinError::Lost),
            TaskStatus::Refused => Err(JoinError::Refused),
        })
    }
}
