//! No frames: bytes as they come.

use bytes::{Bytes, BytesMut};

use super::enclosed::{Enclose, encloses};
use crate::{Decode, DecodeError, EncodeError, EncodeErrorKind, Limits, OutputBatch};

/// No frames at all: whatever came is an item, and whatever is sent is just sent.
///
/// This is the one framing that is **not** cut-invariant: where its items begin and end is where
/// the network happened to cut. For echo servers, tunnels, and protocols that find their own
/// frames. An item is never empty, and an empty payload sends nothing.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | item | 64 KiB | [`max_frame`](Self::max_frame) | decode: the rest is the next item; encode: refused |
///
/// # Examples
///
/// ```
/// use bowline_codec::{BytesFraming, Decode};
/// use bytes::BytesMut;
///
/// let mut pieces = BytesFraming::new().max_frame(4);
/// let mut input = BytesMut::from("abcdef");
/// assert_eq!(pieces.decode(&mut input)?.as_deref(), Some(&b"abcd"[..]));
/// assert_eq!(pieces.decode(&mut input)?.as_deref(), Some(&b"ef"[..]));
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BytesFraming {
    max_frame: usize,
}

const DEFAULT_MAX_FRAME: usize = 64 * 1024;

impl BytesFraming {
    /// Items of at most 64 KiB.
    pub fn new() -> Self {
        Self {
            max_frame: DEFAULT_MAX_FRAME,
        }
    }

    /// Sets the largest item in bytes, both ways; 64 KiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = bytes;
        self
    }
}

impl Default for BytesFraming {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for BytesFraming {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        let len = src.len().min(self.max_frame);
        Ok((len > 0).then(|| src.split_to(len).freeze()))
    }

    fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.max_frame),
            ..Limits::default()
        }
    }

    fn need(&self) -> usize {
        1
    }
}

impl Enclose for BytesFraming {
    #[inline]
    fn open(&self, actual: usize, _: &mut OutputBatch) -> Result<(), EncodeError> {
        let limit = self.max_frame;
        if actual <= limit {
            Ok(())
        } else {
            Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }))
        }
    }
}

encloses!(BytesFraming);
