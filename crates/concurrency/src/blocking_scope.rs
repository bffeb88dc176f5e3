mod child;
mod siblings;

pub use child::BlockingChild;

use crate::ambient;
use crate::cause::CauseKind;
use bowline_backend::Backend;
use siblings::Siblings;
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{self, Scope};

/// Lets code that is not in a task run futures in parallel that borrow from it: each child has a
/// thread, and a root of its own on `backend` there. Blocks until all children have ended.
///
/// A panic, of `f` or a child, cancels the other children.
///
/// # Errors
///
/// [`BlockingScopeError::WouldDeadlock`] inside a task; `f` was not called. Use
/// [`scope`](crate::scope()) there.
///
/// # Panics
///
/// Resumes the panic of `f`, or the first of a child, once all have ended. On a simulated backend,
/// whose worlds have one thread.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{blocking_scope, sleep};
/// use std::time::Duration;
///
/// let mut numbers = [1, 2, 3, 4];
/// let (left, right) = numbers.split_at_mut(2);
/// blocking_scope(Backend::Smol, |scope| {
///     for half in [left, right] {
///         scope.spawn(|| async {
///             sleep(Duration::from_millis(1)).await;
///             half.iter_mut().for_each(|number| *number *= 10);
///         });
///     }
/// })
/// .unwrap();
/// assert_eq!(numbers, [10, 20, 30, 40]);
/// # }
/// ```
#[track_caller]
pub fn blocking_scope<'env, F, R>(backend: Backend, f: F) -> Result<R, BlockingScopeError>
where
    F: for<'scope> FnOnce(BlockingScope<'scope, 'env>) -> R,
{
    assert!(
        backend.capabilities().multi_thread,
        "a blocking scope on backend {backend}: a simulated world has one thread"
    );
    let (place, in_task) = ambient::place();
    if place != 0 || in_task {
        return Err(BlockingScopeError::WouldDeadlock);
    }
    let siblings = Arc::new(Siblings::new(backend, Location::caller()));
    let ended = thread::scope(|threads| {
        let scope = BlockingScope {
            threads,
            siblings: siblings.clone(),
        };
        let caught = catch_unwind(AssertUnwindSafe(|| f(scope)));
        if caught.is_err() {
            siblings.cancel(CauseKind::HostFailed, Cow::Borrowed(""));
        }
        caught
    });
    let value = ended.unwrap_or_else(|panic| resume_unwind(panic));
    match siblings.take_panic() {
        Some(panic) => resume_unwind(panic),
        None => Ok(value),
    }
}

/// A handle that starts children of a [`blocking_scope`].
///
/// Cheap to clone; children may have one.
#[derive(Clone)]
pub struct BlockingScope<'scope, 'env> {
    threads: &'scope Scope<'scope, 'env>,
    siblings: Arc<Siblings>,
}

/// Why a blocking scope did not begin.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockingScopeError {
    /// It was called inside a task, and would stop every task of that thread.
    #[error(
        "a blocking scope inside a task would stop the tasks of this thread; use `scope` there"
    )]
    WouldDeadlock,
}

impl<'scope> BlockingScope<'scope, '_> {
    /// Starts a child: runs the future that `f` makes on a thread of its own. The future need not
    /// be `Send`.
    ///
    /// Where the system starts no thread, joining the child says that it was refused.
    #[track_caller]
    pub fn spawn<T, F, Fut>(&self, f: F) -> BlockingChild<'scope, T>
    where
        F: FnOnce() -> Fut + Send + 'scope,
        Fut: Future<Output = T>,
        T: Send + 'scope,
    {
        BlockingChild::start(self.threads, &self.siblings, f)
    }

    /// Cancels all children, those to come included.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) {
        self.siblings.cancel(CauseKind::Explicit, reason.into());
    }
}

impl fmt::Debug for BlockingScope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingScope")
            .field("siblings", &self.siblings)
            .finish_non_exhaustive()
    }
}
