//! The frame header and the numbers of frames.

/// Bytes of a header: `len u32 | type u8 | flags u8 | aux u16 | id u64`.
pub(crate) const HEADER: usize = 16;
/// Bytes of an OPEN's payload before its extensions.
pub(super) const OPEN_HEAD: usize = 16;
/// Bytes of a FAIL's payload before its message.
pub(super) const FAIL_HEAD: usize = 8;
/// What a message costs besides its body, in credit.
pub(super) const CHARGE: usize = 16;

/// The first bytes of each side.
pub(super) const PREFACE: [u8; 8] = [0xB0, b'B', b'W', b'L', 0x0D, 0x0A, 0x1A, 0x00];

pub(super) const HELLO: u8 = 0x01;
pub(super) const PROOF: u8 = 0x02;
pub(super) const READY: u8 = 0x03;
pub(super) const CLOSE: u8 = 0x04;
pub(super) const GOAWAY: u8 = 0x05;
pub(super) const PING: u8 = 0x06;
pub(super) const PONG: u8 = 0x07;
pub(super) const OPEN: u8 = 0x10;
pub(super) const ITEM: u8 = 0x11;
pub(super) const REPLY: u8 = 0x12;
pub(super) const FAIL: u8 = 0x13;
pub(super) const CANCEL: u8 = 0x14;
pub(super) const CREDIT: u8 = 0x15;
pub(super) const END: u8 = 0x17;
pub(super) const ADVERTISE: u8 = 0x20;
pub(super) const WITHDRAW: u8 = 0x21;

pub(super) const MORE: u8 = 1;
pub(super) const CRITICAL: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) aux: u16,
    pub(super) id: u64,
}

impl Header {
    pub(super) fn new(kind: u8, len: usize, aux: u16, id: u64) -> Self {
        Self {
            len: len as u32,
            kind,
            flags: 0,
            aux,
            id,
        }
    }

    pub(super) fn with_more(mut self) -> Self {
        self.flags |= MORE;
        self
    }

    pub(super) fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }

    pub(super) fn is_critical(&self) -> bool {
        self.flags & CRITICAL != 0
    }

    /// Length of the whole frame.
    pub(super) fn frame_len(&self) -> usize {
        HEADER + self.len as usize
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&self.len.to_be_bytes());
        out[4] = self.kind;
        out[5] = self.flags;
        out[6..8].copy_from_slice(&self.aux.to_be_bytes());
        out[8..].copy_from_slice(&self.id.to_be_bytes());
        out
    }

    /// Reads the header at the front of `bytes`, if it is all there.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let b: &[u8; HEADER] = bytes.first_chunk()?;
        Some(Self {
            len: u32::from_be_bytes([b[0], b[1], b[2], b[3]]),
            kind: b[4],
            flags: b[5],
            aux: u16::from_be_bytes([b[6], b[7]]),
            id: u64::from_be_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let header = Header::new(OPEN, 0x01020304, 0x0506, 0x0708090A0B0C0D0E).with_more();
        let bytes = header.to_bytes();
        assert_eq!(
            bytes,
            [1, 2, 3, 4, 0x10, 1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
        );
        assert_eq!(Header::parse(&bytes), Some(header));
        assert_eq!(Header::parse(&bytes[..15]), None);
    }
}
