//! Blocking jobs that run now, for a shutdown that waits for them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many blocking jobs of one pool run.
#[derive(Debug)]
pub(crate) struct RunningJobs {
    count: Mutex<usize>,
    none_left: Condvar,
}

impl RunningJobs {
    pub(crate) const fn new() -> RunningJobs {
        RunningJobs {
            count: Mutex::new(0),
            none_left: Condvar::new(),
        }
    }

    /// Counts a job until the guard is dropped.
    pub(crate) fn enter(&self) -> RunningJob<'_> {
        *self.lock() += 1;
        RunningJob(self)
    }

    /// Waits until none runs, at most `grace`.
    pub(crate) fn wait(&self, grace: Duration) {
        let waited = self
            .none_left
            .wait_timeout_while(self.lock(), grace, |count| *count > 0);
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that runs.
#[must_use = "the job counts as running until this is dropped"]
#[derive(Debug)]
pub(crate) struct RunningJob<'a>(&'a RunningJobs);

impl Drop for RunningJob<'_> {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        *count -= 1;
        let last = *count == 0;
        drop(count);
        if last {
            self.0.none_left.notify_all();
        }
    }
}
