mod handle;
mod run;
mod yard;

pub use handle::{ScopeHandle, ScopeJoin, ScopeJoinOrCancel, ScopeWait};
pub use run::ScopeFuture;

use crate::cancel_scope::CancelHandle;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use yard::Yard;

/// Runs a body that can spawn children which borrow what lives around the scope, and returns when
/// all of them have ended.
///
/// The children run side by side, but in the task that awaits the scope: never two at the same
/// moment, so one that computes or blocks holds up the others. For parallel children, which
/// borrow nothing, there is [`task_group`](crate::task_group). Only children that were woken are
/// polled, at most 64 before other tasks get their turn.
///
/// The first error, of the body or of a child, cancels the rest; all errors are reported. A child
/// is not a task: the [`id`](crate::ChildError::id) in its error is that of the task around the
/// scope, so give it a name where that matters. A panic of a child goes on in the body's place
/// when all others are gone. A scope cancelled from outside never returns, unless all its children
/// have come to their end.
///
/// Children see the scope locals that a task would which is spawned in the same place.
///
/// # Panics
///
/// Resumes a panic of the body or of a child.
///
/// # Cancel safety
///
/// Dropping the future drops the body and every child before it returns: what they had done stays
/// done.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{GroupError, Root, scope, sync::Lock};
///
/// let lines = Lock::new(Vec::new());
/// let lengths: Result<usize, GroupError<std::io::Error>> =
///     Root::new().backend(Backend::Smol).block_on(scope(|scope| {
///         // Borrowed, so that the children take a reference with them.
///         let lines = &lines;
///         async move {
///             let children: Vec<_> = ["one", "two", "three"]
///                 .into_iter()
///                 .map(|line| {
///                     scope.spawn_ok(async move {
///                         lines.lock().await.push(line);
///                         line.len()
///                     })
///                 })
///                 .collect();
///             let mut sum = 0;
///             for child in children {
///                 sum += child.join().await.unwrap_or(0);
///             }
///             Ok(sum)
///         }
///     }));
/// assert_eq!(lengths.unwrap(), 11);
/// assert_eq!(lines.into_inner(), ["one", "two", "three"]);
/// # }
/// ```
#[track_caller]
#[doc(alias = "moro")]
pub fn scope<'env, T, E, F, Fut>(f: F) -> ScopeFuture<'env, T, E, F, Fut>
where
    F: FnOnce(Scope<'env, E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    ScopeFuture::new(f, Location::caller())
}

/// A handle that spawns children into a scope; see [`scope`].
///
/// Cheap to clone; children may have one and spawn into their own scope until it is empty.
pub struct Scope<'env, E> {
    yard: Arc<Yard<'env, E>>,
}

impl<'env, E: 'env> Scope<'env, E> {
    /// Starts a child, which is polled first when whoever runs now lets go. Its error fails the
    /// scope. If the scope has ended, or has 1 048 576 children, the future is dropped and the
    /// handle says [`TaskStatus::Refused`](crate::TaskStatus::Refused).
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> ScopeHandle<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.yard.spawn(Cow::Borrowed(""), future, |result| result)
    }

    /// Starts a child that returns no error.
    #[track_caller]
    pub fn spawn_ok<T, F>(&self, future: F) -> ScopeHandle<T>
    where
        T: Send + 'env,
        F: Future<Output = T> + Send + 'env,
    {
        self.yard.spawn(Cow::Borrowed(""), future, Ok)
    }

    /// Names the next child.
    pub fn named(&self, name: impl Into<Cow<'static, str>>) -> NamedChild<'_, 'env, E> {
        NamedChild {
            scope: self,
            name: name.into(),
        }
    }

    /// Cancels the body and all children. True if this call was the first.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.handle().cancel(reason)
    }

    /// A handle that cancels the scope.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(self.yard.node().clone())
    }
}

impl<E> Clone for Scope<'_, E> {
    fn clone(&self) -> Self {
        Scope {
            yard: self.yard.clone(),
        }
    }
}

impl<E> fmt::Debug for Scope<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// A scope that names the next child; of [`Scope::named`].
#[must_use = "a name alone starts nothing"]
pub struct NamedChild<'a, 'env, E> {
    scope: &'a Scope<'env, E>,
    name: Cow<'static, str>,
}

impl<'env, E: 'env> NamedChild<'_, 'env, E> {
    /// As [`Scope::spawn`].
    #[track_caller]
    pub fn spawn<T, F>(self, future: F) -> ScopeHandle<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.scope.yard.spawn(self.name, future, |result| result)
    }

    /// As [`Scope::spawn_ok`].
    #[track_caller]
    pub fn spawn_ok<T, F>(self, future: F) -> ScopeHandle<T>
    where
        T: Send + 'env,
        F: Future<Output = T> + Send + 'env,
    {
        self.scope.yard.spawn(self.name, future, Ok)
    }
}

impl<E> fmt::Debug for NamedChild<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedChild")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
