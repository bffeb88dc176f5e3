use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

/// A point on the monotonic clock of a backend: nanoseconds since an arbitrary origin.
///
/// A type of our own because [`std::time::Instant`] cannot be made by a simulator.
/// All real backends of a process share one origin, one day before its first use, so that
/// subtracting near the start of a program does not clamp; a simulated world has an origin
/// of its own, and its instants compare with no others.
///
/// # Examples
///
/// ```
/// use bowline_backend::time::Instant;
/// use std::time::Duration;
///
/// let start = Instant::from_nanos(5_000_000_000);
/// assert_eq!(start + Duration::from_secs(1) - start, Duration::from_secs(1));
/// assert_eq!(start + Duration::MAX, Instant::NEVER);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The point that no clock reaches. A sleep until it arms nothing.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin; `u64::MAX` is [`Instant::NEVER`].
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whether this is [`Instant::NEVER`].
    pub const fn is_never(self) -> bool {
        self.0 == u64::MAX
    }

    /// `self + span`, or [`Instant::NEVER`] where that cannot be represented.
    #[must_use = "this returns the later instant and changes nothing"]
    pub const fn saturating_add(self, span: Duration) -> Instant {
        match self.checked_add(span) {
            Some(later) => later,
            None => Instant::NEVER,
        }
    }

    /// `self - span`, or the origin where that lies before it. `NEVER` stays `NEVER`.
    #[must_use = "this returns the earlier instant and changes nothing"]
    pub const fn saturating_sub(self, span: Duration) -> Instant {
        match self.checked_sub(span) {
            Some(earlier) => earlier,
            None => Instant(0),
        }
    }

    /// `self + span`, or `None` where that is not before [`Instant::NEVER`].
    pub const fn checked_add(self, span: Duration) -> Option<Instant> {
        let nanos = span.as_nanos();
        if nanos >= (u64::MAX - self.0) as u128 {
            return None;
        }
        Some(Instant(self.0 + nanos as u64))
    }

    /// `self - span`, or `None` where that lies before the origin. `NEVER` stays `NEVER`.
    pub const fn checked_sub(self, span: Duration) -> Option<Instant> {
        if self.is_never() {
            return Some(self);
        }
        let nanos = span.as_nanos();
        if nanos > self.0 as u128 {
            return None;
        }
        Some(Instant(self.0 - nanos as u64))
    }

    /// The span from `earlier` to `self`, zero where `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The span from `earlier` to `self`, or `None` where `earlier` is later.
    pub const fn checked_duration_since(self, earlier: Instant) -> Option<Duration> {
        match self.0.checked_sub(earlier.0) {
            Some(nanos) => Some(Duration::from_nanos(nanos)),
            None => None,
        }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return f.write_str("Instant(never)");
        }
        write!(
            f,
            "Instant({}.{:09}s)",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates to [`Instant::NEVER`].
    fn add(self, span: Duration) -> Instant {
        self.saturating_add(span)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    /// Saturates to the origin.
    fn sub(self, span: Duration) -> Instant {
        self.saturating_sub(span)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, span: Duration) {
        *self = *self - span;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    /// Zero where `earlier` is later.
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let one = Instant::from_nanos(1);
        assert_eq!(one - Duration::from_secs(1), Instant::from_nanos(0));
        assert_eq!(one + Duration::MAX, Instant::NEVER);
        assert_eq!(one + Duration::from_nanos(u64::MAX - 1), Instant::NEVER);
        assert_eq!(Instant::NEVER - Duration::from_secs(1), Instant::NEVER);
        assert_eq!(one - Instant::from_nanos(5), Duration::ZERO);
        assert_eq!(one.checked_duration_since(Instant::from_nanos(5)), None);
    }
}
