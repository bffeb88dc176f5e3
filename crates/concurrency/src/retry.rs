mod backoff;

pub use backoff::{Backoff, Jitter};

use crate::deadline::{Deadline, Elapsed, current_effective_deadline, timeout_at};
use crate::invalid_value::InvalidValue;
use crate::sleep::{now, sleep};
use bowline_backend::time::Instant;
use std::fmt;
use std::time::Duration;

/// Tries something several times, with pauses in between.
///
/// What is tried may hang: [`per_attempt`](Retry::per_attempt) bounds each attempt, and one that
/// took too long counts as failed. A pause that would end behind a deadline, the one of
/// [`overall`](Retry::overall) or of the code around it, is not begun: the last error is worth more
/// than a cancel.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Backoff, Retry, Root};
/// use std::time::Duration;
///
/// let answer = Root::new().backend(Backend::Sim).block_on(
///     Retry::attempts(5)
///         .backoff(Backoff::exponential(Duration::from_millis(100)).max(Duration::from_secs(2)))
///         .per_attempt(Duration::from_secs(1))
///         .overall(Duration::from_secs(30))
///         .when(|error: &&str| *error != "forbidden")
///         .run(|attempt| async move {
///             if attempt < 3 { Err("busy") } else { Ok(attempt) }
///         }),
/// );
/// assert_eq!(answer.unwrap(), 3);
/// # }
/// ```
#[must_use = "a retry tries nothing until `run` is awaited"]
pub struct Retry<E> {
    attempts: usize,
    backoff: Backoff,
    per_attempt: Duration,
    overall: Duration,
    when: Option<Worth<E>>,
    after: Option<AfterError<E>>,
}

/// Whether an error is worth another attempt.
type Worth<E> = Box<dyn FnMut(&E) -> bool + Send>;

/// The pause that an error asks for.
type AfterError<E> = Box<dyn FnMut(&E) -> Option<Duration> + Send>;

impl<E> Retry<E> {
    /// At most so many attempts, the first included. Zero is refused by [`run`](Retry::run).
    pub fn attempts(attempts: usize) -> Retry<E> {
        Retry {
            attempts,
            backoff: Backoff::default(),
            per_attempt: Duration::MAX,
            overall: Duration::MAX,
            when: None,
            after: None,
        }
    }

    /// How long to pause in between; see [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Retry<E> {
        self.backoff = backoff;
        self
    }

    /// How long an attempt may take; it is dropped then and counts as failed. No bound unless set.
    pub fn per_attempt(mut self, span: Duration) -> Retry<E> {
        self.per_attempt = span;
        self
    }

    /// How long all of it may take, counted from the first poll. No bound unless set.
    pub fn overall(mut self, span: Duration) -> Retry<E> {
        self.overall = span;
        self
    }

    /// Which errors are worth another attempt; all unless set. An attempt that took too long
    /// always is.
    pub fn when(mut self, worth: impl FnMut(&E) -> bool + Send + 'static) -> Retry<E> {
        self.when = Some(Box::new(worth));
        self
    }

    /// The pause that an error itself asks for, in place of that of the backoff.
    pub fn after(mut self, pause: impl FnMut(&E) -> Option<Duration> + Send + 'static) -> Retry<E> {
        self.after = Some(Box::new(pause));
        self
    }

    /// Calls `f` with the number of the attempt, from one, until it returns well.
    ///
    /// # Errors
    ///
    /// [`RetryError`] with the error of the last attempt: there are no more, it was not worth
    /// another one, or the time does not suffice. Also for options that make no sense, and `f` is
    /// not called then.
    ///
    /// # Panics
    ///
    /// When polled with no backend compiled in, or where the backend does not run.
    ///
    /// # Cancel safety
    ///
    /// The attempt that runs is dropped; what it had done stays done. There is no other.
    pub async fn run<T, F, Fut>(mut self, mut f: F) -> Result<T, RetryError<E>>
    where
        F: FnMut(usize) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.check()?;
        let overall = later(self.overall);
        let mut attempt = 1;
        loop {
            let deadline = later(self.per_attempt).min(overall);
            let kind = match timeout_at(deadline, f(attempt)).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => RetryErrorKind::Failed(error),
                Err(elapsed) => RetryErrorKind::Elapsed(elapsed),
            };
            match self.pause(attempt, &kind, overall) {
                Some(pause) => sleep(pause).await,
                None => {
                    return Err(RetryError {
                        attempts: attempt,
                        last: kind,
                    });
                }
            }
            attempt += 1;
        }
    }

    fn check(&self) -> Result<(), RetryError<E>> {
        let valid = match self.attempts {
            0 => Err(InvalidValue::new(
                "the number of attempts",
                0,
                1,
                usize::MAX,
            )),
            _ => self.backoff.check(),
        };
        valid.map_err(|invalid| RetryError {
            attempts: 0,
            last: RetryErrorKind::Invalid(invalid),
        })
    }

    /// The pause before the next attempt, if there is to be one.
    fn pause(
        &mut self,
        failed: usize,
        kind: &RetryErrorKind<E>,
        overall: Instant,
    ) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let mut pause = None;
        if let RetryErrorKind::Failed(error) = kind {
            if self.when.as_mut().is_some_and(|worth| !worth(error)) {
                return None;
            }
            pause = self.after.as_mut().and_then(|after| after(error));
        }
        let pause = pause.unwrap_or_else(|| self.backoff.pause(failed));
        let limit = match current_effective_deadline() {
            Deadline::At(deadline) => deadline.min(overall),
            _ => overall,
        };
        (limit.is_never() || later(pause) < limit).then_some(pause)
    }
}

/// The time `span` from now.
fn later(span: Duration) -> Instant {
    match span {
        Duration::MAX => Instant::NEVER,
        span => now().saturating_add(span),
    }
}

impl<E> fmt::Debug for Retry<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("backoff", &self.backoff)
            .field("per_attempt", &self.per_attempt)
            .field("overall", &self.overall)
            .finish_non_exhaustive()
    }
}

/// Why a [`Retry`] gave up.
#[derive(Debug, thiserror::Error)]
#[error("after {attempts} attempts: {last}")]
pub struct RetryError<E> {
    attempts: usize,
    last: RetryErrorKind<E>,
}

/// What became of the last attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetryErrorKind<E> {
    /// It returned this error.
    #[error("{0}")]
    Failed(E),
    /// It took too long.
    #[error("{0}")]
    Elapsed(Elapsed),
    /// There was none: an option made no sense.
    #[error("{0}")]
    Invalid(InvalidValue),
}

impl<E> RetryError<E> {
    /// How many attempts there were.
    pub fn attempts(&self) -> usize {
        self.attempts
    }

    /// What became of the last one.
    pub fn last(&self) -> &RetryErrorKind<E> {
        &self.last
    }

    /// The same, by value.
    pub fn into_last(self) -> RetryErrorKind<E> {
        self.last
    }
}
