//! MessagePack values one after another.

use bytes::{Bytes, BytesMut};

use super::items::{Head, Items, number_after_first};
use crate::{Decode, DecodeError, Encode, EncodeError, Framing, Limits, OutputBatch};

/// MessagePack values with nothing between them.
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
/// use bowline_codec::{MsgpackFraming, Decode};
/// use bytes::BytesMut;
///
/// let mut values = MsgpackFraming::new();
/// let mut input = BytesMut::from(&b"\x07\x82\x01\x02\x82"[..]);
/// assert_eq!(values.decode(&mut input)?.as_deref(), Some(&b"\x07"[..]));
/// // A map of two, of which one entry came, and the beginning of another map.
/// assert_eq!((values.decode(&mut input)?, values.need()), (None, 1));
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MsgpackFraming(Items);

impl MsgpackFraming {
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
    let width_of = |code: u8| 1 << code;
    match *first {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Head::alone(1),
        0x80..=0x8f => Head::with_children(1, 2 * u128::from(first & 0x0f)),
        0x90..=0x9f => Head::with_children(1, u128::from(first & 0x0f)),
        0xa0..=0xbf => Head::with_payload(1, u64::from(first & 0x1f)),
        0xc1 => Head::Bad,
        // Binary, then extensions, whose type is a byte more.
        0xc4..=0xc6 => sized(src, width_of(first - 0xc4), Head::with_payload),
        0xc7..=0xc9 => sized(src, width_of(first - 0xc7), |head, len| {
            Head::with_payload(head + 1, len)
        }),
        0xca => Head::with_payload(1, 4),
        0xcb => Head::with_payload(1, 8),
        // Unsigned and signed integers of 1, 2, 4 and 8 bytes.
        0xcc..=0xcf => Head::with_payload(1, 1 << (first - 0xcc)),
        0xd0..=0xd3 => Head::with_payload(1, 1 << (first - 0xd0)),
        0xd4..=0xd8 => Head::with_payload(2, 1 << (first - 0xd4)),
        0xd9..=0xdb => sized(src, width_of(first - 0xd9), Head::with_payload),
        0xdc | 0xdd => sized(src, width_of(first - 0xdc + 1), |head, len| {
            Head::with_children(head, u128::from(len))
        }),
        0xde | 0xdf => sized(src, width_of(first - 0xde + 1), |head, len| {
            Head::with_children(head, 2 * u128::from(len))
        }),
    }
}

/// A head of one byte and a number of `width` bytes, which says how much belongs to it.
fn sized(src: &[u8], width: usize, head: impl FnOnce(usize, u64) -> Head) -> Head {
    match number_after_first(src, width) {
        Ok(number) => head(1 + width, number),
        Err(missing) => Head::Partial(missing),
    }
}

impl Default for MsgpackFraming {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for MsgpackFraming {
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

impl Encode<[u8]> for MsgpackFraming {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.0.put_slice(payload, out)
    }
}

impl Encode<Bytes> for MsgpackFraming {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.0.put_bytes(payload, out)
    }
}

impl Framing for MsgpackFraming {}
