use crate::cause::Cause;
use crate::task_id::TaskId;
use bowline_backend::Backend;
use std::borrow::Cow;
use std::panic::Location;
use std::time::Duration;

/// One root, group, task or scope of a [`Tree`](crate::Tree).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeEntry {
    /// Its number in this snapshot: its index among the entries.
    pub id: usize,
    /// The entry it stands below; none for a root.
    pub parent: Option<usize>,
    /// What it is.
    pub kind: EntryKind,
    /// The number of the task, which stays; none for groups and scopes.
    pub task: Option<TaskId>,
    /// Empty if it was given none.
    pub name: Cow<'static, str>,
    /// The line that entered the root, opened the group or scope, or spawned the task.
    pub location: &'static Location<'static>,
    /// The backend it runs on, once that is known.
    pub backend: Option<Backend>,
    /// What it is doing.
    pub state: EntryState,
    /// What is left until it is cancelled by a deadline or the end of a grace, its own or one
    /// around it; zero once that is reached, none if it never is.
    pub deadline: Option<Duration>,
    /// Why it is cancelled, if it is: the cause of the outermost cancel that it can see.
    pub cause: Option<Cause>,
    /// How many groups and shields inside keep its body from being dropped.
    pub holds: usize,
    /// How often it was polled.
    pub polls: u64,
    /// How often the task was woken; zero for groups and scopes, which their task polls, and for what
    /// a thread blocks on.
    pub wakes: u64,
    /// How long the task kept its thread, scaled from one poll in 16; zero without
    /// [`Root::measure`](crate::Root::measure), and for groups and scopes.
    pub busy: Duration,
    /// How long ago a root was first polled or, with [`Root::measure`](crate::Root::measure), a
    /// task was spawned.
    pub age: Option<Duration>,
    /// Which future of this crate it polled last before it parked, its own or the last of a scope
    /// inside it. None if it waits for something foreign.
    pub waiting_on: Option<&'static str>,
    /// Its children in this snapshot, in the order in which they came.
    pub children: Vec<usize>,
    /// How many tasks it has as a group, beyond the end of a truncated snapshot too.
    pub tasks: usize,
}

/// What a [`TreeEntry`] is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A [`Root`](crate::Root), with the task of its body.
    Root,
    /// A task group.
    Group,
    /// A task.
    Task,
    /// A cancel scope, timeout or shield, or another region inside a task.
    Scope,
}

impl EntryKind {
    /// The word for it in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            EntryKind::Root => "root",
            EntryKind::Group => "group",
            EntryKind::Task => "task",
            EntryKind::Scope => "scope",
        }
    }

    /// Whether the entry above belongs to the same task.
    pub(super) fn is_inside_a_task(self) -> bool {
        matches!(self, EntryKind::Group | EntryKind::Scope)
    }
}

/// What a [`TreeEntry`] is doing.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryState {
    /// Its code runs now, or has not had its first poll.
    Running,
    /// It waits.
    Parked,
    /// It is cancelled and its futures do not go on. It is dropped at its next poll, or, if a
    /// group inside it has to end first, after that.
    Frozen,
    /// A shield that hides cancels from its body, or what is cancelled and kept by a shield
    /// inside its task.
    Shielded,
    /// Its body was dropped by a cancel, and its finalisers run.
    Finalising,
    /// Its body is over; it is there for the tasks below it.
    Done,
}

impl EntryState {
    /// The word for it in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            EntryState::Running => "running",
            EntryState::Parked => "parked",
            EntryState::Frozen => "frozen",
            EntryState::Shielded => "shielded",
            EntryState::Finalising => "finalising",
            EntryState::Done => "done",
        }
    }
}
