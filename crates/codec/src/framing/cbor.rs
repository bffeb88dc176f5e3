//! CBOR values one after another.

use bytes::{Bytes, BytesMut};

use super::items::{Head, Items, number_after_first};
use crate::{Decode, DecodeError, Encode, EncodeError, Framing, Limits, OutputBatch};

/// CBOR values with nothing between them: a CBOR sequence, RFC 8742.
///
/// Each value tells where it ends, so nothing is added on the wire. The end is found by counting,
/// without parsing and without allocating, whatever number of elements is declared, up to a nesting of
/// 128. Every error is fatal, [`Depth`](crate::DecodeErrorKind::Depth) included: where the next value
/// begins cannot be told.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | value | 1 MiB | [`max_frame`](Self::max_frame) | decode: fatal, as soon as the lengths and counts that were declared pass it together; encode: refused |
/// | values inside one another | 128 | [`max_depth`](Self::max_depth) | decode: fatal; encode: refused |
///
/// # Examples
///
/// ```
/// use bowline_codec::{CborFraming, Decode};
/// use bytes::BytesMut;
///
/// let mut values = CborFraming::new();
/// let mut input = BytesMut::from(&b"\x07\x82\x01\x02\x82"[..]);
/// assert_eq!(values.decode(&mut input)?.as_deref(), Some(&b"\x07"[..]));
/// assert_eq!(values.decode(&mut input)?.as_deref(), Some(&b"\x82\x01\x02"[..]));
/// assert_eq!((values.decode(&mut input)?, values.need()), (None, 1));
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CborFraming(Items);

impl CborFraming {
    /// Values of at most 1 MiB.
    pub fn new() -> Self {
        Self(Items::new(head))
    }

    /// Sets the longest value in bytes, both ways; 1 MiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.0.set_max_frame(bytes);
        self
    }

    /// Sets how many values may be inside one another, both ways; 128 by default.
    ///
    /// # Panics
    ///
    /// If `levels` is zero.
    pub fn max_depth(mut self, levels: usize) -> Self {
        self.0.set_max_depth(levels);
        self
    }
}

/// Reads the first bytes of a value.
fn head(src: &[u8]) -> Head {
    let Some(first) = src.first() else {
        return Head::Partial(1);
    };
    let (major, info) = (first >> 5, first & 0x1f);
    let (head, number) = match info {
        0..=23 => (1, u64::from(info)),
        24..=27 => {
            let width = 1 << (info - 24);
            match number_after_first(src, width) {
                Ok(number) => (1 + width, number),
                Err(missing) => return Head::Partial(missing),
            }
        }
        31 => {
            return match major {
                2..=5 => Head::Endless { head: 1 },
                7 => Head::Break,
                _ => Head::Bad,
            };
        }
        _ => return Head::Bad,
    };
    match major {
        2 | 3 => Head::with_payload(head, number),
        4 => Head::with_children(head, u128::from(number)),
        5 => Head::with_children(head, 2 * u128::from(number)),
        // A tag, and what it is on.
        6 => Head::with_children(head, 1),
        _ => Head::alone(head),
    }
}

impl Default for CborFraming {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for CborFraming {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.0.decode(src)
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.0.decode_end(src)
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn need(&self) -> usize {
        self.0.need()
    }
}

impl Encode<[u8]> for CborFraming {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.0.put_slice(payload, out)
    }
}

impl Encode<Bytes> for CborFraming {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.0.put_bytes(payload, out)
    }
}

impl Framing for CborFraming {}
