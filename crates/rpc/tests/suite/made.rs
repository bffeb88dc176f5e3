//! The executors that share the cases, by how they are made.

use std::time::Duration;

use bowline_rpc::Registry;
use bowline_rpc::executor::{AsyncExecutor, Executor, ThreadPoolExecutor};

/// An executor of a registry, with so many workers and places in the queue.
pub(crate) trait Made: Executor + Clone {
    fn made(registry: Registry, workers: usize, queue: usize) -> Self;

    /// With so long for handlers that a shutdown cancels.
    fn grace(self, grace: Duration) -> Self;
}

impl Made for AsyncExecutor {
    fn made(registry: Registry, workers: usize, queue: usize) -> Self {
        AsyncExecutor::new(registry, workers).queue(queue)
    }

    fn grace(self, grace: Duration) -> Self {
        self.cancel_grace(grace)
    }
}

impl Made for ThreadPoolExecutor {
    fn made(registry: Registry, workers: usize, queue: usize) -> Self {
        ThreadPoolExecutor::new(registry, workers).queue(queue)
    }

    fn grace(self, grace: Duration) -> Self {
        self.cancel_grace(grace)
    }
}
