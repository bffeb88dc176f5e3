//! Handlers as tasks of the broker's group.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use bowline_concurrency::{Deadline, current_effective_deadline, is_cancelled};

use super::attachment::Work;
use super::caught::contained;
use super::places::{Begin, Place, Places};
use super::running::Running;
use super::shutdown::shut_down;
use super::{Capacity, Executor, Job, Refusal, ShutdownReport, States, Ticket};
use crate::Registry;
use crate::sys::RunningCall;

/// Jobs that wait for a place unless told otherwise.
pub(super) const DEFAULT_QUEUE: usize = 1024;
/// What handlers that are cancelled get to end, unless told otherwise.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// How deep the first polls of handlers nest that call each other within the process.
const NESTING: usize = 8;

/// Runs async handlers as tasks, and blocking ones where the backend runs blocking work.
///
/// At most `max_workers` handlers run at once; at most [`queue`](Self::queue) jobs of peers wait, in
/// order, higher priorities first; one more is answered [`Overloaded`](crate::Code::Overloaded).
/// Callers within the process wait with them, each for its own call. Calls that handlers make have
/// places of their own, an eighth for each of 8 levels, so that no handler waits for the place it
/// holds.
///
/// A handler that completes without waiting costs no task: the handler of a call within the process
/// begins in its caller's task, as a call of the function would. All else runs in tasks that run one
/// handler after the other, never in the task of a connection.
///
/// A handle: clones are one executor. Several brokers may use one at the same time; each ends its
/// own calls only.
#[derive(Clone)]
pub struct AsyncExecutor {
    registry: Registry,
    queue: usize,
    grace: Duration,
    states: States,
    places: Arc<Places>,
}

impl AsyncExecutor {
    /// An executor of `registry` that runs at most `max_workers` handlers at once; 0 counts as 1.
    pub fn new(registry: Registry, max_workers: usize) -> Self {
        Self::that_begins(registry, max_workers, InTasks)
    }

    /// One whose jobs `begin` begins.
    pub(super) fn that_begins(
        registry: Registry,
        max_workers: usize,
        begin: impl Begin + 'static,
    ) -> Self {
        Self {
            registry,
            queue: DEFAULT_QUEUE,
            grace: CANCEL_GRACE,
            states: States::default(),
            places: Places::new(max_workers.max(1), begin),
        }
    }

    /// How many jobs wait at most for a place; 1024 unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }

    /// How long the clean-up of a cancelled handler may take
    /// ([`on_cancel`](bowline_concurrency::on_cancel)), and how long handlers that a
    /// [`shutdown`](Executor::shutdown) cancels may take to end; 1 s unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A value for handlers, which find it by its type in
    /// [`Context::state`](crate::Context::state); of each type there is one, the last.
    #[must_use = "the value belongs to the returned executor"]
    pub fn state<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }
}

impl Executor for AsyncExecutor {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn capacity(&self) -> Capacity {
        self.places.capacity(self.queue)
    }

    fn admit(&self, job: Job) -> Result<Ticket, Refusal> {
        self.places.admit(job, self.queue)
    }

    fn purge(&self) {
        self.places.purge();
    }

    fn cancel(&self, broker: u64) {
        self.places.cancel_of(broker);
    }

    fn calls(&self, broker: u64) -> Vec<RunningCall> {
        self.places.calls(broker)
    }

    fn start(&self) {
        self.places.open();
    }

    fn states(&self) -> States {
        self.states.clone()
    }

    fn cancel_grace(&self) -> Duration {
        self.grace
    }

    fn shutdown(
        &self,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = ShutdownReport> + Send + '_>> {
        Box::pin(shut_down(&self.places, timeout, self.grace))
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

/// Jobs begin where their first poll belongs.
pub(super) struct InTasks;

impl Begin for InTasks {
    fn begin(&self, job: Job, place: Place) {
        // A caller that is cancelled does not wait for what it would begin here.
        let nested = if job.is_local() && !is_cancelled() {
            Nested::enter()
        } else {
            None
        };
        let running = match nested {
            Some(_) => Running::of_fresh(job),
            None => Running::new(job),
        };
        // Whatever drops it does so in order, and leaves the place to a function that is on a thread by then.
        let mut work = Work::new(running, place);
        if nested.is_some() {
            // What waits is polled again at once by a worker, so it needs no waker here.
            let mut cx = TaskContext::from_waker(Waker::noop());
            if pin!(contained(work.running())).poll(&mut cx).is_ready() {
                return;
            }
            // The caller was cancelled meanwhile, and the handler, which stood in its scopes, may
            // have been dropped with it: nobody would wake it.
            if current_effective_deadline() == Deadline::Cancelled {
                return;
            }
        }
        hand_on(work);
    }

    fn begin_later(&self, job: Job, place: Place) {
        hand_on(Work::new(Running::new(job), place));
    }
}

fn hand_on(work: Work) {
    let attachment = work.job().attachment().clone();
    attachment.give(work);
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
