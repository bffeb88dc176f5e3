use crate::branches::{Cohort, Halt, Next};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs futures side by side in this task and hands on what they return, as it comes.
///
/// Nothing is cancelled by an error. The futures run while [`next`](Completed::next) is awaited,
/// and only then: do not hold it for long with work under way, for a lock that was granted to one
/// of them stays taken. They may borrow what lives around, and need not be `Send`. Dropping it
/// drops those that have not ended at once.
///
/// They stand in the scopes around the call of `as_completed`: a timeout around one
/// [`next`](Completed::next) cuts that wait, and none of them. A shield, group or thread in one of them
/// keeps those scopes only while [`next`](Completed::next) is awaited: a scope that is cancelled while
/// the code does something else drops them, half-way, as that code would never come back to them.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, as_completed, sleep};
/// use std::time::Duration;
///
/// let order = Root::new().backend(Backend::Smol).block_on(async {
///     let mut pauses = as_completed([30_u64, 0].map(|pause| async move {
///         sleep(Duration::from_millis(pause)).await;
///         Ok::<_, String>(pause)
///     }));
///     let mut order = Vec::new();
///     while let Some((index, pause)) = pauses.next().await {
///         order.push((index, pause.unwrap()));
///     }
///     order
/// });
/// assert_eq!(order, [(1, 0), (0, 30)]);
/// # }
/// ```
#[track_caller]
#[doc(alias = "FuturesUnordered")]
pub fn as_completed<I>(futures: I) -> Completed<I::Item>
where
    I: IntoIterator,
    I::Item: Future,
{
    Completed {
        cohort: Cohort::new(futures, usize::MAX, Location::caller()).at_home(),
    }
}

/// Futures that run side by side; of [`as_completed`].
#[must_use = "nothing runs until `next` is awaited"]
pub struct Completed<F: Future> {
    cohort: Cohort<F>,
}

impl<F: Future> Completed<F> {
    /// Waits for the next one that completes: its position among those given, counted from 0, and
    /// what it returned. None when all have.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a future, when the others were cancelled and are gone; values that
    /// come meanwhile are dropped.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened: the futures stay where they are.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is awaited, as a stream's is"
    )]
    pub fn next(&mut self) -> NextCompleted<'_, F> {
        NextCompleted { completed: self }
    }

    /// How many have not completed.
    pub fn len(&self) -> usize {
        self.cohort.len()
    }

    /// Whether all have completed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<F: Future> fmt::Debug for Completed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed")
            .field("left", &self.len())
            .finish_non_exhaustive()
    }
}

/// Future of [`Completed::next`].
#[must_use = "nothing runs until this is awaited"]
pub struct NextCompleted<'a, F: Future> {
    completed: &'a mut Completed<F>,
}

impl<F: Future> Future for NextCompleted<'_, F> {
    type Output = Option<(usize, F::Output)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut found = None;
        let cohort = &mut self.completed.cohort;
        let polled = cohort.poll(cx, |index, output| {
            found = Some((index, output));
            Next::Return
        });
        match polled {
            Poll::Ready(Halt::Returned | Halt::Over) => {
                cohort.rest();
                Poll::Ready(found)
            }
            Poll::Pending | Poll::Ready(Halt::CutOutside) => Poll::Pending,
        }
    }
}

impl<F: Future> Drop for NextCompleted<'_, F> {
    fn drop(&mut self) {
        self.completed.cohort.rest();
    }
}

impl<F: Future> fmt::Debug for NextCompleted<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NextCompleted")
            .field(self.completed)
            .finish()
    }
}
