//! Moments as something to wait for among other things, as Go's timer channels are.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowline_backend::task::realm_slot;
use bowline_backend::time::Instant;
use pin_project_lite::pin_project;

use crate::ambient;
use crate::sleep::{Sleep, now, sleep_until};

/// A moment `span` from now, which gives the time that was meant.
///
/// Unlike [`sleep`](crate::sleep) it counts from the call, so it can be made
/// before a loop and be an arm of its selects. No task stands behind it: dropped, it leaves no timer.
///
/// A simulated host has a clock of its own, which cannot be compared with others. Polled first by
/// another clock than that of the call, a moment made outside of a simulated world for one, it
/// counts from that poll.
///
/// # Panics
///
/// With no backend compiled in.
pub fn after(span: Duration) -> After {
    After {
        span,
        moment: Moment::from_now(span),
        sleep: None,
    }
}

pin_project! {
    /// Future of [`after`].
    #[must_use = "a moment is waited for only when this is awaited"]
    #[derive(Debug)]
    pub struct After {
        span: Duration,
        moment: Moment,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Future for After {
    type Output = Instant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.moment.stand_here(*this.span);
            this.sleep.set(Some(sleep_until(this.moment.at)));
        }
        let sleep = this.sleep.as_pin_mut();
        ready!(sleep.map_or(Poll::Pending, |sleep| sleep.poll(cx)));
        Poll::Ready(this.moment.at)
    }
}

/// Moments `period` apart, the first one `period` from now.
///
/// Who is late gets one tick for all the moments it missed, at once, and the
/// next one when its time comes: ticks do not pile up. A period of zero counts
/// as one nanosecond. No task stands behind it: dropped, it leaves no timer.
///
/// Asked for where another clock counts than before, as [`after`] says of it, the next tick comes
/// `period` from there.
///
/// # Panics
///
/// With no backend compiled in.
pub fn tick(period: Duration) -> Tick {
    let period = period.max(Duration::from_nanos(1));
    Tick {
        next: Moment::from_now(period),
        period,
    }
}

/// Moments at regular intervals, from [`tick`].
#[must_use = "ticks come only when they are asked for"]
pub struct Tick {
    next: Moment,
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
            tick: self,
            sleep: None,
        }
    }

    /// Gives the tick that is due, and passes over those that were missed.
    fn advance(&mut self) -> Instant {
        let due = self.next.at;
        let late = now().saturating_duration_since(due).as_nanos();
        let missed = late / self.period.as_nanos();
        let skipped = self.period.as_nanos().saturating_mul(missed + 1);
        let skipped = Duration::from_nanos(u64::try_from(skipped).unwrap_or(u64::MAX));
        self.next.at = due.saturating_add(skipped);
        due
    }
}

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tick")
            .field("next", &self.next.at)
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
        sleep: Option<Sleep>,
    }
}

impl Future for TickFuture<'_> {
    type Output = Instant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.tick.next.stand_here(this.tick.period);
            this.sleep.set(Some(sleep_until(this.tick.next.at)));
        }
        let sleep = this.sleep.as_pin_mut();
        ready!(sleep.map_or(Poll::Pending, |sleep| sleep.poll(cx)));
        Poll::Ready(this.tick.advance())
    }
}

/// A point in time, and whose.
#[derive(Debug)]
struct Moment {
    /// Of no use before `clock` is known.
    at: Instant,
    /// None was to be read where it was made.
    clock: Option<Clock>,
}

impl Moment {
    fn from_now(span: Duration) -> Moment {
        let clock = Clock::here();
        let at = match clock {
            Some(_) => now().saturating_add(span),
            None => Instant::NEVER,
        };
        Moment { at, clock }
    }

    /// Counts anew from here, if another clock counts here.
    fn stand_here(&mut self, span: Duration) {
        if self.clock.is_none() || self.clock != Clock::here() {
            *self = Moment::from_now(span);
        }
    }
}

/// Where times can be compared.
#[derive(Debug)]
enum Clock {
    /// Real backends count from one origin.
    Real,
    Host(Arc<HostClock>),
}

/// One in each host that a simulator runs.
#[derive(Debug)]
struct HostClock;

impl Clock {
    /// `None` outside of a world, if a simulator is all there is.
    fn here() -> Option<Clock> {
        let backend = ambient::backend();
        if !backend.capabilities().virtual_time {
            return Some(Clock::Real);
        }
        backend
            .is_running()
            .then(|| Clock::Host(realm_slot(|| HostClock)))
    }
}

impl PartialEq for Clock {
    fn eq(&self, other: &Clock) -> bool {
        match (self, other) {
            (Clock::Real, Clock::Real) => true,
            (Clock::Host(one), Clock::Host(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}
