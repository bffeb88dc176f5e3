use super::busy::Busy;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Refuses a second user of what only one may use at a time.
///
/// It never waits: where a second task that sends on one socket is a mistake, the mistake gets
/// an error instead of a turn. Where it is none, use a [`Lock`](super::Lock).
///
/// # Examples
///
/// ```
/// use bowline_concurrency::sync::ResourceGuard;
///
/// let guard = ResourceGuard::new("sending");
/// let entered = guard.enter().unwrap();
/// assert_eq!(guard.enter().unwrap_err().action(), "sending");
/// drop(entered);
/// assert!(guard.enter().is_ok());
/// ```
pub struct ResourceGuard {
    action: &'static str,
    taken: AtomicBool,
}

/// A snapshot of a [`ResourceGuard`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceGuardStatistics {
    /// Whether somebody uses the resource.
    pub busy: bool,
}

impl ResourceGuard {
    /// For a resource nobody uses yet; `action` says what its user does.
    pub const fn new(action: &'static str) -> ResourceGuard {
        ResourceGuard {
            action,
            taken: AtomicBool::new(false),
        }
    }

    /// Begins to use the resource, until the result is dropped.
    ///
    /// # Errors
    ///
    /// [`Busy`] with the action, if somebody uses it now.
    pub fn enter(&self) -> Result<Entered<'_>, Busy> {
        if self.taken.swap(true, Ordering::Acquire) {
            return Err(Busy::new(self.action));
        }
        Ok(Entered { guard: self })
    }

    /// Whether somebody uses the resource.
    pub fn statistics(&self) -> ResourceGuardStatistics {
        ResourceGuardStatistics {
            busy: self.taken.load(Ordering::Acquire),
        }
    }
}

impl fmt::Debug for ResourceGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceGuard")
            .field("action", &self.action)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// The right to use the resource of a [`ResourceGuard`], until it is dropped.
#[must_use = "the resource is free again when this is dropped"]
pub struct Entered<'a> {
    guard: &'a ResourceGuard,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.guard.taken.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered")
            .field("action", &self.guard.action)
            .finish_non_exhaustive()
    }
}
