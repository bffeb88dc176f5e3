//! Seeded chance, so that a case can be run again.

use crate::pair::frame;

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    pub(crate) fn bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.below(most);
        (0..length)
            .map(|_| {
                if self.one_in(3) {
                    self.next() as u8
                } else {
                    self.below(5) as u8
                }
            })
            .collect()
    }

    /// What a peer may send: noise, or a frame that is nearly right.
    pub(crate) fn input(&mut self) -> Vec<u8> {
        if self.one_in(12) {
            return self.bytes(80);
        }
        let kinds = [
            1, 2, 3, 4, 5, 6, 7, 0x10, 0x10, 0x10, 0x11, 0x11, 0x12, 0x12, 0x13, 0x13, 0x14, 0x15,
            0x17, 0x20, 0x21, 0x70,
        ];
        let kind = self.pick(&kinds);
        let flags = if self.one_in(5) { self.next() as u8 } else { 0 };
        let aux = if self.one_in(5) {
            self.next() as u16
        } else {
            self.below(4) as u16
        };
        let id = if self.one_in(9) {
            self.next()
        } else {
            self.below(64)
        };
        let payload = match self.below(4) {
            // The head of an OPEN, with a body; with a little luck of a FAIL or an ADVERTISE too.
            0 | 1 => {
                let mut head = vec![0, 0, 0, 1, 0, 1, 4, self.below(3) as u8];
                head.extend([0, 0, 0, 0, 0, 0, 0, self.next() as u8]);
                head.extend(self.bytes(300));
                head
            }
            2 => self.below(1 << 33).to_be_bytes()[4..].to_vec(),
            _ => self.bytes(48),
        };
        let mut bytes = frame(kind, flags, aux, id, &payload);
        if self.one_in(20) {
            let at = self.below(bytes.len() as u64) as usize;
            bytes[at] = self.next() as u8;
        }
        bytes
    }
}
