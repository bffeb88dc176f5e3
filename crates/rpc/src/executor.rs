//! What runs handlers: at most so many at once, the others waiting in a bounded queue.
//!
//! An executor is inert until a broker starts it, and ends with the broker's scope.

mod async_executor;
mod attachment;
mod caught;
mod job;
mod notification;
mod null_executor;
mod places;
#[cfg(unix)]
pub(crate) mod process_pool_executor;
mod queue;
mod running;
mod shutdown;
mod states;
mod thread_pool_executor;
mod ticket;

pub use async_executor::AsyncExecutor;
pub use job::{Job, Refusal};
pub use null_executor::NullExecutor;
#[cfg(unix)]
pub use process_pool_executor::ProcessPoolExecutor;
pub use shutdown::ShutdownReport;
pub use states::States;
pub use thread_pool_executor::ThreadPoolExecutor;
pub use ticket::Ticket;

pub(crate) use attachment::{Attachment, Internals};
pub(crate) use caught::discard;
pub(crate) use job::{CallRef, JobBody, JobEnd, JobFacts, ReplySink, Stop};
pub(crate) use notification::Notification;
pub(crate) use places::Place;
pub(crate) use queue::{MethodKey, MethodLimit};
pub(crate) use thread_pool_executor::{Function, Threads};
pub(crate) use ticket::JobHandle;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::sys::RunningCall;
use crate::{Error, Registry};

/// Runs the handlers of one registry.
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// The methods it runs.
    fn registry(&self) -> &Registry;

    /// How much it takes. `max_workers` does not change: a connection asks once.
    fn capacity(&self) -> Capacity;

    /// Takes a job: it runs now, or later when a place is free. Its handler runs as a child of
    /// [the group it brings](Job::group).
    ///
    /// # Errors
    /// [`Refusal`] if the queue is full and the job is not [patient](Job::is_patient); the job is
    /// answered so.
    fn admit(&self, job: Job) -> Result<Ticket, Refusal>;

    /// Drops the waiting jobs that [nobody waits for](Job::is_cancelled). Called when a broker
    /// ends, as other brokers may go on with the same executor.
    ///
    /// Unless an executor does something here, it drops them when it is their turn.
    fn purge(&self) {}

    /// Whether it runs calls of this process with their arguments as they are. An executor that does
    /// not gets them encoded, as those of peers.
    fn takes_values(&self) -> bool {
        true
    }

    /// Whether it runs methods of other registries than its [own](Self::registry), as those that a broker
    /// [attaches](crate::TcpBroker::attach) while it runs. The brokers of an executor that does not attach none.
    fn takes_methods(&self) -> bool {
        true
    }

    /// Gets ready for a broker that has just started with it; a failure is that of the start.
    #[doc(hidden)]
    fn prepare<'a>(
        &'a self,
        attachment: &'a Arc<Attachment>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        let _ = attachment;
        Box::pin(std::future::ready(Ok(())))
    }

    /// The calls of one broker whose handlers wait for something now, for [`sys.tasks`](crate::sys). An
    /// executor that does not know tells of none.
    #[doc(hidden)]
    fn calls(&self, broker: u64) -> Vec<RunningCall> {
        let _ = broker;
        Vec::new()
    }

    /// Cancels the calls of one broker that run and wait for something. An executor that does not know
    /// them cancels none.
    #[doc(hidden)]
    fn cancel(&self, broker: u64) {
        let _ = broker;
    }

    /// A broker starts with it. One that was [shut down](Self::shutdown) takes jobs again.
    fn start(&self) {}

    /// What its handlers find by [`Context::state`](crate::Context::state); a broker asks once, when
    /// it starts.
    fn states(&self) -> States {
        States::default()
    }

    /// How long the clean-up of a cancelled handler may take: what it told
    /// [`on_cancel`](bowline_concurrency::on_cancel) to do. 1 s unless told otherwise; a broker asks once,
    /// when it starts.
    fn cancel_grace(&self) -> Duration {
        async_executor::CANCEL_GRACE
    }

    /// Ends what it runs: new jobs are refused, those that wait are answered
    /// [`Draining`](crate::Code::Draining), and those that run may take until `timeout`. Then they are
    /// cancelled, and after a grace those that still run are answered
    /// [`Cancelled`](crate::Code::Cancelled), whatever their handlers do. Every caller has its answer
    /// when this returns, and the next broker that starts opens it again.
    ///
    /// An executor that runs nothing has nothing to do here.
    ///
    /// # Cancel safety
    /// *Value lost*: what has been refused and cancelled stays so; those that still run are left
    /// running.
    fn shutdown(
        &self,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = ShutdownReport> + Send + '_>> {
        let _ = timeout;
        Box::pin(std::future::ready(ShutdownReport::default()))
    }
}

/// How much an executor takes, in handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capacity {
    /// Handlers that run at once.
    pub max_workers: usize,
    /// Jobs that wait for a place.
    pub queue: usize,
    /// Handlers running now.
    pub running: usize,
    /// Jobs waiting now, those of callers who wait for room in the queue included.
    pub waiting: usize,
    /// Of the handlers running now, those that go on though they were cancelled and their callers answered: they
    /// hold a thread or a child process, or are not to be dropped.
    pub abandoned: usize,
    /// Whether a call of a peer that came now would be refused, for it could neither run nor wait. Notifications
    /// wait too, and keep no call out; nor do calls that handlers make, which have places of their own.
    pub is_full: bool,
}
