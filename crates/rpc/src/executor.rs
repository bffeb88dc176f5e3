//! What runs handlers: at most so many at once, the others waiting in a bounded queue.
//!
//! An executor is inert until a broker starts it, and ends with the broker's scope.

mod async_executor;
mod attachment;
mod caught;
mod job;
mod null_executor;
mod running;
mod ticket;

pub use async_executor::AsyncExecutor;
pub use job::{Job, Refusal};
pub use null_executor::NullExecutor;
pub use ticket::Ticket;

pub(crate) use attachment::Attachment;
pub(crate) use caught::discard;
pub(crate) use job::{CallRef, JobBody, JobEnd, ReplySink, Stop};
pub(crate) use ticket::JobHandle;

use std::fmt;

use crate::Registry;

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
}
