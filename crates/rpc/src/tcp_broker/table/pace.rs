//! How long the calls of a peer take, by those that ran and those that failed.

use std::time::Duration;

use bowline_backend::time::Instant;

/// Calls that took less count as so long, in nanoseconds.
pub(super) const SHORTEST: u64 = 1000;
/// What a failure adds at least, and what all of them together add at most.
const LEAST: u64 = 1_000_000;
const MOST: u64 = 60_000_000_000;
/// A connection that is lost with calls costs as much as a peer that takes so much longer.
pub(super) const LOST: u64 = 1_000_000_000;
/// What was heard counts half after that time: a peer that was slow once, or refused, is asked again.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// What is known of the time that calls of one peer take.
///
/// Only calls that ran tell how long calls take: one that is refused ends at once, and one that nobody answers
/// ends when its caller gives up. Those that fail so count as a penalty instead, which doubles with every call
/// that was made in spite of it and failed too, and halves with every one that ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The moving average of calls that ran, in nanoseconds; 0 if there was none.
    average: u64,
    heard: Instant,
    /// What is added for those that failed.
    penalty: u64,
    penalised: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            average: 0,
            heard: Instant::from_nanos(0),
            penalty: 0,
            penalised: Instant::from_nanos(0),
        }
    }
}

impl Pace {
    /// How long calls take that run, if one did.
    pub(super) fn average(&self, now: Instant) -> Option<u64> {
        let age = now.saturating_duration_since(self.heard);
        (self.average > 0).then(|| halved(self.average, age).max(SHORTEST))
    }

    /// How long a call takes that is made now, where peers of which nothing is known take `usual`.
    pub(super) fn expected(&self, usual: u64, now: Instant) -> u64 {
        let average = self.average(now).unwrap_or(usual);
        average.saturating_add(self.penalty(now))
    }

    /// A call ran for `took`.
    pub(super) fn ran(&mut self, took: u64, now: Instant) {
        let took = took.max(SHORTEST);
        let age = now.saturating_duration_since(self.heard);
        // An eighth is new, and more where the last one was long ago.
        let kept = match self.average {
            0 => 0,
            _ => halved(1024, age).min(896),
        };
        let average = u128::from(self.average) * u128::from(kept);
        let average = average + u128::from(took) * u128::from(1024 - kept);
        self.average = u64::try_from(average / 1024).unwrap_or(u64::MAX);
        self.heard = now;
        self.penalty = self.penalty(now) / 2;
        self.penalised = now;
    }

    /// A call that began at `began` was as good as one that takes so much longer.
    pub(super) fn failed(&mut self, began: Instant, longer: u64, now: Instant) {
        let held = self.penalty(now);
        // Those that were under way together fail together.
        let again = match began >= self.penalised {
            true => held.saturating_mul(2),
            false => held,
        };
        self.penalty = longer.max(LEAST).max(again).min(MOST);
        self.penalised = now;
    }

    fn penalty(&self, now: Instant) -> u64 {
        halved(self.penalty, now.saturating_duration_since(self.penalised))
    }
}

/// What is left of `amount` after `age`, by straight lines between the half-lives.
fn halved(amount: u64, age: Duration) -> u64 {
    let (age, half) = (age.as_nanos(), HALF_LIFE.as_nanos());
    let lives = u32::try_from(age / half).unwrap_or(u32::MAX);
    let whole = amount.checked_shr(lives).unwrap_or(0);
    let part = u128::from(whole / 2) * (age % half) / half;
    whole - u64::try_from(part).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1) + Duration::from_millis(millis)
    }

    #[test]
    fn half_is_left_after_every_half_life() {
        let left = [0, 5, 10, 15, 20, 30].map(|s| halved(1024, Duration::from_secs(s)));
        assert_eq!(left, [1024, 768, 512, 384, 256, 128]);
        assert_eq!(halved(u64::MAX, Duration::MAX), 0);
    }

    #[test]
    fn calls_that_run_tell_how_long_they_take() {
        let mut pace = Pace::default();
        assert_eq!((pace.average(at(0)), pace.expected(7, at(0))), (None, 7));
        pace.ran(80 * MS, at(0));
        assert_eq!(pace.average(at(0)), Some(80 * MS));
        pace.ran(160 * MS, at(0));
        assert_eq!(pace.average(at(0)), Some(90 * MS));
        // What is old counts less beside what is new.
        pace.ran(10 * MS, at(10_000));
        assert_eq!(pace.average(at(10_000)), Some(50 * MS));
        pace.ran(0, at(3_600_000));
        assert_eq!(pace.average(at(3_600_000)), Some(SHORTEST));
    }

    #[test]
    fn failures_add_up_until_calls_run_or_time_passes() {
        let mut pace = Pace::default();
        pace.ran(20 * MS, at(0));
        let expected = |pace: &Pace, now| pace.expected(0, now) / MS;
        pace.failed(at(0), 20 * MS, at(0));
        assert_eq!(expected(&pace, at(0)), 40);
        // One that was made in spite of it, and one that was under way by then.
        pace.failed(at(0), 20 * MS, at(0));
        assert_eq!(expected(&pace, at(0)), 60);
        pace.failed(Instant::from_nanos(0), 20 * MS, at(0));
        assert_eq!(expected(&pace, at(0)), 60);
        pace.ran(20 * MS, at(0));
        assert_eq!(expected(&pace, at(0)), 40);
        assert_eq!(expected(&pace, at(10_000)), 20);
        pace.failed(at(10_000), u64::MAX, at(10_000));
        assert_eq!(expected(&pace, at(10_000)), 60_000 + 10);
    }
}
