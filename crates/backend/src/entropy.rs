//! Random bytes and numbers, from the system or from the seed of a simulated world.

use crate::Backend;
use crate::runtime::Surroundings;

/// Fills `buffer` with random bytes fit for keys, nonces and ids.
///
/// Those of the system's generator on real backends; in a simulated world they follow from its
/// seed.
///
/// # Panics
///
/// Where no backend is compiled in, a simulated world is current but does not turn here, or the
/// system has no entropy to give.
pub fn fill(buffer: &mut [u8]) {
    fill_from(Backend::required(), buffer);
}

/// A random number for jitter, sampling and hash seeds. Not for secrets.
///
/// # Panics
///
/// As [`fill`].
pub fn random_u64() -> u64 {
    random_from(Backend::required())
}

pub(crate) fn fill_from(backend: Backend, buffer: &mut [u8]) {
    dispatch!(backend, R => R::fill(buffer));
}

pub(crate) fn random_from(backend: Backend) -> u64 {
    dispatch!(backend, R => R::random_u64())
}

/// The entropy of every real backend.
#[cfg(feature = "real")]
pub(crate) mod system {
    use std::cell::Cell;

    pub(crate) fn fill(buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the system's random generator failed");
    }

    /// SplitMix64 (Steele, Lea, Flood 2014) per thread, started from the system's generator: a
    /// system call for every jitter would be dear.
    pub(crate) fn random_u64() -> u64 {
        thread_local! {
            static STATE: Cell<Option<u64>> = const { Cell::new(None) };
        }
        let state = STATE.get().unwrap_or_else(|| {
            let mut seed = [0; 8];
            fill(&mut seed);
            u64::from_ne_bytes(seed)
        });
        let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        STATE.set(Some(state));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
