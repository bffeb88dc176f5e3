//! Handlers as tasks of the broker's group.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Waker};

use bowline_concurrency::TaskGroup;

use super::{Capacity, Executor, Job, Refusal};
use crate::{Code, Registry};

/// Jobs that wait for a place unless told otherwise.
const DEFAULT_QUEUE: usize = 1024;

/// Runs async handlers as tasks, and blocking ones where the backend runs blocking work.
///
/// At most `max_workers` handlers run at once; at most [`queue`](Self::queue) jobs wait, in order;
/// one more is answered [`Overloaded`](Code::Overloaded). A handler that completes without waiting
/// runs within the task that brought its call; one that waits becomes a task of its own.
///
/// A handle: clones are one executor.
// Invariants:
// - E1 `running` is the number of `Place`s there are, and at most `max_workers`.
// - E2 a job waits only while all places are taken: a place given up goes to the first job that
//   waits, or out of `running`. Only who set `handing` does so, and all that was `freed` meanwhile.
// - E3 nothing is started, answered or dropped under the lock.
#[derive(Clone)]
pub struct AsyncExecutor {
    registry: Registry,
    queue: usize,
    shared: Arc<Shared>,
}

struct Shared {
    max_workers: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: VecDeque<Job>,
    group: Option<TaskGroup<Infallible>>,
    /// Places given up that are neither handed on nor taken out of `running` yet.
    freed: usize,
    /// Somebody hands on the places given up.
    handing: bool,
}

impl AsyncExecutor {
    /// An executor of `registry` that runs at most `max_workers` handlers at once; 0 counts as 1.
    pub fn new(registry: Registry, max_workers: usize) -> Self {
        Self {
            registry,
            queue: DEFAULT_QUEUE,
            shared: Arc::new(Shared {
                max_workers: max_workers.max(1),
                state: Mutex::default(),
            }),
        }
    }

    /// How many jobs wait at most for a place; 1024 unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }
}

impl Executor for AsyncExecutor {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn capacity(&self) -> Capacity {
        let state = self.shared.state();
        Capacity {
            max_workers: self.shared.max_workers,
            queue: self.queue,
            running: state.running,
            waiting: state.waiting.len(),
        }
    }

    fn start(&self, group: &TaskGroup<Infallible>) {
        let former = self.shared.state().group.replace(group.clone());
        drop(former);
    }

    fn admit(&self, job: Job) -> Result<(), Refusal> {
        let mut state = self.shared.state();
        if state.running < self.shared.max_workers {
            state.running += 1;
            drop(state);
            Place(self.shared.clone()).run(job);
            Ok(())
        } else if state.waiting.len() < self.queue {
            state.waiting.push_back(job);
            Ok(())
        } else {
            drop(state);
            job.refuse(Code::Overloaded);
            Err(Refusal)
        }
    }
}

impl fmt::Debug for AsyncExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncExecutor")
            .field("registry", &self.registry)
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `task` in the broker's group; without one, or with a closed one, it is dropped.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let group = self.state().group.clone();
        if let Some(group) = group {
            drop(group.spawn_ok(task));
        }
    }
}

/// A place for one handler; given up by dropping it.
struct Place(Arc<Shared>);

impl Place {
    /// Runs `job` here up to its first wait, and the rest of it as a task.
    fn run(self, job: Job) {
        let shared = self.0.clone();
        let mut running = Box::pin(self.work(job));
        // The task polls again at once with its own waker, so none is needed here.
        if running
            .as_mut()
            .poll(&mut TaskContext::from_waker(Waker::noop()))
            .is_pending()
        {
            shared.spawn(running);
        }
    }

    async fn work(self, job: Job) {
        job.run().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.freed += 1;
        if state.handing {
            return;
        }
        // A task that a closing group refuses gives up its place in here, once per waiting job:
        // the one loop hands them all on, instead of as many nested drops.
        state.handing = true;
        while state.freed > 0 {
            state.freed -= 1;
            let Some(job) = state.waiting.pop_front() else {
                state.running -= 1;
                continue;
            };
            drop(state);
            self.0.spawn(Place(self.0.clone()).work(job));
            state = self.0.state();
        }
        state.handing = false;
    }
}
