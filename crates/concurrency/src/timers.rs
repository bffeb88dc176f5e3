//! Moments as something to wait for among other things, as Go's timer channels are.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowline_backend::time::Instant;
use pin_project_lite::pin_project;

use crate::sleep::{Sleep, now, sleep_until};

/// A moment `span` from now, which gives the time that was meant.
///
/// Unlike [`sleep`](crate::sleep) it counts from the call, so it can be made
/// before a loop and be an arm of its selects. No task stands behind it: dropped, it leaves no timer.
///
/// # Panics
///
/// With no backend compiled in.
pub fn after(span: Duration) -> After {
    let deadline = now().saturating_add(span);
    After {
        deadline,
        sleep: sleep_until(deadline),
    }
}

pin_project! {
    /// Future of [`after`].
    #[must_use = "a moment is waited for only when this is awaited"]
    #[derive(Debug)]
    pub struct After {
        deadline: Instant,
        #[pin]
        sleep: Sleep,
    }
}

impl Future for After {
    type Output = Instant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let this = self.project();
        ready!(this.sleep.poll(cx));
        Poll::Ready(*this.deadline)
    }
}

/// Moments `period` apart, the first one `period` from now.
///
/// Who is late gets one tick for all the moments it missed, at once, and the
/// next one when its time comes: ticks do not pile up. A period of zero counts
/// as one nanosecond. No task stands behind it: dropped, it leaves no timer.
///
/// # Panics
///
/// With no backend compiled in.
pub fn tick(period: Duration) -> Tick {
    let period = period.max(Duration::from_nanos(1));
    Tick {
        next: now().saturating_add(period),
        period,
    }
}

/// Moments at regular intervals, from [`tick`].
#[must_use = "ticks come only when they are asked for"]
pub struct Tick {
    next: Instant,
    period: Duration,
}

impl Tick {
    /// Waits for the next tick; the time that was meant for it.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the tick comes when it is asked for again.
    pub fn recv(&mut self) -> TickFuture<'_> {
        TickFuture {
            sleep: sleep_until(self.next),
            tick: self,
        }
    }

    /// Gives the tick that is due, and passes over those that were missed.
    fn advance(&mut self) -> Instant {
        let due = self.next;
        let late = now().saturating_duration_since(due).as_nanos();
        let missed = late / self.period.as_nanos();
        let skipped = self.period.as_nanos().saturating_mul(missed + 1);
        let skipped = Duration::from_nanos(u64::try_from(skipped).unwrap_or(u64::MAX));
        self.next = due.saturating_add(skipped);
        due
    }
}

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tick")
            .field("next", &self.next)
            .field("period", &self.period)
            .finish()
    }
}

pin_project! {
    /// Future of [`Tick::recv`].
    #[must_use = "a tick is waited for only when this is awaited"]
    #[derive(Debug)]
    pub struct TickFuture<'a> {
        tick: &'a mut Tick,
        #[pin]
        sleep: Sleep,
    }
}

impl Future for TickFuture<'_> {
    type Output = Instant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let this = self.project();
        ready!(this.sleep.poll(cx));
        Poll::Ready(this.tick.advance())
    }
}
