use std::time::Duration;

use bowline_backend::time::Instant;

/// What the peer lets through per second; less than it has to, as its clock is another.
const PER_SECOND: u64 = 900;
/// The peer is not asked more often: it counts PINGs too.
const SHORTEST: Duration = Duration::from_millis(200);
/// How the PING begins that asks whether the peer has seen what was sent.
const ASKS: [u8; 4] = *b"room";

/// How many entries of ADVERTISE and WITHDRAW the peer lets through now, at least.
///
/// It counts them when they come, and what was sent at different times may come at once. So its rate
/// counts here only from when it has answered for all that was sent: it has seen it by then, and what is
/// sent after that cannot come before.
// Invariants
// P1 The peer's bucket holds at least `left` when what is sent now arrives, and since `seen_at`, if that
//    is known, at least what it lets through meanwhile on top.
// P2 `round` grows with what was taken, so that an answer to an older question says nothing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    burst: u64,
    left: u64,
    seen_at: Option<Instant>,
    asked: bool,
    round: u32,
}

impl Pace {
    /// That of a peer that lets `burst` through at once, and has seen none.
    pub(super) fn new(burst: u32) -> Self {
        let burst = burst.into();
        Self {
            burst,
            left: burst,
            ..Self::default()
        }
    }

    /// Most entries of one frame: all that is let through at once, or a part that does not wait for long.
    pub(super) fn most_of_frame(&self) -> usize {
        usize::try_from(self.burst)
            .unwrap_or(usize::MAX)
            .clamp(1, 256)
    }

    /// Takes `entries`, or none and says no.
    pub(super) fn take(&mut self, now: Instant, entries: u32) -> bool {
        self.pass(now, entries);
        let Some(left) = self.left.checked_sub(entries.into()) else {
            return false;
        };
        self.left = left;
        self.seen_at = None;
        self.round = self.round.wrapping_add(1);
        true
    }

    /// Counts what the peer lets through by `now`, if `entries` were to wait until then.
    pub(super) fn pass(&mut self, now: Instant, entries: u32) {
        if let Some(seen_at) = self.seen_at
            && self.due(entries).is_some_and(|due| due <= now)
        {
            let passed = now.saturating_duration_since(seen_at).as_nanos();
            let more = passed.saturating_mul(PER_SECOND.into()) / 1_000_000_000;
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(more).min(self.burst);
            self.seen_at = Some(now);
        }
    }

    /// When `entries` will be let through, if they have to wait and it is known.
    pub(super) fn due(&self, entries: u32) -> Option<Instant> {
        let lacking = u64::from(entries).checked_sub(self.left)?;
        if lacking == 0 {
            return None;
        }
        let nanos = lacking.saturating_mul(1_000_000_000).div_ceil(PER_SECOND);
        Some(
            self.seen_at?
                .saturating_add(Duration::from_nanos(nanos).max(SHORTEST)),
        )
    }

    /// What to ask the peer, if it has to be and was not.
    pub(super) fn question(&mut self) -> Option<[u8; 8]> {
        if self.seen_at.is_some() || std::mem::replace(&mut self.asked, true) {
            return None;
        }
        let [a, b, c, d] = ASKS;
        let [e, f, g, h] = self.round.to_be_bytes();
        Some([a, b, c, d, e, f, g, h])
    }

    /// Whether this PONG answers a question of ours; if so, the peer has seen what was sent before it.
    pub(super) fn is_answer(&mut self, now: Instant, pong: &[u8; 8]) -> bool {
        if pong[..4] != ASKS {
            return false;
        }
        if std::mem::take(&mut self.asked) && pong[4..] == self.round.to_be_bytes() {
            self.seen_at = Some(now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000);

    fn at(millis: u64) -> Instant {
        START + Duration::from_millis(millis)
    }

    #[test]
    fn time_counts_from_the_answer_on() {
        let mut pace = Pace::new(100);
        assert!(pace.take(at(0), 60) && pace.take(at(0), 40));
        assert!(!pace.take(at(5000), 1), "it may not have seen anything");
        let question = pace.question().expect("it is asked");
        assert_eq!((pace.question(), pace.due(1)), (None, None));
        assert!(!pace.is_answer(at(5000), b"the last"));
        assert!(pace.is_answer(at(5000), &question));
        assert_eq!(
            (pace.due(1), pace.due(90)),
            (Some(at(5200)), Some(at(5200)))
        );
        assert!(!pace.take(at(5199), 1));
        // 180 would be let through by then, of which it keeps a hundred.
        assert!(pace.take(at(5200), 1) && pace.take(at(5200), 99) && !pace.take(at(5200), 1));
    }

    #[test]
    fn an_answer_to_an_older_question_says_nothing() {
        let mut pace = Pace::new(10);
        assert!(pace.take(at(0), 8));
        let question = pace.question().expect("it is asked");
        assert!(pace.take(at(1), 2));
        assert!(pace.is_answer(at(2), &question));
        assert_eq!(pace.due(1), None);
        let again = pace.question().expect("it is asked again");
        assert_ne!(again, question);
        assert!(pace.is_answer(at(3), &again));
        assert_eq!(pace.due(1), Some(at(203)));
    }
}
