use crate::ambient;
use crate::invalid_value::InvalidValue;
use std::time::Duration;

/// How long to pause between the attempts of a [`Retry`](crate::Retry).
///
/// # Examples
///
/// ```
/// use bowline_concurrency::{Backoff, Jitter};
/// use std::time::Duration;
///
/// let backoff = Backoff::exponential(Duration::from_millis(100))
///     .factor(3)
///     .max(Duration::from_secs(1))
///     .jitter(Jitter::None);
/// assert_eq!(backoff.bound(1), Duration::from_millis(100));
/// assert_eq!(backoff.bound(3), Duration::from_millis(900));
/// assert_eq!(backoff.bound(4), Duration::from_secs(1));
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[must_use = "a backoff alone does nothing"]
pub struct Backoff {
    base: Duration,
    factor: u32,
    max: Duration,
    jitter: Jitter,
}

/// How a pause is spread, so that those who failed together do not come back together.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// Anything from nothing to the whole pause.
    #[default]
    Full,
    /// Half of the pause, and anything up to the other half.
    Equal,
    /// The whole pause.
    None,
}

impl Backoff {
    /// A first pause of `base`, each further one twice as long, without bound, with
    /// [`Jitter::Full`].
    pub const fn exponential(base: Duration) -> Backoff {
        Backoff {
            base,
            factor: 2,
            max: Duration::MAX,
            jitter: Jitter::Full,
        }
    }

    /// By how much each pause is longer than the one before; with one they are all as long as the
    /// first. Zero is refused when the retry runs.
    pub const fn factor(mut self, factor: u32) -> Backoff {
        self.factor = factor;
        self
    }

    /// The longest pause.
    pub const fn max(mut self, max: Duration) -> Backoff {
        self.max = max;
        self
    }

    /// How pauses are spread.
    pub const fn jitter(mut self, jitter: Jitter) -> Backoff {
        self.jitter = jitter;
        self
    }

    /// The longest the pause after so many failed attempts can be.
    pub fn bound(&self, failed: usize) -> Duration {
        let mut pause = self.base.min(self.max);
        if self.factor <= 1 || pause.is_zero() {
            return pause;
        }
        // At least doubled each time: a hundred rounds reach any bound.
        for _ in 1..failed {
            pause = pause.saturating_mul(self.factor).min(self.max);
            if pause == self.max {
                break;
            }
        }
        pause
    }

    /// Whether it makes sense; what runs it asks that first.
    ///
    /// # Errors
    ///
    /// Its factor is zero.
    pub fn check(&self) -> Result<(), InvalidValue> {
        if self.factor == 0 {
            let most = u32::MAX as usize;
            return Err(InvalidValue::new("the factor of a backoff", 0, 1, most));
        }
        Ok(())
    }

    /// A pause after so many failed attempts, spread by the entropy of the backend: for loops that
    /// are no [`Retry`](crate::Retry).
    ///
    /// # Panics
    ///
    /// With no backend compiled in, unless the jitter is [`Jitter::None`].
    pub fn pause(&self, failed: usize) -> Duration {
        let bound = self.bound(failed);
        match self.jitter {
            Jitter::None => bound,
            Jitter::Full => up_to(bound),
            Jitter::Equal => {
                let half = bound / 2;
                half + up_to(bound - half)
            }
        }
    }
}

impl Default for Backoff {
    /// 100 ms, doubled up to 10 s, with [`Jitter::Full`].
    fn default() -> Backoff {
        Backoff::exponential(Duration::from_millis(100)).max(Duration::from_secs(10))
    }
}

/// Evenly from nothing to `bound`, both included.
fn up_to(bound: Duration) -> Duration {
    let nanos = bound.as_nanos();
    if nanos == 0 {
        return bound;
    }
    let random = u128::from(ambient::backend().random_u64());
    // The upper half of the product: no division, and a bias of at most `bound` in 2^64. Pauses of
    // more than 2^64 ns, 584 years, are spread over those.
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    let spread = (random * (u128::from(nanos) + 1)) >> 64;
    Duration::from_nanos(u64::try_from(spread).unwrap_or(nanos))
}
