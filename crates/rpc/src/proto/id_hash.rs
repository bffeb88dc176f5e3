//! How calls are found by their numbers.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes call numbers. They are counted up, so one multiplication spreads them; a peer that
/// chooses them badly slows down a table that has as many entries as it may have open calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

/// For tables of calls by their numbers.
pub(crate) type IdHash = BuildHasherDefault<IdHasher>;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
