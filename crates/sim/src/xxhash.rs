//! XXH64 (Yann Collet's xxHash, 64 bit), written out so that no dependency can change a trace hash.

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

const fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

const fn merge(hash: u64, lane: u64) -> u64 {
    (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4)
}

const fn word64(bytes: &[u8], at: usize) -> u64 {
    let mut word = 0;
    let mut i = 0;
    while i < 8 {
        word |= (bytes[at + i] as u64) << (8 * i);
        i += 1;
    }
    word
}

const fn word32(bytes: &[u8], at: usize) -> u64 {
    let mut word = 0;
    let mut i = 0;
    while i < 4 {
        word |= (bytes[at + i] as u64) << (8 * i);
        i += 1;
    }
    word
}

const fn finish(mut hash: u64, bytes: &[u8], mut at: usize, end: usize) -> u64 {
    while at + 8 <= end {
        hash = (hash ^ round(0, word64(bytes, at)))
            .rotate_left(27)
            .wrapping_mul(P1)
            .wrapping_add(P4);
        at += 8;
    }
    if at + 4 <= end {
        hash = (hash ^ word32(bytes, at).wrapping_mul(P1))
            .rotate_left(23)
            .wrapping_mul(P2)
            .wrapping_add(P3);
        at += 4;
    }
    while at < end {
        hash = (hash ^ (bytes[at] as u64).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1);
        at += 1;
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

const fn lanes(seed: u64) -> [u64; 4] {
    [
        seed.wrapping_add(P1).wrapping_add(P2),
        seed.wrapping_add(P2),
        seed,
        seed.wrapping_sub(P1),
    ]
}

const fn stripe(lanes: [u64; 4], bytes: &[u8], at: usize) -> [u64; 4] {
    [
        round(lanes[0], word64(bytes, at)),
        round(lanes[1], word64(bytes, at + 8)),
        round(lanes[2], word64(bytes, at + 16)),
        round(lanes[3], word64(bytes, at + 24)),
    ]
}

const fn converge(lanes: [u64; 4]) -> u64 {
    let mut hash = lanes[0]
        .rotate_left(1)
        .wrapping_add(lanes[1].rotate_left(7))
        .wrapping_add(lanes[2].rotate_left(12))
        .wrapping_add(lanes[3].rotate_left(18));
    let mut i = 0;
    while i < 4 {
        hash = merge(hash, lanes[i]);
        i += 1;
    }
    hash
}

/// Hash of `bytes` in one go.
pub(crate) const fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let mut at = 0;
    let mut hash = if bytes.len() >= 32 {
        let mut state = lanes(seed);
        while at + 32 <= bytes.len() {
            state = stripe(state, bytes, at);
            at += 32;
        }
        converge(state)
    } else {
        seed.wrapping_add(P5)
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    finish(hash, bytes, at, bytes.len())
}

/// The same hash over a stream of whole 64-byte records, readable at any time.
///
/// Records have a fixed size, so there is never a partial stripe to keep.
#[derive(Clone, Debug)]
pub(crate) struct RollingHash {
    lanes: [u64; 4],
    bytes: u64,
}

impl RollingHash {
    pub(crate) const RECORD: usize = 64;

    pub(crate) fn new() -> RollingHash {
        RollingHash {
            lanes: lanes(0),
            bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, record: &[u8; Self::RECORD]) {
        self.lanes = stripe(stripe(self.lanes, record, 0), record, 32);
        self.bytes += Self::RECORD as u64;
    }

    pub(crate) fn digest(&self) -> u64 {
        let start = if self.bytes == 0 {
            P5
        } else {
            converge(self.lanes)
        };
        finish(start.wrapping_add(self.bytes), &[], 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vectors() {
        assert_eq!(xxh64(b"", 0), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a", 0), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc", 0), 0x44BC_2CF5_AD77_0999);
        assert_eq!(
            xxh64(
                b"Call me Ishmael. Some years ago--never mind how long precisely-",
                0
            ),
            0x02A2_E854_70D6_FD96
        );
    }

    #[test]
    fn rolling_equals_one_go() {
        let mut rolling = RollingHash::new();
        assert_eq!(rolling.digest(), xxh64(b"", 0));
        let mut all = Vec::new();
        for i in 0..5u8 {
            let record = [i; 64];
            rolling.update(&record);
            all.extend_from_slice(&record);
            assert_eq!(rolling.digest(), xxh64(&all, 0));
        }
    }
}
