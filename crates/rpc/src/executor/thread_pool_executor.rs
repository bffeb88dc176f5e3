//! Blocking handlers on threads of the executor's own.

mod threads;

pub(crate) use threads::{Function, Threads};

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::async_executor::{CANCEL_GRACE, DEFAULT_QUEUE, InTasks};
use super::places::Places;
use super::shutdown::shut_down;
use super::{Capacity, Executor, Job, Refusal, ShutdownReport, States, Ticket};
use crate::Registry;
use crate::sys::RunningCall;

/// Most workers where their number is not said.
const MOST_WORKERS: usize = 64;

/// Runs blocking handlers on threads of its own, and async ones as tasks.
///
/// At most `max_workers` handlers run at once, of both kinds together; the others wait as in an
/// [`AsyncExecutor`](super::AsyncExecutor). Blocking handlers neither wait for nor hold up the
/// blocking work of the backend. Threads start when they are needed, and end once they had nothing to
/// do for 10 s. An async handler needs no thread: it holds its place alone.
///
/// A function that runs cannot be stopped. It sees
/// [`Context::is_cancelled`](crate::Context::is_cancelled), and holds its place until it returns,
/// even if its broker has ended meanwhile.
///
/// In a simulated world blocking handlers are blocking jobs of the world.
///
/// A handle: clones are one executor.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, Error, MemoryBroker, Registry, executor::ThreadPoolExecutor};
///
/// let registry = Registry::new("example");
/// registry.register_blocking("name", |(): ()| {
///     std::thread::current().name().unwrap_or_default().to_owned()
/// })?;
/// let executor = ThreadPoolExecutor::new(registry, 4).thread_name("shop");
/// let name = Backend::Tokio.block_on(
///     MemoryBroker::new(executor)
///         .run(async |broker| -> Result<String, Error> { Ok(broker.call_named::<String>("name", ()).await?) }),
/// )?;
/// assert_eq!(name, "shop-0");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ThreadPoolExecutor {
    registry: Registry,
    queue: usize,
    grace: Duration,
    states: States,
    stack_size: Option<usize>,
    thread_name: Arc<str>,
    places: Arc<Places>,
}

impl ThreadPoolExecutor {
    /// An executor of `registry` that runs at most `max_workers` handlers at once. 0 is 4 for each
    /// CPU, at most 64.
    pub fn new(registry: Registry, max_workers: usize) -> Self {
        let workers = match max_workers {
            0 => {
                let cpus = std::thread::available_parallelism().map_or(1, usize::from);
                (4 * cpus).min(MOST_WORKERS)
            }
            some => some,
        };
        Self {
            registry,
            queue: DEFAULT_QUEUE,
            grace: CANCEL_GRACE,
            states: States::default(),
            stack_size: None,
            thread_name: "bowline-rpc".into(),
            places: Places::new(workers, InTasks),
        }
        .with_threads()
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

    /// Bytes of stack of each thread; as the system has it unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self.with_threads()
    }

    /// The threads are called `prefix-0`, `prefix-1` and so on; `bowline-rpc-0` unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn thread_name(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.thread_name = prefix.into();
        self.with_threads()
    }

    /// Threads with the settings of now; none runs yet.
    fn with_threads(mut self) -> Self {
        let threads = Threads::new(self.thread_name.clone(), self.stack_size);
        self.states.insert(threads);
        self
    }
}

impl Executor for ThreadPoolExecutor {
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

impl fmt::Debug for ThreadPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolExecutor")
            .field("registry", &self.registry)
            .field("capacity", &self.capacity())
            .finish()
    }
}
