//! The executors that share the cases, by how they are made.

use bowline_rpc::Registry;
use bowline_rpc::executor::{AsyncExecutor, Executor, ThreadPoolExecutor};

/// An executor of a registry, with so many workers and places in the queue.
pub(crate) trait Made: Executor + Clone {
    fn made(registry: Registry, workers: usize, queue: usize) -> Self;
}

impl Made for AsyncExecutor {
    fn made(registry: Registry, workers: usize, queue: usize) -> Self {
        AsyncExecutor::new(registry, workers).queue(queue)
    }
}

impl Made for ThreadPoolExecutor {
    fn made(registry: Registry, workers: usize, queue: usize) -> Self {
        ThreadPoolExecutor::new(registry, workers).queue(queue)
    }
}
