//! What the server offers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowline::concurrency::sleep;
use bowline::rpc::{Registry, RegistryError};
use serde::{Deserialize, Serialize};

/// An `async fn`: runs among the server's tasks.
#[bowline::rpc]
pub(crate) async fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// A plain `fn`: runs on a thread that may block.
#[bowline::rpc]
pub(crate) fn count_primes(below: u32) -> u32 {
    let is_prime = |n: &u32| {
        (2..)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..below).filter(is_prime).count() as u32
}

/// Fails with an error of its own, which the caller gets as the value it is.
#[bowline::rpc]
pub(crate) async fn divide(a: i64, b: i64) -> Result<i64, DivideError> {
    match a.checked_div(b) {
        Some(quotient) => Ok(quotient),
        None => Err(DivideError { dividend: a }),
    }
}

/// There is no quotient.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DivideError {
    /// What was to be divided.
    pub(crate) dividend: i64,
}

/// The functions above, and two closures by name that share a counter: `sleep` runs as long as it
/// is told and counts itself if it is dropped before, `cancelled` gives the count.
pub(crate) fn registry() -> Result<Registry, RegistryError> {
    let registry = Registry::new("quickstart");
    registry.register(add)?;
    registry.register(count_primes)?;
    registry.register(divide)?;

    let cancelled = Arc::new(AtomicU64::new(0));
    let counter = cancelled.clone();
    registry.register_fn("sleep", move |(millis,): (u64,)| {
        let sleeping = Unfinished(Some(counter.clone()));
        async move {
            sleep(Duration::from_millis(millis)).await;
            sleeping.finish();
        }
    })?;
    registry.register_fn("cancelled", move |(): ()| {
        let count = cancelled.load(Ordering::SeqCst);
        async move { count }
    })?;
    Ok(registry)
}

/// Counts its drop, unless the work was finished.
struct Unfinished(Option<Arc<AtomicU64>>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}
