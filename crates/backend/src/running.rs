//! What of one run is still at work on threads, for a shutdown that waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::blocking::Job;

/// How many blocking jobs of one run are at work, and whether more may begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    none_left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    count: usize,
    closed: bool,
}

impl Running {
    /// Runs `job`, counted. Drops it unrun once the shutdown began.
    pub(crate) fn run(&self, job: Job) {
        if let Some(_entered) = self.enter() {
            job();
        }
    }

    /// Counts until the guard is dropped. Nothing once the shutdown began.
    pub(crate) fn enter(&self) -> Option<Entered> {
        let mut state = self.0.lock();
        if state.closed {
            return None;
        }
        state.count += 1;
        Some(Entered(self.0.clone()))
    }

    /// Lets nothing begin from now on.
    #[cfg(any(feature = "tokio", feature = "smol"))]
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Waits until none runs, at most `grace`.
    pub(crate) fn wait(&self, grace: Duration) {
        let none_left = &self.0.none_left;
        let waited = none_left.wait_timeout_while(self.0.lock(), grace, |state| state.count > 0);
        drop(waited);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that runs.
#[must_use = "it counts as running until this is dropped"]
#[derive(Debug)]
pub(crate) struct Entered(Arc<Shared>);

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.count -= 1;
        let last = state.count == 0;
        drop(state);
        if last {
            self.0.none_left.notify_all();
        }
    }
}
