use std::fmt;

/// The number of a task within its [`Root`](crate::Root).
///
/// Numbers are given in spawn order and never used twice in one root, so they are equal in two
/// simulated runs with one seed. Two roots of one process both start at 1.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(u64);

impl TaskId {
    pub(crate) const OUTSIDE: TaskId = TaskId(0);

    pub(crate) const fn new(number: u64) -> TaskId {
        TaskId(number)
    }

    /// Whether this stands for code that runs in no task of ours, such as a plain thread.
    pub const fn is_outside(self) -> bool {
        self.0 == 0
    }

    /// The number, zero outside of any task.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_outside() {
            return f.write_str("outside of any task");
        }
        write!(f, "task {}", self.0)
    }
}
