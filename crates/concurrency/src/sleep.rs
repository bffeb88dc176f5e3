use crate::ambient;
use crate::node::Waiting;
use crate::owner::Limit;
use bowline_backend::time::Instant;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Waits for `span`, counted from the first poll. Zero is a [`checkpoint`](crate::checkpoint).
///
/// # Panics
///
/// When polled with no backend compiled in, or where the backend does not run.
///
/// # Cancel safety
///
/// Nothing happened.
pub fn sleep(span: Duration) -> Sleep {
    Sleep::new(Limit::After(span))
}

/// Waits until `deadline`; one that has passed is a [`checkpoint`](crate::checkpoint).
///
/// # Panics
///
/// When polled with no backend compiled in, or where the backend does not run.
///
/// # Cancel safety
///
/// Nothing happened.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(Limit::At(deadline))
}

/// Waits until it is dropped or cancelled.
pub fn sleep_forever() -> SleepForever {
    SleepForever(())
}

/// The time, by the clock of the backend this code runs on.
///
/// # Panics
///
/// With no backend compiled in.
pub fn now() -> Instant {
    ambient::backend().now()
}

pin_project! {
    /// Future of [`sleep`] and [`sleep_until`].
    #[must_use = "a sleep waits for nothing until it is awaited"]
    pub struct Sleep {
        limit: Limit,
        stage: Stage,
        #[pin]
        timer: Option<bowline_backend::time::Sleep>,
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// The deadline had passed at the first poll: only yields.
    Past,
    Until(Instant),
    /// The same, and a cancel came first: it goes on only if that is taken back.
    Frozen(Instant),
}

impl Sleep {
    fn new(limit: Limit) -> Sleep {
        Sleep {
            limit,
            stage: Stage::New,
            timer: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if ambient::is_cancelled() {
            let Stage::Until(deadline) = *this.stage else {
                return Poll::Pending;
            };
            // Frozen, unless the time had come before the cancel.
            let since = ambient::with(|node| node.and_then(|node| node.frozen_since()));
            if since.is_some_and(|since| since < deadline) {
                // A shield may hide this cancel later on, and leave one that came behind the time.
                *this.stage = Stage::Frozen(deadline);
                return Poll::Pending;
            }
            return this
                .timer
                .as_pin_mut()
                .map_or(Poll::Pending, |t| t.poll(cx));
        }
        match *this.stage {
            Stage::Past => return Poll::Ready(()),
            Stage::Until(_) => {}
            Stage::Frozen(deadline) => *this.stage = Stage::Until(deadline),
            Stage::New => {
                let backend = ambient::backend();
                let now = backend.now();
                let deadline = match *this.limit {
                    Limit::Never => Instant::NEVER,
                    Limit::At(deadline) | Limit::Ahead(deadline) => deadline,
                    Limit::After(span) => now.saturating_add(span),
                };
                if deadline <= now {
                    *this.stage = Stage::Past;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                *this.stage = Stage::Until(deadline);
                if !deadline.is_never() {
                    this.timer.set(Some(backend.sleep_until(deadline)));
                }
            }
        }
        let slept = this
            .timer
            .as_pin_mut()
            .map_or(Poll::Pending, |t| t.poll(cx));
        if slept.is_pending() {
            ambient::wait_for(Waiting::Sleep);
        }
        slept
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("limit", &self.limit)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// Future of [`sleep_forever`]; never ready.
#[derive(Debug)]
#[must_use = "this waits for nothing until it is awaited"]
pub struct SleepForever(());

impl Future for SleepForever {
    type Output = std::convert::Infallible;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        ambient::wait_for(Waiting::SleepForever);
        Poll::Pending
    }
}
