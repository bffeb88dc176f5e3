//! When the next child may be started after some that died before they answered a call.

use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_concurrency::Backoff;

/// Children in a row that die before they answer a call, after which calls are refused at once while the pool
/// pauses.
const BROKEN: u32 = 5;
const LONGEST: Duration = Duration::from_secs(30);
/// A child that lives so long is well, and so is a pool whose children serve for so long.
const HEALTH: Duration = Duration::from_secs(60);

/// How long a pool pauses after children that died before they answered a call.
///
/// Those that did not even serve say that starts fail: their pauses grow until the pool was well for a while. One that
/// served may have died of its call: pauses after those grow as long as no child answers one.
#[derive(Debug)]
pub(super) struct Respawn {
    pauses: Backoff,
    /// Those in a row.
    row: u32,
    /// When the last of them died.
    died_at: Option<Instant>,
    /// Starts that failed since the pool was well.
    failures: usize,
    /// When a child answered first since the last of those.
    answers_since: Option<Instant>,
    retry_at: Option<Instant>,
}

impl Respawn {
    /// Pauses of at most `first` to begin with.
    pub(super) fn new(first: Duration) -> Self {
        Self {
            pauses: Backoff::exponential(first).max(LONGEST),
            row: 0,
            died_at: None,
            failures: 0,
            answers_since: None,
            retry_at: None,
        }
    }

    /// A child that was started at `began` died before it served.
    pub(super) fn failed(&mut self, began: Instant, now: Instant) {
        if self.is_known(began) {
            return;
        }
        let answers = self.answers_since.take();
        if answers.is_some_and(|since| now.saturating_duration_since(since) >= HEALTH) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.pause(now, self.failures);
    }

    /// A child that was started at `began` served, and died before it answered a call.
    pub(super) fn died(&mut self, began: Instant, now: Instant) {
        let lived = now.saturating_duration_since(began);
        if lived < HEALTH && !self.is_known(began) {
            self.pause(now, 0);
        }
    }

    /// Whether a child that was started at `began` was one of several, of which another has died since: they are
    /// one attempt.
    fn is_known(&self, began: Instant) -> bool {
        self.died_at.is_some_and(|died| began < died)
    }

    /// As after so many failures, or as many as are in the row.
    fn pause(&mut self, now: Instant, failures: usize) {
        self.row = self.row.saturating_add(1);
        self.died_at = Some(now);
        let failures = failures.max(self.row as usize);
        self.retry_at = Some(now + self.pauses.pause(failures));
    }

    /// A child has answered its first call; whether a pause may be over because of that.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.row = 0;
        self.answers_since.get_or_insert(now);
        self.retry_at.take().is_some()
    }

    /// No child is started before then.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.retry_at.filter(|until| *until > now)
    }

    /// Whether the last child died before it answered a call.
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

    /// Pauses of exactly what they are on average twice.
    fn respawn() -> Respawn {
        let mut respawn = Respawn::new(FIRST);
        respawn.pauses = respawn.pauses.jitter(Jitter::None);
        respawn
    }

    /// How long it pauses at `now`.
    fn pause(respawn: &Respawn, now: Instant) -> Duration {
        let until = respawn.until(now).expect("it pauses");
        until.saturating_duration_since(now)
    }

    // EX11
    #[test]
    fn pauses_double_until_a_pool_was_well_for_a_minute() {
        let mut respawn = respawn();
        let mut now = time::now();
        let fails = |respawn: &mut Respawn, now| {
            respawn.failed(now, now);
            pause(respawn, now)
        };
        for (doubled, broken) in [(1, false), (2, false), (4, false), (8, false), (16, true)] {
            assert_eq!(fails(&mut respawn, now), doubled * FIRST);
            assert_eq!(respawn.is_broken(), broken);
        }
        // One that answers ends the pause and the row, and no more than that.
        assert!(respawn.answered(now));
        assert!(!respawn.answered(now));
        assert_eq!(respawn.until(now), None);
        assert!(!respawn.is_failing() && !respawn.is_broken());
        now = now + HEALTH - Duration::from_nanos(1);
        assert_eq!(fails(&mut respawn, now), 32 * FIRST);
        // Time alone is no health, nor is what was before the last failure.
        now += HEALTH;
        assert_eq!(fails(&mut respawn, now), 64 * FIRST);
        respawn.answered(now);
        now += HEALTH / 2;
        respawn.answered(now);
        now += HEALTH / 2;
        assert_eq!(fails(&mut respawn, now), FIRST);
        for _ in 0..100 {
            assert!(fails(&mut respawn, now) <= LONGEST);
        }
        assert_eq!(fails(&mut respawn, now), LONGEST);
        assert_eq!(respawn.until(now + LONGEST), None);
    }

    // EX11
    #[test]
    fn children_that_die_of_their_first_call_count_until_one_answers() {
        let mut respawn = respawn();
        let mut now = time::now();
        let dies = |respawn: &mut Respawn, now| {
            respawn.died(now, now);
            pause(respawn, now)
        };
        for (doubled, broken) in [(1, false), (2, false), (4, false), (8, false), (16, true)] {
            assert_eq!(dies(&mut respawn, now), doubled * FIRST);
            assert_eq!(respawn.is_broken(), broken);
        }
        // It was the calls.
        respawn.answered(now);
        assert_eq!(dies(&mut respawn, now), FIRST);
        // One that lived for long was well.
        let began = now;
        now += HEALTH;
        respawn.died(began, now);
        assert_eq!(respawn.until(now), None);
        // Nor are starts what failed.
        respawn.answered(now);
        for _ in 0..3 {
            respawn.failed(now, now);
        }
        respawn.answered(now);
        assert_eq!(dies(&mut respawn, now), FIRST);
        respawn.failed(now, now);
        assert_eq!(pause(&respawn, now), 8 * FIRST);
    }

    // EX11
    #[test]
    fn children_that_were_started_together_die_once() {
        let mut respawn = respawn();
        let began = time::now();
        let died = began + Duration::from_millis(1);
        for _ in 0..10 {
            respawn.failed(began, died);
            respawn.died(began, died);
        }
        assert_eq!(pause(&respawn, died), FIRST);
        assert!(respawn.is_failing() && !respawn.is_broken());
        // The next was started because of that.
        respawn.failed(died, died);
        assert_eq!(pause(&respawn, died), 2 * FIRST);
    }
}
