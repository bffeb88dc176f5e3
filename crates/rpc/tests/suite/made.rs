//! The executors that share the cases, by how they are made.

use std::time::Duration;

use bowline_concurrency::TaskGroup;
use bowline_rpc::executor::{AsyncExecutor, Executor, ThreadPoolExecutor};
use bowline_rpc::{Error, MemoryBroker, Registry, TcpBroker};

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

/// Two brokers that share an executor: one in memory, and a server.
pub(crate) async fn of_both_kinds<E: Executor + Clone>(
    executor: &E,
    group: &TaskGroup<Error>,
) -> Result<(MemoryBroker, TcpBroker), Error> {
    let memory = MemoryBroker::new(executor.clone()).start(group).await?;
    let server = TcpBroker::builder(executor.clone())
        .listen("127.0.0.1:0")
        .start(group)
        .await?;
    Ok((memory, server))
}
