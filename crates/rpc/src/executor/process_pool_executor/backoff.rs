//! When the next child may be started after some that died before they served.

use std::time::Duration;

use bowline_backend::time::Instant;

/// Children in a row that die before they serve, after which calls are refused at once while the pool
/// pauses.
const BROKEN: u32 = 5;
const LONGEST: Duration = Duration::from_secs(30);
/// A child that lives so long is well.
const HEALTH: Duration = Duration::from_secs(60);

/// How long a pool pauses after children that died before they served.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Those in a row.
    row: u32,
    /// Those since a child was well.
    failures: u32,
    retry_at: Option<Instant>,
}

impl Backoff {
    /// A child died before it served. The pause is at most `first`, or twice, four times that and so on;
    /// `draw` says how much of the longest it is.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        first: Duration,
        draw: impl FnOnce(Duration) -> Duration,
    ) {
        let doubled = 1_u32 << self.failures.min(16);
        let longest = first.saturating_mul(doubled).min(LONGEST);
        self.retry_at = Some(now + draw(longest));
        self.failures = self.failures.saturating_add(1);
        self.row = self.row.saturating_add(1);
    }

    /// A child serves; whether it is well has to be seen.
    pub(super) fn served(&mut self) {
        (self.row, self.retry_at) = (0, None);
    }

    /// A child has served since then.
    pub(super) fn lived(&mut self, since: Instant, now: Instant) {
        if now.saturating_duration_since(since) >= HEALTH {
            self.failures = 0;
        }
    }

    /// No child is started before then.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.retry_at.filter(|until| *until > now)
    }

    /// Whether the last child died before it served.
    pub(super) fn is_failing(&self) -> bool {
        self.row > 0
    }

    /// Whether calls are refused while the pool pauses.
    pub(super) fn is_broken(&self) -> bool {
        self.row >= BROKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bowline_backend::time;

    const FIRST: Duration = Duration::from_millis(100);

    #[test]
    fn pauses_double_until_a_child_was_well_for_a_minute() {
        let mut backoff = Backoff::default();
        let mut now = time::now();
        let pause = |backoff: &mut Backoff, now| {
            backoff.failed(now, FIRST, |longest| longest);
            let until = backoff.until(now).expect("it pauses");
            until.saturating_duration_since(now)
        };
        for (doubled, broken) in [(1, false), (2, false), (4, false), (8, false), (16, true)] {
            assert_eq!(pause(&mut backoff, now), doubled * FIRST);
            assert_eq!(backoff.is_broken(), broken);
        }
        // One that serves ends the pause and the row, and no more than that.
        backoff.served();
        assert_eq!(backoff.until(now), None);
        assert!(!backoff.is_failing() && !backoff.is_broken());
        let since = now;
        now = since + HEALTH - Duration::from_nanos(1);
        backoff.lived(since, now);
        assert_eq!(pause(&mut backoff, now), 32 * FIRST);
        now = since + HEALTH;
        backoff.lived(since, now);
        assert_eq!(pause(&mut backoff, now), FIRST);
        for _ in 0..100 {
            assert!(pause(&mut backoff, now) <= LONGEST);
        }
        assert_eq!(pause(&mut backoff, now), LONGEST);
        assert_eq!(backoff.until(now + LONGEST), None);
    }
}
