//! The brokers that run handlers, by number: how code finds the broker it runs in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bowline_concurrency::current_nesting;

use crate::DynBroker;

/// Each from its start to its end.
static RUNNING: Mutex<BTreeMap<u64, DynBroker>> = Mutex::new(BTreeMap::new());
/// 0 is nobody's.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The broker whose handler runs here, or spawned the task that does; `None` elsewhere, and once that
/// broker has ended.
///
/// What [`Context::broker`](crate::Context::broker) is to who has the context. Calls through it count as
/// nested in the call that is handled, and wait no longer than that.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, Error, MemoryBroker, Registry, current_broker, executor::AsyncExecutor};
///
/// let registry = Registry::new("example");
/// registry.register_fn("double", |(n,): (i64,)| async move { 2 * n })?;
/// registry.register_fn("quadruple", |(n,): (i64,)| async move {
///     let broker = current_broker()?;
///     let double: i64 = broker.call_named("double", (n,)).await.ok()?;
///     broker.call_named::<i64>("double", (double,)).await.ok()
/// })?;
/// let quadruple = Backend::Tokio.block_on(
///     MemoryBroker::new(AsyncExecutor::new(registry, 4)).run(async |broker| -> Result<_, Error> {
///         Ok(broker.call_named::<Option<i64>>("quadruple", (3,)).await?)
///     }),
/// )?;
/// assert_eq!(quadruple, Some(12));
/// assert!(current_broker().is_none());
/// # Ok::<(), Error>(())
/// ```
pub fn current_broker() -> Option<DynBroker> {
    find(current_nesting().origin)
}

/// A number for one more broker.
pub(crate) fn number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The broker with this number, while it runs.
pub(crate) fn find(number: u64) -> Option<DynBroker> {
    match number {
        0 => None,
        _ => running().get(&number).cloned(),
    }
}

pub(crate) fn enter(number: u64, broker: DynBroker) {
    let former = running().insert(number, broker);
    drop(former);
}

pub(crate) fn leave(number: u64) {
    // Dropped after the lock: it may be the last handle.
    let left = running().remove(&number);
    drop(left);
}

fn running() -> MutexGuard<'static, BTreeMap<u64, DynBroker>> {
    // Nothing that can panic runs under the lock, so a poisoned map is whole.
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
