use super::Queue;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A value of a [`Queue`] that is done when this is dropped, also by a panic or a cancel.
#[must_use = "the job counts as done when this is dropped"]
pub struct Job<'a, T> {
    // Dropped in this order: the value is gone before the job counts as done.
    value: T,
    done: Done<'a, T>,
}

impl<'a, T> Job<'a, T> {
    pub(super) fn new(queue: &'a Queue<T>, value: T) -> Self {
        Job {
            value,
            done: Done { queue },
        }
    }

    /// The value; the job counts as done.
    pub fn into_inner(self) -> T {
        let Job { value, done } = self;
        drop(done);
        value
    }
}

impl<T> Deref for Job<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Job<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Job<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.value).finish()
    }
}

struct Done<'a, T> {
    queue: &'a Queue<T>,
}

impl<T> Drop for Done<'_, T> {
    fn drop(&mut self) {
        // Too many only if `task_done` was called for this value as well.
        let _ = self.queue.task_done();
    }
}
