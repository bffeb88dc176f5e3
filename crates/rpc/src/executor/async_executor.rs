//! Handlers as tasks of the broker's group.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Waker};

use super::attachment::Work;
use super::caught::contained;
use super::running::Running;
use super::ticket::Waiting;
use super::{Capacity, Executor, Job, Refusal, Ticket};
use crate::{Code, Registry};

/// Jobs that wait for a place unless told otherwise.
const DEFAULT_QUEUE: usize = 1024;
/// How deep the first polls of handlers nest that call each other within the process.
const NESTING: usize = 8;

/// Runs async handlers as tasks, and blocking ones where the backend runs blocking work.
///
/// At most `max_workers` handlers run at once; at most [`queue`](Self::queue) jobs of peers wait, in
/// order; one more is answered [`Overloaded`](Code::Overloaded). Callers within the process wait
/// with them, each for its own call.
///
/// A handler that completes without waiting costs no task: the handler of a call within the process
/// begins in its caller's task, as a call of the function would, up to 8 of them within each other.
/// All else runs in tasks that run one handler after the other, never in the task of a connection.
///
/// A handle: clones are one executor. Several brokers may use one at the same time; each ends its
/// own calls only.
// Invariants:
// - E1 `running` is the number of `Place`s there are, and at most `max_workers`.
// - E2 a job waits only while all places are taken: a place given up goes to the first job that
//   waits, or out of `running`. Only who set `handing` does so, and all that was `freed` meanwhile.
// - E3 nothing is started, answered or dropped under the lock.
// - E4 a job leaves `waiting` when its caller gives up or its broker ends, so those beyond `queue`
//   are as many as callers that wait in this process.
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
    /// By number, in the order they came.
    waiting: BTreeMap<u64, Job>,
    next: u64,
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

    fn admit(&self, job: Job) -> Result<Ticket, Refusal> {
        let mut state = self.shared.state();
        if state.running < self.shared.max_workers {
            state.running += 1;
            drop(state);
            Place(self.shared.clone()).take(job);
            Ok(Ticket::new())
        } else if state.waiting.len() < self.queue || job.is_patient() {
            let number = state.next;
            state.next += 1;
            state.waiting.insert(number, job);
            drop(state);
            Ok(Ticket::waiting(self.shared.clone(), number))
        } else {
            drop(state);
            job.refuse(Code::Overloaded);
            Err(Refusal)
        }
    }

    fn purge(&self) {
        let mut state = self.shared.state();
        let in_vain: Vec<u64> = state
            .waiting
            .iter()
            .filter(|(_, job)| job.is_cancelled())
            .map(|(number, _)| *number)
            .collect();
        let dropped: Vec<_> = in_vain
            .iter()
            .filter_map(|number| state.waiting.remove(number))
            .collect();
        drop(state);
        drop(dropped);
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
}

impl Waiting for Shared {
    fn withdraw(&self, number: u64) -> bool {
        let withdrawn = self.state().waiting.remove(&number);
        withdrawn.is_some()
    }
}

/// A place for one handler; given up by dropping it.
pub(super) struct Place(Arc<Shared>);

impl Place {
    /// Begins `job` where its first poll belongs.
    fn take(self, job: Job) {
        let nested = if job.is_local() {
            Nested::enter()
        } else {
            None
        };
        let mut running = Running::new(job);
        if nested.is_some() {
            // What waits is polled again at once by a worker, so it needs no waker here.
            let mut cx = TaskContext::from_waker(Waker::noop());
            if pin!(contained(&mut running)).poll(&mut cx).is_ready() {
                return;
            }
        }
        self.hand_on(running);
    }

    fn hand_on(self, running: Running) {
        let attachment = running.job().attachment().clone();
        attachment.give(Work::new(running, self));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.freed += 1;
        if state.handing {
            return;
        }
        // A broker that is over drops its job and gives up the place in here, once per waiting job:
        // the one loop hands them all on, instead of as many nested drops.
        state.handing = true;
        while state.freed > 0 {
            state.freed -= 1;
            let Some((_, job)) = state.waiting.pop_first() else {
                state.running -= 1;
                continue;
            };
            drop(state);
            Place(self.0.clone()).hand_on(Running::new(job));
            state = self.0.state();
        }
        state.handing = false;
    }
}

thread_local! {
    /// First polls of handlers within each other on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One more first poll within others.
struct Nested;

impl Nested {
    /// `None` if there are enough.
    fn enter() -> Option<Self> {
        let depth = DEPTH.get();
        (depth < NESTING).then(|| {
            DEPTH.set(depth + 1);
            Nested
        })
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
