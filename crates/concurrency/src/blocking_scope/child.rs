use super::siblings::Siblings;
use crate::cancel_scope::{CancelHandle, CancelScope};
use crate::outcome::Outcome;
use crate::root::Root;
use crate::task_handle::JoinError;
use bowline_backend::task::{RunOptions, Threads};
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

/// A child of a [`blocking_scope`](crate::blocking_scope()).
///
/// Dropping it neither cancels nor stops the child; the scope waits for it.
pub struct BlockingChild<'scope, T> {
    cancel: CancelHandle,
    /// None where the system started no thread.
    thread: Option<ScopedJoinHandle<'scope, Result<T, JoinError>>>,
}

impl<'scope, T: Send + 'scope> BlockingChild<'scope, T> {
    #[track_caller]
    pub(super) fn start<F, Fut>(
        threads: &'scope Scope<'scope, '_>,
        siblings: &Arc<Siblings>,
        f: F,
    ) -> BlockingChild<'scope, T>
    where
        F: FnOnce() -> Fut + Send + 'scope,
        Fut: Future<Output = T>,
    {
        let (scope, key) = siblings.add();
        let cancel = scope.handle();
        let leaving = Leaving(siblings.clone(), key);
        let body = move || run(&leaving.0, scope, f);
        let thread = Builder::new().name("bowline-child".to_owned());
        BlockingChild {
            cancel,
            thread: thread.spawn_scoped(threads, body).ok(),
        }
    }

    /// Parks the thread until the child has ended.
    ///
    /// # Errors
    ///
    /// [`JoinError`] says why there is no value.
    pub fn join(self) -> Result<T, JoinError> {
        let joined = self.thread.map(ScopedJoinHandle::join);
        // What panics there is caught there.
        joined
            .unwrap_or(Ok(Err(JoinError::Refused)))
            .unwrap_or(Err(JoinError::Panicked))
    }

    /// Cancels this child alone. True if this call was the first.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        !self.is_finished() && self.cancel.cancel(reason)
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread
            .as_ref()
            .is_none_or(ScopedJoinHandle::is_finished)
    }
}

/// The life of a child, on its thread.
fn run<T, F, Fut>(siblings: &Siblings, scope: CancelScope, f: F) -> Result<T, JoinError>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    let mut options = RunOptions::default().threads(Threads::One);
    if !siblings.backend.capabilities().drops_tasks_on_exit {
        // Its blocking jobs are the process's; one of them may be what waits for this scope.
        options = options.blocking_grace(Duration::ZERO);
    }
    let root = Root::new().backend(siblings.backend).options(options);
    let body = scope.run(async move { f().await });
    match catch_unwind(AssertUnwindSafe(|| root.block_on(body))) {
        Ok(Outcome::Done(value)) => Ok(value),
        Ok(Outcome::Cancelled(cause)) => Err(JoinError::Cancelled(cause)),
        Err(panic) => {
            siblings.panicked(panic);
            Err(JoinError::Panicked)
        }
    }
}

/// Takes the child out when its thread ends, or none was started.
struct Leaving(Arc<Siblings>, usize);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

impl<T> fmt::Debug for BlockingChild<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingChild")
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}
