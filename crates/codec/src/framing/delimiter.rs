//! Frames that end in a string of bytes of your own.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::delimited::{Delimited, Empty, End, Unterminated};
use crate::{Decode, DecodeError, Encode, EncodeError, Framing, Limits, OutputBatch};

/// Frames that end in a delimiter of 1 to 64 bytes.
///
/// A frame ends where the delimiter is found first: with `aab`, the bytes `aaab` are the frame
/// `a`. A payload is refused if a reader would find the delimiter anywhere but behind it.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | frame without its delimiter | 64 KiB | [`max_frame`](Self::max_frame) | decode: discarded in constant memory, reported once, at its delimiter; encode: refused |
/// | bytes of a frame that is discarded | 1 MiB | [`max_skip`](Self::max_skip) | fatal |
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, Delimiter};
/// use bytes::BytesMut;
///
/// let mut frames = Delimiter::new(b"||");
/// let mut input = BytesMut::from("a|b||c|");
/// assert_eq!(frames.decode(&mut input)?.as_deref(), Some(&b"a|b"[..]));
/// assert_eq!((frames.decode(&mut input)?, frames.need()), (None, 1));
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Delimiter(Delimited);

impl Delimiter {
    /// The longest delimiter, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Frames that end in `delimiter`.
    ///
    /// # Panics
    ///
    /// If `delimiter` is empty, or longer than [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(delimiter: impl AsRef<[u8]>) -> Self {
        let delimiter = delimiter.as_ref();
        assert!(!delimiter.is_empty(), "a delimiter must not be empty");
        assert!(
            delimiter.len() <= Self::MAX_LEN,
            "a delimiter of {} bytes is over the limit of {}",
            delimiter.len(),
            Self::MAX_LEN
        );
        Self(Delimited::new(Finder::new(delimiter).into_owned()))
    }

    /// Leaves the delimiter in the items.
    pub fn keep_end(mut self) -> Self {
        self.0.end = End::Keep;
        self
    }

    /// Sends nothing for an empty payload, which is thereby lost.
    pub fn skip_empty(mut self) -> Self {
        self.0.empty = Empty::Skip;
        self
    }

    /// Says what bytes after the last delimiter are when the input ends; refused by default.
    pub fn last_without_delimiter(mut self, last: Unterminated) -> Self {
        self.0.last = last;
        self
    }

    /// Sets the longest frame in bytes, both ways, without its delimiter; 64 KiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.0.set_max_frame(bytes);
        self
    }

    /// Sets how many bytes of one frame are discarded before the error is fatal; 1 MiB by default.
    /// At least `max_frame` are.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_skip(mut self, bytes: usize) -> Self {
        self.0.set_max_skip(bytes);
        self
    }
}

impl Decode for Delimiter {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.0.decode(src)
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.0.decode_end(src)
    }

    fn in_frame(&self, src: &[u8]) -> bool {
        self.0.in_frame(src)
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn need(&self) -> usize {
        self.0.need()
    }
}

impl Encode<[u8]> for Delimiter {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.0.check(payload)?;
        if !self.0.skips(payload) {
            out.put_slice(payload);
            self.0.close(out);
        }
        Ok(())
    }
}

impl Encode<Bytes> for Delimiter {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.0.check(payload)?;
        if !self.0.skips(payload) {
            out.put_shared(payload);
            self.0.close(out);
        }
        Ok(())
    }
}

impl Framing for Delimiter {}
