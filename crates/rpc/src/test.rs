//! Aids for tests of programs that call.

use crate::executor::Executor;
use crate::{MemoryBroker, MemoryBrokerStart};

/// A [`MemoryBroker`] for tests: it encodes and decodes what it carries, so that arguments and replies which
/// could not travel to another process are found here, and not where the program uses another broker.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, Error, Registry, executor::AsyncExecutor, test};
///
/// let registry = Registry::new("example");
/// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
/// let sum = Backend::Tokio.block_on(
///     test::memory_broker(AsyncExecutor::new(registry, 4))
///         .run(async |broker| -> Result<i64, Error> { Ok(broker.call_named("add", (2, 3)).await?) }),
/// )?;
/// assert_eq!(sum, 5);
/// # Ok::<(), Error>(())
/// ```
pub fn memory_broker(executor: impl Executor) -> MemoryBrokerStart {
    MemoryBroker::new(executor).encode_always()
}
