//! How long a packet travels.

use super::{Chance, nanos};
use crate::oracle::{self, Label, Oracle, Scope};
use std::ops::Range;
use std::time::Duration;

/// How the latency of a packet is drawn; see [`Link::latency`](super::Link::latency).
///
/// A range is one too: evenly between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency(Shape);

/// Times are in nanoseconds; of a pair both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Uniform((u64, u64)),
    Exponential {
        shortest: u64,
        mean: u64,
    },
    TwoPeak {
        first: (u64, u64),
        second: (u64, u64),
        /// None for what was no probability.
        second_share: Option<Chance>,
    },
}

impl Latency {
    /// Every packet takes just so long.
    pub fn constant(latency: Duration) -> Latency {
        Latency(Shape::Uniform((nanos(latency), nanos(latency))))
    }

    /// At least `shortest`, and `mean` more on average, exponentially distributed.
    pub fn exponential(shortest: Duration, mean: Duration) -> Latency {
        Latency(Shape::Exponential {
            shortest: nanos(shortest),
            mean: nanos(mean),
        })
    }

    /// Evenly within `first`, but with probability `share` within `second`.
    pub fn two_peak(first: Range<Duration>, second: Range<Duration>, share: f64) -> Latency {
        Latency(Shape::TwoPeak {
            first: ends(&first),
            second: ends(&second),
            second_share: Chance::of(share),
        })
    }

    /// The latencies of the ready-made links.
    pub(super) fn between(shortest: Duration, longest: Duration) -> Latency {
        Latency(Shape::Uniform((nanos(shortest), nanos(longest))))
    }

    pub(crate) fn is_possible(self) -> bool {
        let whole = |(shortest, longest): (u64, u64)| shortest <= longest && longest != u64::MAX;
        match self.0 {
            Shape::Uniform(ends) => whole(ends),
            Shape::Exponential { .. } => true,
            Shape::TwoPeak {
                first,
                second,
                second_share,
            } => whole(first) && whole(second) && second_share.is_some(),
        }
    }

    /// The latency of one packet. Choice 0 is the shortest.
    pub(crate) fn draw(self, oracle: &mut Oracle, scope: Scope) -> u64 {
        self.draw_as(oracle::LATENCY, oracle, scope)
    }

    /// The same for something else that takes its time.
    pub(crate) fn draw_as(self, label: Label, oracle: &mut Oracle, scope: Scope) -> u64 {
        let (shortest, longest) = match self.0 {
            Shape::Uniform(ends) => ends,
            Shape::TwoPeak {
                first,
                second,
                second_share,
            } => {
                let rare =
                    second_share.is_some_and(|share| share.happens(oracle, oracle::ROUTE, scope));
                if rare { second } else { first }
            }
            Shape::Exponential { shortest, mean } => {
                let drawn = oracle.choose(label, scope, 1 << 32);
                let beyond = (u128::from(mean) * u128::from(minus_ln(drawn))) >> 32;
                return shortest.saturating_add(u64::try_from(beyond).unwrap_or(u64::MAX));
            }
        };
        let spread = longest.saturating_sub(shortest).saturating_add(1);
        shortest.saturating_add(oracle.choose(label, scope, spread))
    }
}

impl From<Range<Duration>> for Latency {
    fn from(range: Range<Duration>) -> Latency {
        Latency(Shape::Uniform(ends(&range)))
    }
}

/// First and last of a range; the last of an empty one that begins at 0 is the end of time.
fn ends(range: &Range<Duration>) -> (u64, u64) {
    (nanos(range.start), nanos(range.end).wrapping_sub(1))
}

/// `-ln(1 - drawn / 2^32)`, times 2^32, for `drawn < 2^32`; by squaring, in integers alone.
fn minus_ln(drawn: u64) -> u64 {
    /// ln 2, times 2^32.
    const LN_2: u128 = 2_977_044_472;
    let left = (1_u64 << 32) - drawn;
    let whole = 63 - left.leading_zeros();
    // In [1, 2), times 2^31.
    let mut mantissa = (u128::from(left) << 31) >> whole;
    let mut fraction = 0_u64;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 31;
        if mantissa >> 32 != 0 {
            mantissa >>= 1;
            fraction |= 1 << bit;
        }
    }
    let log2 = (u64::from(whole) << 32) | fraction;
    let minus_log2 = (32_u64 << 32) - log2;
    ((u128::from(minus_log2) * LN_2) >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for drawn in [0, 1, 1 << 16, 1 << 31, (1 << 32) - (1 << 20), (1 << 32) - 1] {
            let exact = -(1.0 - drawn as f64 / 4_294_967_296.0).ln();
            let ours = minus_ln(drawn) as f64 / 4_294_967_296.0;
            assert!((exact - ours).abs() < 1e-8, "{drawn}: {exact} {ours}");
        }
    }

    #[test]
    fn each_kind_keeps_its_mean_and_bounds() {
        let ms = Duration::from_millis;
        let cases = [
            (Latency::constant(ms(3)), 3_000_000, 3_000_000),
            (Latency::from(ms(2)..ms(4)), 3_000_000, 2_000_000),
            (Latency::exponential(ms(1), ms(2)), 3_000_000, 1_000_000),
            (
                Latency::two_peak(ms(1)..ms(3), ms(11)..ms(13), 0.1),
                3_000_000,
                1_000_000,
            ),
        ];
        for (latency, mean, shortest) in cases {
            let mut oracle = Oracle::new(9, 0, None);
            let drawn: Vec<u64> = (0..20_000)
                .map(|_| latency.draw(&mut oracle, Scope::World))
                .collect();
            let seen = drawn.iter().sum::<u64>() / 20_000;
            assert!(seen.abs_diff(mean) < mean / 30, "{latency:?}: {seen}");
            assert!(drawn.iter().all(|latency| *latency >= shortest));
            let mut tame = Oracle::new(9, 0, Some(&crate::Choices::default()));
            assert_eq!(latency.draw(&mut tame, Scope::World), shortest);
        }
    }
}
