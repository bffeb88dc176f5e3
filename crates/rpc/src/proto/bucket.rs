use bowline_backend::time::Instant;

/// A token bucket in whole nanoseconds: `burst` at once, then one per `1 s / rate`.
// It keeps the time at which the bucket would be full, so it needs no ticking and no floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    interval: u64,
    depth: u64,
    full_at: u64,
}

impl Bucket {
    pub(super) fn new(per_second: u64, burst: u64) -> Self {
        let interval = 1_000_000_000 / per_second;
        Self {
            interval,
            depth: interval.saturating_mul(burst),
            full_at: 0,
        }
    }

    /// Takes `n` tokens, or none and says no.
    pub(super) fn take(&mut self, now: Instant, n: u64) -> bool {
        let now = now.as_nanos();
        let after = self
            .full_at
            .max(now)
            .saturating_add(self.interval.saturating_mul(n));
        if after - now > self.depth {
            return false;
        }
        self.full_at = after;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::new(10, 20);
        let start = Instant::from_nanos(1_000_000_000);
        assert!((0..20).all(|_| bucket.take(start, 1)));
        assert!(!bucket.take(start, 1));
        let later = Instant::from_nanos(1_100_000_000);
        assert!(bucket.take(later, 1));
        assert!(!bucket.take(later, 1));
        assert!(bucket.take(Instant::from_nanos(60_000_000_000), 20));
    }
}
