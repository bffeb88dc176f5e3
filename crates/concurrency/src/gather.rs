use crate::branches::{Cohort, Halt, Next, failed};
use crate::cause::CauseKind;
use crate::invalid_value::InvalidValue;
use crate::task_group::{ChildError, GroupError};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs futures side by side in this task and returns their values in the order in which the
/// futures were given.
///
/// The first error cancels the rest; all errors are reported, in the order in which they came,
/// each [named](crate::ChildError::name) for the position of its future, `"0"` the first. A panic
/// goes on when all are gone. The futures may borrow what lives around, and need not be `Send`.
/// With none the answer is an empty vector. Cancelled from outside it never returns, unless every
/// future comes to its end.
///
/// # Errors
///
/// [`GroupError`], with the error of at least one future.
///
/// # Panics
///
/// Resumes the panic of a future.
///
/// # Cancel safety
///
/// Dropping it drops all futures at once: what they had done stays done, values that were there
/// are lost.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, gather};
///
/// let words = ["one", "three"];
/// let lengths = words.iter().map(|word| async move {
///     word.len().checked_sub(3).ok_or("too short")
/// });
/// let lengths = Root::new().backend(Backend::Smol).block_on(gather(lengths));
/// assert_eq!(lengths.unwrap(), [0, 2]);
/// # }
/// ```
#[track_caller]
#[doc(alias = "join_all")]
#[doc(alias = "try_join_all")]
pub fn gather<I, T, E>(futures: I) -> Gather<I::Item, T, E>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>>,
{
    Gather::new(usize::MAX, futures)
}

/// As [`gather`], with at most `limit` futures started and not ended at any time. Those that wait
/// when another fails, or when code around is cancelled, are dropped unpolled.
///
/// # Errors
///
/// [`GroupError`], with the error of at least one future. A limit of 0 is
/// [invalid](GroupError::invalid): nothing is polled.
///
/// # Panics
///
/// Resumes the panic of a future.
///
/// # Cancel safety
///
/// As [`gather`].
#[track_caller]
pub fn gather_bounded<I, T, E>(limit: usize, futures: I) -> Gather<I::Item, T, E>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>>,
{
    Gather::new(limit, futures)
}

/// Future of [`gather`] and [`gather_bounded`].
#[must_use = "nothing is gathered until this is awaited"]
pub struct Gather<F: Future, T, E> {
    limit: usize,
    cohort: Cohort<F>,
    values: Vec<Option<T>>,
    errors: Vec<ChildError<E>>,
    returned: bool,
}

/// Nothing in it is ever pinned but what has a box of its own.
impl<F: Future, T, E> Unpin for Gather<F, T, E> {}

impl<F, T, E> Gather<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    #[track_caller]
    fn new(limit: usize, futures: impl IntoIterator<Item = F>) -> Self {
        let cohort = Cohort::new(futures, limit, Location::caller());
        Gather {
            limit,
            values: (0..cohort.len()).map(|_| None).collect(),
            cohort,
            errors: Vec::new(),
            returned: false,
        }
    }
}

impl<F, T, E> Future for Gather<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, GroupError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(!this.returned, "a gather was polled after it had returned");
        if this.limit == 0 {
            this.returned = true;
            let invalid = InvalidValue::new("the limit of a gather", 0, 1, usize::MAX);
            let error = GroupError::new("gather", None, Vec::new(), None);
            return Poll::Ready(Err(error.with_invalid(invalid)));
        }
        let (values, errors) = (&mut this.values, &mut this.errors);
        let polled = this.cohort.poll(cx, |index, output| match output {
            Ok(value) => {
                values[index] = Some(value);
                Next::GoOn
            }
            Err(error) => {
                errors.push(failed(index, error));
                Next::Cancel(CauseKind::SiblingFailed)
            }
        });
        match polled {
            Poll::Ready(Halt::Over | Halt::Returned) => {}
            Poll::Pending | Poll::Ready(Halt::CutOutside) => return Poll::Pending,
        }
        this.returned = true;
        let errors = std::mem::take(&mut this.errors);
        let values = std::mem::take(&mut this.values);
        Poll::Ready(match errors.is_empty() {
            true => Ok(values.into_iter().flatten().collect()),
            false => {
                let cause = this.cohort.cause();
                Err(GroupError::new("gather", None, errors, cause))
            }
        })
    }
}

impl<F: Future, T, E> fmt::Debug for Gather<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("left", &self.cohort.len())
            .finish_non_exhaustive()
    }
}
