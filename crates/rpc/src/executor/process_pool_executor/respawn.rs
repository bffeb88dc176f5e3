//! When the next child may be started after some that died before they served.

use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_concurrency::Backoff;

/// Children in a row that die before they serve, after which calls are refused at once while the pool
/// pauses.
const BROKEN: u32 = 5;
const LONGEST: Duration = Duration::from_secs(30);
/// A child that lives so long is well.
const HEALTH: Duration = Duration::from_secs(60);

/// How long a pool pauses after children that died before they served.
#[derive(Debug)]
pub(super) struct Respawn {
    pauses: Backoff,
    /// Those in a row.
    row: u32,
    /// Those since a child was well.
    failures: usize,
    retry_at: Option<Instant>,
}

impl Respawn {
    /// Pauses of at most `first` to begin with.
    pub(super) fn new(first: Duration) -> Self {
        Self {
            pauses: Backoff::exponential(first).max(LONGEST),
            row: 0,
            failures: 0,
            retry_at: None,
        }
    }

    /// A child died before it served.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.row = self.row.saturating_add(1);
        self.retry_at = Some(now + self.pauses.pause(self.failures));
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
    use bowline_concurrency::Jitter;

    const FIRST: Duration = Duration::from_millis(100);

    #[test]
    fn pauses_double_until_a_child_was_well_for_a_minute() {
        let mut respawn = Respawn::new(FIRST);
        respawn.pauses = respawn.pauses.jitter(Jitter::None);
        let mut now = time::now();
        let pause = |respawn: &mut Respawn, now| {
            respawn.failed(now);
            let until = respawn.until(now).expect("it pauses");
            until.saturating_duration_since(now)
        };
        for (doubled, broken) in [(1, false), (2, false), (4, false), (8, false), (16, true)] {
            assert_eq!(pause(&mut respawn, now), doubled * FIRST);
            assert_eq!(respawn.is_broken(), broken);
        }
        // One that serves ends the pause and the row, and no more than that.
        respawn.served();
        assert_eq!(respawn.until(now), None);
        assert!(!respawn.is_failing() && !respawn.is_broken());
        let since = now;
        now = since + HEALTH - Duration::from_nanos(1);
        respawn.lived(since, now);
        assert_eq!(pause(&mut respawn, now), 32 * FIRST);
        now = since + HEALTH;
        respawn.lived(since, now);
        assert_eq!(pause(&mut respawn, now), FIRST);
        for _ in 0..100 {
            assert!(pause(&mut respawn, now) <= LONGEST);
        }
        assert_eq!(pause(&mut respawn, now), LONGEST);
        assert_eq!(respawn.until(now + LONGEST), None);
    }
}
