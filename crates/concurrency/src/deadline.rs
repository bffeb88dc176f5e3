use crate::ambient;
use crate::node::NodeRef;
use crate::outcome::Outcome;
use crate::owner::Limit;
use crate::scoped::Scoped;
use crate::thread;
use bowline_backend::time::Instant;
use pin_project_lite::pin_project;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs `body` for at most `span`, counted from the first poll.
///
/// The body is polled at least once; if it completes in the poll that overruns the deadline, its
/// value is returned. `Duration::MAX`, or anything that cannot be added to the clock, means
/// never and arms no timer. The body may be anything that becomes a future, as a remote call does.
///
/// What the deadline cuts is cut for good: a scope, group, timeout or combinator of this crate that
/// was passed as `&mut` never completes afterwards. `Ok` may come after the deadline, if the body
/// had to be waited for, as a [`shield`](crate::shield) or the children of a group.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, sleep_forever, timeout};
/// use std::time::Duration;
///
/// Root::new().backend(Backend::Smol).block_on(async {
///     let quick = timeout(Duration::from_secs(5), async { 7 }).await;
///     assert_eq!(quick.unwrap(), 7);
///     let stuck = timeout(Duration::from_millis(1), sleep_forever()).await;
///     assert!(stuck.is_err());
/// });
/// # }
/// ```
#[doc(alias = "fail_after")]
#[track_caller]
pub fn timeout<F: IntoFuture>(span: Duration, body: F) -> Timeout<F::IntoFuture> {
    Timeout {
        scoped: Scoped::new(
            None,
            Limit::After(span),
            Location::caller(),
            Some(body.into_future()),
        ),
    }
}

/// Runs `body` until `deadline` at the latest; one that has passed lets it be polled once.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done.
#[doc(alias = "fail_at")]
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, body: F) -> Timeout<F::IntoFuture> {
    Timeout {
        scoped: Scoped::new(
            None,
            Limit::At(deadline),
            Location::caller(),
            Some(body.into_future()),
        ),
    }
}

/// As [`timeout`], for work whose end by deadline is no error.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done.
#[track_caller]
pub fn move_on_after<F: IntoFuture>(span: Duration, body: F) -> MoveOn<F::IntoFuture> {
    MoveOn {
        scoped: Scoped::new(
            None,
            Limit::After(span),
            Location::caller(),
            Some(body.into_future()),
        ),
    }
}

/// As [`timeout_at`], for work whose end by deadline is no error.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done.
#[track_caller]
pub fn move_on_at<F: IntoFuture>(deadline: Instant, body: F) -> MoveOn<F::IntoFuture> {
    MoveOn {
        scoped: Scoped::new(
            None,
            Limit::At(deadline),
            Location::caller(),
            Some(body.into_future()),
        ),
    }
}

/// A deadline passed before the body was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed; set at {at}")]
pub struct Elapsed {
    deadline: Instant,
    at: &'static Location<'static>,
}

impl Elapsed {
    pub(crate) fn new(deadline: Instant, at: &'static Location<'static>) -> Elapsed {
        Elapsed { deadline, at }
    }

    /// The deadline that passed.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The line that set it.
    pub fn at(&self) -> &'static Location<'static> {
        self.at
    }
}

pin_project! {
    /// Future of [`timeout`] and [`timeout_at`].
    #[must_use = "a timeout runs nothing until it is awaited"]
    pub struct Timeout<F> {
        #[pin]
        scoped: Scoped<F>,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut scoped = self.project().scoped;
        match scoped.as_mut().poll(cx, |_| None) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Outcome::Done(value)) => Poll::Ready(Ok(value)),
            Poll::Ready(Outcome::Cancelled(_)) => Poll::Ready(Err(scoped.elapsed())),
        }
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").finish_non_exhaustive()
    }
}

pin_project! {
    /// Future of [`move_on_after`] and [`move_on_at`].
    #[must_use = "a scope runs nothing until it is awaited"]
    pub struct MoveOn<F> {
        #[pin]
        scoped: Scoped<F>,
    }
}

impl<F: Future> Future for MoveOn<F> {
    type Output = Outcome<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().scoped.poll(cx, |_| None)
    }
}

impl<F> fmt::Debug for MoveOn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MoveOn").finish_non_exhaustive()
    }
}

/// When the code that asks will be cancelled at the latest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// No scope around it has a deadline.
    Never,
    /// The earliest of all scopes around it.
    At(Instant),
    /// It is cancelled already.
    Cancelled,
}

impl From<Instant> for Deadline {
    /// [`Instant::NEVER`] is [`Deadline::Never`].
    fn from(instant: Instant) -> Deadline {
        match instant.is_never() {
            true => Deadline::Never,
            false => Deadline::At(instant),
        }
    }
}

/// The earliest deadline of all scopes around the caller, up to the first shield. During the grace
/// of a cancelled scope its end counts.
pub fn current_effective_deadline() -> Deadline {
    let of = |node: &NodeRef| match node.is_cancelled() {
        true => Deadline::Cancelled,
        false => Deadline::from(node.effective_deadline()),
    };
    let here = ambient::with(|node| node.map(of));
    here.or_else(|| thread::place().as_ref().map(of))
        .unwrap_or(Deadline::Never)
}
