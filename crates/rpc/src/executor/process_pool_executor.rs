//! Handlers in child processes.

mod build;
mod child;
mod items;
mod lease;
mod note;
mod numbers;
mod pool;
mod relay;
mod respawn;
mod serving;
mod upward;
mod worker;

pub use worker::worker_entry;

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_concurrency::{Nesting, in_nesting};

use super::async_executor::CANCEL_GRACE;
use super::places::{Begin, Place, Places};
use super::shutdown::shut_down;
use super::{Attachment, Capacity, Executor, Job, Refusal, ShutdownReport, Ticket};
use crate::sys::RunningCall;
use crate::{Error, Registry};
use pool::Pool;
use serving::serve;

/// Runs handlers in child processes, each of which a crash, an abort or a kill ends alone.
///
/// A child is this program again, started with the environment variable `BOWLINE_WORKER`: the first
/// statement of `main` has to be [`worker_entry`](crate::worker_entry), which serves in a child and
/// returns at once elsewhere. Arguments and replies are encoded, over a socket. The standard input of
/// handlers, and of programs that they start, is empty; their standard output and error are those of
/// this program.
///
/// Children start when they are needed, for whoever calls next if their caller does not wait so long,
/// and end when they were idle for a while. A call that is
/// cancelled is cancelled in its child, and a child in which it goes on is terminated, and then
/// killed. When a child dies, its running calls end with
/// [`ConnectionLost`](crate::Code::ConnectionLost), which says how it died, except that those of
/// [idempotent](crate::MethodSpec::idempotent) methods are tried once more.
///
/// A child may compute for as long as its call lasts, on every thread it has, or be stopped: that it answers nothing
/// ends nothing. What finds one that hangs is the deadline of a call or its cancel, after which the child has
/// [`cancel_grace`](Self::cancel_grace).
///
/// SIGINT and SIGTERM do nothing to children, which have a process group of their own: their parent
/// decides what becomes of calls, and a child ends when the parent does.
///
/// Handlers in children call through the broker of this program: [`Context::broker`](crate::Context::broker)
/// and [`current_broker`](crate::current_broker) find, in the child, one whose calls go there, and find the
/// [`methods`](crate::Broker::methods) that calls of this program find. What they call back in the pool runs
/// in further children.
///
/// A handler in a child knows of its call what it would know here, except why it is given up:
/// [`disconnected`](crate::Context::disconnected) completes there when this program is gone, and not where the
/// connection of the caller is lost. A [`broadcast`](crate::Caller::broadcast) of a child has one outcome, that of
/// a single call.
///
/// A child has the methods that its function registers and no others: brokers of the executor
/// [attach](crate::TcpBroker::attach) no further registry.
///
/// Calls wait for one of `max_workers` places as in an [`AsyncExecutor`](super::AsyncExecutor).
/// Brokers that share the executor have children of their own. There are no processes in a simulated
/// world: calls end with [`Unsupported`](crate::Code::Unsupported) there.
///
/// A handle: clones are one executor.
#[derive(Clone)]
pub struct ProcessPoolExecutor {
    registry: Registry,
    workers: usize,
    queue: usize,
    options: Arc<Options>,
    places: Arc<Places>,
}

/// How children are made and ended.
#[derive(Clone, Debug)]
struct Options {
    pool: Arc<str>,
    registry: Registry,
    program: Option<PathBuf>,
    environment: Vec<(String, String)>,
    calls_per_worker: usize,
    max_tasks_per_child: Option<u64>,
    idle_retire: Duration,
    min_workers: usize,
    start_timeout: Duration,
    cancel_grace: Duration,
    first_pause: Duration,
}

impl ProcessPoolExecutor {
    /// An executor of `registry` with at most `max_workers` children; 0 is one for each CPU. `pool` is
    /// the name under which [`worker_entry`](crate::worker_entry) finds the function that builds the
    /// same registry.
    pub fn new(registry: Registry, pool: impl Into<Arc<str>>, max_workers: usize) -> Self {
        let workers = match max_workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        };
        let options = Options {
            pool: pool.into(),
            registry: registry.clone(),
            program: None,
            environment: Vec::new(),
            calls_per_worker: 1,
            max_tasks_per_child: None,
            idle_retire: Duration::from_secs(300),
            min_workers: 0,
            start_timeout: Duration::from_secs(20),
            cancel_grace: CANCEL_GRACE,
            first_pause: Duration::from_millis(100),
        };
        Self::with(registry, workers, 2 * workers, options)
    }

    fn with(registry: Registry, workers: usize, queue: usize, options: Options) -> Self {
        let options = Arc::new(options);
        let places = workers * options.calls_per_worker;
        Self {
            registry,
            workers,
            queue,
            places: Places::new(places, InChildren(options.clone())),
            options,
        }
    }

    fn set(self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = (*self.options).clone();
        change(&mut options);
        Self::with(self.registry, self.workers, self.queue, options)
    }

    /// How many jobs wait at most for a place; twice the workers unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }

    /// How many calls one child runs at once; 1 unless told otherwise, and 0 counts as 1.
    ///
    /// Those of one child share its end: where one crashes, or is cancelled and goes on for longer than
    /// [`cancel_grace`](Self::cancel_grace), the others end with [`ConnectionLost`](crate::Code::ConnectionLost),
    /// and may have run.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn calls_per_worker(self, calls: usize) -> Self {
        self.set(|options| options.calls_per_worker = calls.max(1))
    }

    /// A child ends after so many calls, and another takes its place; any number unless told
    /// otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn max_tasks_per_child(self, calls: u64) -> Self {
        self.set(|options| options.max_tasks_per_child = Some(calls.max(1)))
    }

    /// A child that had nothing to do for so long ends, within 100 ms, or a second where it is longer than that;
    /// after its last call at once where it is zero. 300 s unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn idle_retire(self, after: Duration) -> Self {
        self.set(|options| options.idle_retire = after)
    }

    /// So many children stay though they have nothing to do; 0 unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn min_workers(self, children: usize) -> Self {
        self.set(|options| options.min_workers = children)
    }

    /// How long a child may take until it serves; 20 s unless told otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn start_timeout(self, within: Duration) -> Self {
        self.set(|options| options.start_timeout = within)
    }

    /// How long a call that was cancelled may go on before its child is terminated, its clean-up
    /// ([`on_cancel`](bowline_concurrency::on_cancel)) included, and what handlers
    /// get at a [`shutdown`](Executor::shutdown); 1 s unless told otherwise. A child that is
    /// terminated gets SIGTERM, and is killed a second later; it ends sooner if the call does. Until then the call
    /// has its place.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn cancel_grace(self, grace: Duration) -> Self {
        self.set(|options| options.cancel_grace = grace)
    }

    /// The first pause after a child died before it had answered a call, on average half of it. It doubles up to
    /// 30 s with each child that does so, until one answers, and where they die before they serve until children
    /// have answered for a minute. While it lasts no child is started, and calls wait; after five children in a row
    /// those that find no room are refused with [`NoExecutor`](crate::Code::NoExecutor) instead. 100 ms unless told
    /// otherwise.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn respawn(self, first_pause: Duration) -> Self {
        self.set(|options| options.first_pause = first_pause)
    }

    /// Sets a variable in the environment of children, besides those of this program.
    #[must_use = "the setting belongs to the returned executor"]
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(|options| options.environment.push((name.into(), value.into())))
    }

    /// Another program than this one. It has to be the same build: a child of another one is refused
    /// with [`WorkerMismatch`](crate::ErrorKind::WorkerMismatch).
    #[must_use = "the setting belongs to the returned executor"]
    pub fn program(self, path: impl Into<PathBuf>) -> Self {
        self.set(|options| options.program = Some(path.into()))
    }
}

impl Executor for ProcessPoolExecutor {
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

    fn takes_values(&self) -> bool {
        false
    }

    fn takes_methods(&self) -> bool {
        false
    }

    fn prepare<'a>(
        &'a self,
        attachment: &'a Arc<Attachment>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        Box::pin(async move { Pool::of(attachment, &self.options).prepare().await })
    }

    fn shutdown(
        &self,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = ShutdownReport> + Send + '_>> {
        Box::pin(shut_down(&self.places, timeout, self.options.cancel_grace))
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor")
            .field("registry", &self.registry)
            .field("pool", &self.options.pool)
            .field("capacity", &self.capacity())
            .finish()
    }
}

/// Jobs wait, each in a task, for what a child answers.
struct InChildren(Arc<Options>);

impl Begin for InChildren {
    fn begin(&self, job: Job, place: Place) {
        let attachment = job.attachment().clone();
        let pool = Pool::of(&attachment, &self.0);
        // What is asked of a child is no call of who makes this one.
        in_nesting(Nesting::NONE, || {
            // A closed group drops it; then the broker is over.
            drop(attachment.group().spawn_ok(serve(pool, job, place)));
        });
    }

    fn begin_later(&self, job: Job, place: Place) {
        self.begin(job, place);
    }
}
