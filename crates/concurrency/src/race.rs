use crate::branches::{Cohort, Halt, Next, failed};
use crate::caught::discard;
use crate::cause::CauseKind;
use crate::task_group::{ChildError, GroupError};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs futures side by side in this task and returns the first value.
///
/// An error does not end the race. When there is a value the others are cancelled
/// ([`CauseKind::Satisfied`]) and dropped before it is returned; one that is behind a shield is
/// awaited. Values and errors that come after the first value are dropped, a panic goes on. The
/// futures may borrow what lives around, and need not be `Send`.
///
/// # Errors
///
/// If all fail: [`GroupError`] with all their errors, in the order in which they came, each
/// [named](crate::ChildError::name) for the position of its future, `"0"` the first. Of no future
/// the error [is empty](GroupError::is_empty).
///
/// # Panics
///
/// Resumes the panic of a future.
///
/// # Cancel safety
///
/// Dropping it drops all futures at once: what they had done stays done. A value that waits for a
/// shielded loser is lost.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, race, sleep_forever};
///
/// async fn ask(mirror: &str) -> Result<&str, String> {
///     match mirror {
///         "broken" => return Err("no route".to_owned()),
///         "slow" => drop(sleep_forever().await),
///         _ => {}
///     }
///     Ok(mirror)
/// }
///
/// let mirrors = ["broken", "slow", "good"].map(ask);
/// let first = Root::new().backend(Backend::Smol).block_on(race(mirrors));
/// assert_eq!(first.unwrap(), "good");
/// # }
/// ```
#[track_caller]
#[doc(alias = "select_ok")]
pub fn race<I, T, E>(futures: I) -> Race<I::Item, T, E>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>>,
{
    Race {
        cohort: Cohort::new(futures, usize::MAX, Location::caller()),
        winner: None,
        errors: Vec::new(),
        returned: false,
    }
}

/// Future of [`race`].
#[must_use = "nobody runs until this is awaited"]
pub struct Race<F: Future, T, E> {
    cohort: Cohort<F>,
    winner: Option<T>,
    errors: Vec<ChildError<E>>,
    returned: bool,
}

/// Nothing in it is ever pinned but what has a box of its own.
impl<F: Future, T, E> Unpin for Race<F, T, E> {}

impl<F, T, E> Future for Race<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, GroupError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(!this.returned, "a race was polled after it had returned");
        let (winner, errors) = (&mut this.winner, &mut this.errors);
        let polled = this.cohort.poll(cx, |index, output| match output {
            output if winner.is_some() => {
                discard(output);
                Next::GoOn
            }
            Ok(value) => {
                *winner = Some(value);
                Next::Cancel(CauseKind::Satisfied)
            }
            Err(error) => {
                errors.push(failed(index, error));
                Next::GoOn
            }
        });
        let Poll::Ready(halt) = polled else {
            return Poll::Pending;
        };
        // Who has won has done so whatever is cancelled around.
        if let Some(value) = this.winner.take() {
            this.returned = true;
            return Poll::Ready(Ok(value));
        }
        if halt == Halt::CutOutside {
            return Poll::Pending;
        }
        this.returned = true;
        let errors = std::mem::take(&mut this.errors);
        Poll::Ready(Err(GroupError::new("race", None, errors, None)))
    }
}

impl<F: Future, T, E> fmt::Debug for Race<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race")
            .field("left", &self.cohort.len())
            .finish_non_exhaustive()
    }
}
