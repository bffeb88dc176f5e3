//! What runs handlers: at most so many at once, the others waiting in a bounded queue.
//!
//! An executor is inert until a broker starts it, and ends with the broker's scope.

mod async_executor;
mod job;
mod null_executor;

pub use async_executor::AsyncExecutor;
pub use job::{Job, Refusal};
pub use null_executor::NullExecutor;

pub(crate) use job::{CallRef, JobBody, JobEnd, ReplySink, Stop};

use std::convert::Infallible;
use std::fmt;

use bowline_concurrency::TaskGroup;

use crate::Registry;

/// Runs the handlers of one registry.
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// The methods it runs.
    fn registry(&self) -> &Registry;

    /// How much it takes.
    fn capacity(&self) -> Capacity;

    /// From now on handlers run as children of `group`. Called by the broker that starts.
    fn start(&self, group: &TaskGroup<Infallible>);

    /// Takes a job: it runs now, or later when a place is free.
    ///
    /// # Errors
    /// [`Refusal`] if the queue is full; the job is answered so.
    fn admit(&self, job: Job) -> Result<(), Refusal>;
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
    /// Jobs waiting now.
    pub waiting: usize,
}
