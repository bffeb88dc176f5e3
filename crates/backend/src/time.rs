//! The clocks and the sleep of a backend.

mod instant;

pub use instant::Instant;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::Backend;
use crate::runtime::{AnyTimer, Timer, Variant};

/// The time on the monotonic clock of the current backend.
///
/// # Panics
///
/// Where no backend is compiled in, or a simulated world is current but does not turn here.
pub fn now() -> Instant {
    Backend::required().now()
}

/// The time of day: the span since the start of 1970 in UTC. It may step either way; use it for
/// logs, dates and certificates alone.
///
/// # Panics
///
/// As [`now`].
pub fn unix_time() -> Duration {
    Backend::required().unix_time()
}

/// Waits until `deadline` on the monotonic clock. It never fires early; a past deadline is ready
/// at the first poll; [`Instant::NEVER`] arms nothing.
///
/// # Panics
///
/// Where the current backend does not run on this thread.
///
/// # Cancel safety
///
/// *Nothing happened.*
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    sleep_on(Backend::required(), deadline)
}

#[track_caller]
pub(crate) fn sleep_on(backend: Backend, deadline: Instant) -> Sleep {
    backend.running();
    let state = if deadline.is_never() {
        State::Idle { parked: None }
    } else {
        State::Armed {
            timer: new_timer(backend, deadline),
        }
    };
    Sleep {
        state,
        deadline,
        backend,
    }
}

fn new_timer(backend: Backend, deadline: Instant) -> AnyTimer {
    dispatch!(backend, R => R::any_timer(Timer::new(deadline)))
}

pin_project! {
    /// Future of [`sleep_until`]. It stays with the backend that made it and may be dropped on any
    /// thread.
    #[must_use = "futures do nothing unless polled"]
    pub struct Sleep {
        #[pin]
        state: State,
        deadline: Instant,
        backend: Backend,
    }
}

pin_project! {
    /// What waits for the deadline.
    #[project = StateProjection]
    enum State {
        /// Until the first deadline that is not NEVER; no timer keeps the waker yet.
        Idle { parked: Option<Waker> },
        /// A timer, which goes on ticking where the deadline became NEVER again: a year ahead.
        Armed { #[pin] timer: AnyTimer },
    }
}

impl Sleep {
    /// When it fires.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The backend that it waits on.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Changes the deadline, also after it fired: then it is armed again.
    ///
    /// Does not wake the task; the waker of the last poll stays registered.
    ///
    /// # Panics
    ///
    /// Where the first deadline was [`Instant::NEVER`] and the backend does not run on this
    /// thread.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let mut this = self.project();
        *this.deadline = deadline;
        let waker = match this.state.as_mut().project() {
            StateProjection::Armed { timer } => {
                delegate!(timer.project(), ChoiceProjection, timer => timer.reset(deadline));
                return;
            }
            StateProjection::Idle { .. } if deadline.is_never() => return,
            StateProjection::Idle { parked } => parked.take(),
        };
        let timer = new_timer(this.backend.running(), deadline);
        this.state.set(State::Armed { timer });
        let Some(waker) = waker else { return };
        let mut cx = Context::from_waker(&waker);
        if this.state.poll_at(&mut cx, deadline).is_ready() {
            waker.wake();
        }
    }
}

impl State {
    fn poll_at(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        match self.project() {
            StateProjection::Idle { parked } => {
                if !parked
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    *parked = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            StateProjection::Armed { timer } => {
                let timer = timer.project();
                delegate!(timer, ChoiceProjection, timer => timer.poll_at(cx, deadline))
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.state.poll_at(cx, *this.deadline)
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// The clock that all real backends of a process share.
#[cfg(feature = "real")]
pub(crate) mod origin {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant as StdInstant, SystemTime};

    use super::Instant;

    /// One day: instants somewhat before the first use can be written.
    const HEAD_START: u64 = 24 * 60 * 60 * 1_000_000_000;

    /// About a year. What lies further ahead is armed so far and then again.
    const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    fn origin() -> StdInstant {
        static ORIGIN: OnceLock<StdInstant> = OnceLock::new();
        *ORIGIN.get_or_init(StdInstant::now)
    }

    pub(crate) fn from_std(instant: StdInstant) -> Instant {
        let nanos = |span: Duration| span.as_nanos().min(u64::MAX as u128 / 4) as u64;
        let origin = origin();
        match instant.checked_duration_since(origin) {
            Some(after) => Instant::from_nanos(HEAD_START + nanos(after)),
            None => Instant::from_nanos(HEAD_START.saturating_sub(nanos(origin - instant))),
        }
    }

    /// `deadline` on the system's clock, at most about a year from `now`, which is asked for a
    /// deadline that is far from the origin alone: asking costs as much as the rest.
    pub(crate) fn to_std(deadline: Instant, now: impl FnOnce() -> StdInstant) -> StdInstant {
        let origin = origin();
        let head_start = Instant::from_nanos(HEAD_START);
        let after = deadline.saturating_duration_since(head_start);
        if after <= FAR {
            let before = head_start.saturating_duration_since(deadline);
            return (origin + after).checked_sub(before).unwrap_or(origin);
        }
        let now = now();
        now + deadline.saturating_duration_since(from_std(now)).min(FAR)
    }

    pub(crate) fn unix_time() -> Duration {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }
}
