mod slots;

use crate::invalid_value::InvalidValue;
use crate::sleep::sleep_forever;
use crate::task_group::{ChildError, GroupError, Policy, TaskGroup, TaskGroupBuilder};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Calls `f` with every item and runs what it makes in children of a group, at most `limit` at
/// once; returns the values in the order of the items.
///
/// The first error cancels the other calls, and is returned when they have ended, along with those
/// that came in the meantime; a panic goes on then. An item is taken only when there is room for
/// its call, so the iterator may be endless. The iterator and `f` run in the task that awaits, so
/// they may borrow from it; what `f` makes may not. A child is named after its item's number, from
/// "item 0" on.
///
/// # Errors
///
/// [`GroupError`] with what failed. [`GroupError::invalid`] for a limit of zero: nothing is taken
/// then.
///
/// # Panics
///
/// When polled with no backend compiled in, or where the backend does not run. Resumes a panic of
/// a call, of the iterator or of `f`.
///
/// # Cancel safety
///
/// Dropping the future cancels the calls and returns at once; the root waits for them. Items not
/// taken stay in an iterator that was lent.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, checkpoint, parallel};
///
/// let lengths = Root::new().backend(Backend::Smol).block_on(parallel(
///     2,
///     ["one", "three", "five"],
///     |word| async move {
///         checkpoint().await;
///         Ok::<_, std::io::Error>(word.len())
///     },
/// ));
/// assert_eq!(lengths.unwrap(), [3, 5, 4]);
/// # }
/// ```
#[doc(alias = "amap")]
#[doc(alias = "parallel_requests")]
#[track_caller]
pub fn parallel<'a, T, E, I, F, Fut>(limit: usize, items: I, f: F) -> Parallel<'a, T, E>
where
    T: Send + 'static,
    E: Send + 'static,
    I: IntoIterator,
    I::IntoIter: Send + 'a,
    F: FnMut(I::Item) -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    let group = TaskGroup::builder().name("parallel");
    Parallel::new(limit, all_well(group, limit, items.into_iter(), f))
}

/// As [`parallel`], but `policy` says what a failed call means for the others, and every call gets
/// its own answer, in the order of the items.
///
/// - [`Policy::FailFast`]: as [`parallel`]; every answer is `Ok`.
/// - [`Policy::CollectAll`] and [`Policy::Isolate`]: nothing is cancelled; a failed call's answer is
///   its error or panic.
/// - [`Policy::Quorum`]: so many successes are enough: no item is taken any more, and calls that
///   still run are cancelled, which is their answer ([`ChildErrorKind::Cancelled`]). If the items
///   end and so many can not be reached, the rest is cancelled, and the errors are returned.
///
/// [`ChildErrorKind::Cancelled`]: crate::ChildErrorKind::Cancelled
///
/// # Errors
///
/// [`GroupError`] where the policy says so. [`GroupError::invalid`] for a limit of zero, and then
/// nothing is taken, and for a quorum of more than there are items.
///
/// # Panics
///
/// When polled with no backend compiled in, or where the backend does not run. Resumes a panic of
/// the iterator or of `f`; one of a call only with [`Policy::FailFast`], or where it comes from the
/// destructor of a call that was cancelled.
///
/// # Cancel safety
///
/// As [`parallel`].
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Policy, Root, parallel_with};
///
/// let parsed = Root::new().backend(Backend::Smol).block_on(parallel_with(
///     Policy::CollectAll,
///     2,
///     ["1", "two", "3"],
///     |word| async move { word.parse::<u32>() },
/// ));
/// let parsed = parsed.unwrap();
/// assert_eq!(*parsed[0].as_ref().unwrap(), 1);
/// assert!(parsed[1].as_ref().unwrap_err().error().is_some());
/// assert_eq!(*parsed[2].as_ref().unwrap(), 3);
/// # }
/// ```
#[track_caller]
pub fn parallel_with<'a, T, E, I, F, Fut>(
    policy: Policy,
    limit: usize,
    items: I,
    f: F,
) -> Parallel<'a, Result<T, ChildError<E>>, E>
where
    T: Send + 'static,
    E: Send + 'static,
    I: IntoIterator,
    I::IntoIter: Send + 'a,
    F: FnMut(I::Item) -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    let group = TaskGroup::builder().name("parallel");
    let items = items.into_iter();
    match policy {
        Policy::FailFast => Parallel::new(limit, async move {
            let values = all_well(group, limit, items, f).await?;
            Ok(values.into_iter().map(Ok).collect())
        }),
        policy => Parallel::new(limit, slots::each(group, policy, limit, items, f)),
    }
}

/// Future of [`parallel`] and [`parallel_with`].
#[must_use = "nothing is called until this is awaited"]
pub struct Parallel<'a, T, E> {
    run: Pin<Box<dyn Future<Output = Values<T, E>> + Send + 'a>>,
}

type Values<T, E> = Result<Vec<T>, GroupError<E>>;

impl<'a, T, E> Parallel<'a, T, E> {
    fn new(limit: usize, run: impl Future<Output = Values<T, E>> + Send + 'a) -> Self {
        Parallel {
            run: Box::pin(async move {
                if limit == 0 {
                    let what = "the limit of parallel calls";
                    let invalid = InvalidValue::new(what, limit, 1, usize::MAX);
                    let error = GroupError::new("parallel calls", None, Vec::new(), None);
                    return Err(error.with_invalid(invalid));
                }
                run.await
            }),
        }
    }
}

impl<T, E> Future for Parallel<'_, T, E> {
    type Output = Values<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.run.as_mut().poll(cx)
    }
}

impl<T, E> fmt::Debug for Parallel<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parallel").finish_non_exhaustive()
    }
}

/// The values if every call returns well.
async fn all_well<T, E, I, F, Fut>(
    group: TaskGroupBuilder,
    limit: usize,
    mut items: I,
    mut f: F,
) -> Result<Vec<T>, GroupError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
    I: Iterator + Send,
    F: FnMut(I::Item) -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    let run = group.max_children(limit).run(|group| async move {
        let mut calls = Vec::new();
        while let Ok(slot) = group.admit().await {
            let Some(item) = items.next() else { break };
            let slot = slot.named(format!("item {}", calls.len()));
            calls.push(slot.spawn(f(item)));
        }
        let mut values = Vec::with_capacity(calls.len());
        for call in calls {
            match call.join().await {
                Ok(value) => values.push(value),
                // The group is being cancelled for it.
                Err(_) => match sleep_forever().await {},
            }
        }
        Ok(values)
    });
    run.await
}
