//! How long callers that were refused for load had better wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bowline_backend::time::{self, Instant};

use super::Shared;

/// The longest time that is told.
const MOST: Duration = Duration::from_secs(10);
/// The shortest.
const LEAST: Duration = Duration::from_millis(1);
/// An estimate is told for so long.
const FRESH: Duration = Duration::from_millis(100);
/// What ended longer ago says nothing of now.
const STALE: Duration = Duration::from_secs(5);

/// How long it takes until what waits now has begun.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    seen: Mutex<Option<Estimate>>,
}

/// What an executor has to do.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Calls that wait.
    waiting: usize,
    /// Handlers that run at once.
    workers: usize,
    /// Handlers that have ended, ever.
    finished: u64,
    /// How long all calls took together, from their arrival on.
    took: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    made: Instant,
    /// Handlers that had ended by then, which is `made` or before.
    base: (Instant, u64),
    wait: Option<Duration>,
}

impl Estimate {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made) < FRESH
    }

    /// The time it takes to begin what waits: as many handlers end in a second as did of late. Where that is
    /// not known, as if each took as long as one call on average, which is what it takes before many
    /// wait.
    fn of(load: Load, former: Option<Estimate>, now: Instant) -> Self {
        let waiting = load.waiting.max(1) as u128;
        let recent = former
            .map(|former| former.base)
            .filter(|(since, _)| now.saturating_duration_since(*since) < STALE);
        let ended = recent.map(|(since, before)| {
            let span = now.saturating_duration_since(since).as_nanos();
            (span, u128::from(load.finished.saturating_sub(before)))
        });
        let wait = match ended {
            Some((span, ended)) if ended > 0 => Some(span * waiting / ended),
            _ if load.finished == 0 => None,
            _ => {
                let mean = load.took.as_nanos() / u128::from(load.finished);
                Some(mean * waiting / load.workers.max(1) as u128)
            }
        };
        let base = match (recent, ended) {
            // Handlers that take long: one will end.
            (Some(base), Some((_, 0))) => base,
            _ => (now, load.finished),
        };
        let bounded = |nanos| {
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).clamp(LEAST, MOST)
        };
        Self {
            made: now,
            base,
            wait: wait.map(bounded),
        }
    }
}

impl Shared {
    /// When those who are refused now may try again, if that can be told; looked at ten times a second at
    /// most, however many are refused.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let now = time::now();
        let mut seen = self
            .pressure
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(estimate) = seen.filter(|estimate| estimate.is_fresh(now)) {
            return estimate.wait;
        }
        let estimate = Estimate::of(self.load(), *seen, now);
        *seen = Some(estimate);
        estimate.wait
    }

    fn load(&self) -> Load {
        let capacity = self.executor.capacity();
        let offered = self.offers.now();
        let done = offered.iter().map(|served| served.meter.done());
        let (finished, took) = done.fold((0, Duration::ZERO), |(calls, all), (more, took)| {
            (calls + more, all.saturating_add(took))
        });
        Load {
            waiting: capacity.waiting,
            workers: capacity.max_workers,
            finished,
            took,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1) + Duration::from_millis(millis)
    }

    fn load(finished: u64) -> Load {
        Load {
            waiting: 100,
            workers: 4,
            finished,
            took: Duration::from_millis(20) * u32::try_from(finished).unwrap(),
        }
    }

    #[test]
    fn it_is_what_the_calls_that_wait_take_at_the_pace_of_late() {
        let millis = |estimate: Estimate| estimate.wait.map(|wait| wait.as_millis());
        // Nothing has ever ended; then by the mean of all, a hundred of 20 ms on four workers.
        let first = Estimate::of(load(0), None, at(0));
        assert_eq!(millis(first), None);
        let first = Estimate::of(load(50), None, at(0));
        assert_eq!(millis(first), Some(500));
        assert!(first.is_fresh(at(99)) && !first.is_fresh(at(100)));
        // Ten in 100 ms: the others take a second.
        let second = Estimate::of(load(60), Some(first), at(100));
        assert_eq!(millis(second), Some(1000));
        // None in 200 ms, and one in 300.
        let third = Estimate::of(load(60), Some(second), at(300));
        assert_eq!((millis(third), third.base.0), (Some(500), at(100)));
        let fourth = Estimate::of(load(61), Some(third), at(400));
        assert_eq!(millis(fourth), Some(10_000), "at most ten seconds");
        // What was long ago counts no more.
        let late = Estimate::of(load(600), Some(fourth), at(5400));
        assert_eq!(millis(late), Some(500));
        let quick = Estimate::of(load(1_000_000), Some(late), at(5500));
        assert_eq!(millis(quick), Some(1));
    }
}
