mod join;
mod place;

pub use join::{Join, JoinOrCancel, Wait};
pub(crate) use place::Place;

use crate::cause::{Cause, CauseKind};
use crate::node::{Kind, Node, NodeRef};
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A child of a task group.
///
/// Dropping it neither cancels nor stops the child; its result is then not kept.
pub struct TaskHandle<T: Send + 'static> {
    node: Arc<Node<Place<T>>>,
    /// The result was taken: nothing is left to give up.
    spent: bool,
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
        TaskHandle { node, spent: false }
    }

    /// Of a child that its group did not take.
    #[track_caller]
    pub(crate) fn refused(name: Cow<'static, str>) -> TaskHandle<T> {
        let place = Place::new(TaskStatus::Refused);
        let at = Location::caller();
        let node = Node::new(Kind::Task, TaskId::OUTSIDE, name, at, place);
        TaskHandle::new(Arc::new(node))
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.node.id
    }

    /// The task's name, empty if it was given none.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// What the task is doing.
    pub fn status(&self) -> TaskStatus {
        self.node.payload.status(|| self.node.is_noticed())
    }

    /// Cancels this child alone. True if this call was the first.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.cancel_at(reason.into(), Location::caller())
    }

    pub(crate) fn cancel_at(
        &self,
        reason: Cow<'static, str>,
        at: &'static Location<'static>,
    ) -> bool {
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
        let result = self.node.payload.take();
        result.ok_or(self)
    }
}

impl<T: Send + 'static> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        if !self.spent {
            drop(self.node.payload.abandon());
        }
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
