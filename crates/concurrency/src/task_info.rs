use crate::ambient;
use crate::node::{Kind, NodeRef};
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

/// Which task it is, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    id: TaskId,
    name: Cow<'static, str>,
    parent: Option<TaskId>,
    location: &'static Location<'static>,
}

impl TaskInfo {
    /// Of the task that `node` belongs to, if it is one of ours.
    pub(crate) fn of(node: &NodeRef) -> Option<TaskInfo> {
        let task = node.host();
        if !matches!(task.kind, Kind::Task | Kind::Root) {
            return None;
        }
        let parent = task.parent().map(|group| group.host());
        Some(TaskInfo {
            id: task.id,
            name: task.name().clone(),
            parent: parent
                .filter(|p| matches!(p.kind, Kind::Task | Kind::Root))
                .map(|p| p.id),
            location: task.location,
        })
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The task's name, empty if it was given none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The task whose group it is in; none for the root's own task.
    pub fn parent(&self) -> Option<TaskId> {
        self.parent
    }

    /// The line that spawned it.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} \"{}\" spawned at {}",
            self.id, self.name, self.location
        )
    }
}

/// The task that the caller runs in; none outside of tasks of this crate. In a closure of
/// [`run_in_thread`](crate::run_in_thread), the task that awaits that.
pub fn current_task() -> Option<TaskInfo> {
    TaskInfo::of(&ambient::standpoint()?)
}
