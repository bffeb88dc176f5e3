//! Probabilities, of 2^32.

use crate::oracle::{Label, Oracle, Scope};

const WHOLE: u64 = 1 << 32;

/// How often something happens, as an integer of 2^32: no floating point decides anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const NEVER: Chance = Chance(0);

    /// `None` for what is no probability.
    pub(crate) fn of(probability: f64) -> Option<Chance> {
        // Products with a power of two are exact.
        (0.0..=1.0)
            .contains(&probability)
            .then(|| Chance((probability * WHOLE as f64).round() as u64))
    }

    /// Whether it happens this time. Choice 0 is that it does not; nothing is drawn for what never
    /// or always happens.
    pub(crate) fn happens(self, oracle: &mut Oracle, label: Label, scope: Scope) -> bool {
        match self.0 {
            0 => false,
            WHOLE => true,
            share => oracle.choose(label, scope, WHOLE) >= WHOLE - share,
        }
    }

    pub(crate) fn is_certain(self) -> bool {
        self.0 == WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::LOSS;

    #[test]
    fn only_probabilities_are_chances() {
        for none in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert_eq!(Chance::of(none), None);
        }
        assert_eq!(Chance::of(0.0), Some(Chance::NEVER));
        assert_eq!(Chance::of(0.5), Some(Chance(1 << 31)));
        assert!(Chance::of(1.0).is_some_and(Chance::is_certain));
    }

    #[test]
    fn it_happens_as_often_as_it_says() {
        let mut oracle = Oracle::new(1, 0, None);
        for (probability, least, most) in [(0.0, 0, 0), (0.25, 2400, 2600), (1.0, 10_000, 10_000)] {
            let chance = Chance::of(probability).expect("a probability");
            let times = (0..10_000)
                .filter(|_| chance.happens(&mut oracle, LOSS, Scope::World))
                .count();
            assert!((least..=most).contains(&times), "{probability}: {times}");
        }
    }
}
