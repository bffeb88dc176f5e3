//! What workers and those who send to them share.

use super::WorkersStatistics;
use crate::caught::discard;
use crate::invalid_value::InvalidValue;
use crate::sync::Queue;
use crate::task_handle::TaskHandle;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Invariants:
/// 1. `workers` is the number of [`Present`]s; who makes it zero closes the queue and empties it.
/// 2. A job taken from the queue is counted done there when its [`Begun`] is dropped, after the
///    job itself was.
/// 3. The crew is brought before anyone has a handle to send with: whose job fails finds all of it.
pub(super) struct Shared<J> {
    pub(super) queue: Queue<J>,
    workers: AtomicUsize,
    running: AtomicUsize,
    pub(super) done: AtomicUsize,
    pub(super) failed: AtomicUsize,
    pub(super) panicked: AtomicUsize,
    dropped: AtomicUsize,
    crew: OnceLock<Vec<TaskHandle<()>>>,
}

impl<J> Shared<J> {
    pub(super) fn new(capacity: usize) -> Result<Shared<J>, InvalidValue> {
        Ok(Shared {
            queue: Queue::bounded(capacity)?,
            workers: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            panicked: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            crew: OnceLock::new(),
        })
    }

    /// Brings the workers' handles, once.
    pub(super) fn keep(&self, crew: Vec<TaskHandle<()>>) {
        let _ = self.crew.set(crew);
    }

    /// The workers; none before they were brought.
    pub(super) fn crew(&self) -> &[TaskHandle<()>] {
        self.crew.get().map_or(&[], Vec::as_slice)
    }

    /// Ends all workers: a job has failed.
    pub(super) fn stop(&self) {
        self.clear();
        for worker in self.crew() {
            worker.cancel("a job of the same workers failed");
        }
    }

    /// Closes the queue and drops what is in it.
    fn clear(&self) {
        self.queue.close();
        while let Ok(job) = self.queue.try_recv() {
            self.dropped.fetch_add(1, Ordering::SeqCst);
            discard(job);
            let _ = self.queue.task_done();
        }
    }

    /// Counts a job that was taken from the queue.
    pub(super) fn begin(&self) -> Begun<'_, J> {
        self.running.fetch_add(1, Ordering::SeqCst);
        Begun {
            shared: self,
            outcome: &self.dropped,
        }
    }

    pub(super) fn statistics(&self) -> WorkersStatistics {
        let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        let queue = self.queue.statistics();
        WorkersStatistics {
            workers: read(&self.workers),
            waiting: queue.len,
            running: read(&self.running),
            done: read(&self.done),
            failed: read(&self.failed),
            panicked: read(&self.panicked),
            dropped: read(&self.dropped),
            closed: queue.closed,
        }
    }
}

/// A job that was taken from the queue; dropped, it has ended.
pub(super) struct Begun<'a, J> {
    shared: &'a Shared<J>,
    /// Where to count it.
    outcome: &'a AtomicUsize,
}

impl<'a, J> Begun<'a, J> {
    pub(super) fn end(mut self, outcome: &'a AtomicUsize) {
        self.outcome = outcome;
    }
}

impl<J> Drop for Begun<'_, J> {
    fn drop(&mut self) {
        self.outcome.fetch_add(1, Ordering::SeqCst);
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
        // Never too many: nobody else says so of this job.
        let _ = self.shared.queue.task_done();
    }
}

/// A worker that has not ended, or whoever starts them.
pub(super) struct Present<J>(pub(super) Arc<Shared<J>>);

impl<J> Present<J> {
    pub(super) fn new(shared: &Arc<Shared<J>>) -> Present<J> {
        shared.workers.fetch_add(1, Ordering::SeqCst);
        Present(shared.clone())
    }
}

impl<J> Drop for Present<J> {
    fn drop(&mut self) {
        if self.0.workers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.clear();
        }
    }
}
