use std::fmt;

/// The number of a task.
///
/// Numbers are given in the order in which roots were made and tasks spawned, and none is used twice
/// in a process: the tasks of two [roots](crate::Root) are told apart, wherever they are moved.
/// A simulated host numbers its own from 1 in each of its lives, so that numbers are equal in two
/// runs with one seed.
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
