//! What a codec takes at most.

/// Values within values that a codec takes at most, unless said otherwise: containers, and tags.
pub(crate) const DEPTH: usize = 128;

/// The limits of a codec, as it was made; told by [`Decode::limits`](crate::Decode::limits) and
/// [`MessageCodec::limits`](crate::MessageCodec::limits). What does not apply to it is `None`.
///
/// Each has a default and a method that sets it.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, Framing, LengthDelimited, Raw};
///
/// let codec = LengthDelimited::u32().max_frame(4096).with(Raw::new());
/// assert_eq!(codec.limits().max_frame, Some(4096));
/// assert_eq!(codec.limits().max_depth, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a payload, without header and delimiter, both ways.
    pub max_frame: Option<usize>,
    /// Bytes of one frame that are thrown away before the error is fatal.
    pub max_skip: Option<usize>,
    /// Bytes that may come out of compressed data.
    pub max_output: Option<usize>,
    /// How many times as long as compressed data what comes out of it may be, once that passes 64 KiB.
    pub max_ratio: Option<usize>,
    /// Bytes of one compressed frame that tells its own end.
    pub max_compressed: Option<usize>,
    /// Values within values.
    pub max_depth: Option<usize>,
    /// Headers of a message.
    pub max_headers: Option<usize>,
    /// Bytes of all headers of a message.
    pub max_header_bytes: Option<usize>,
}

impl Limits {
    /// Of a codec with these limits around one with those: of two that are alike, what is met first.
    pub fn around(self, inner: Limits) -> Limits {
        Limits {
            max_frame: self.max_frame.or(inner.max_frame),
            max_skip: self.max_skip.or(inner.max_skip),
            max_output: self.max_output.or(inner.max_output),
            max_ratio: self.max_ratio.or(inner.max_ratio),
            max_compressed: self.max_compressed.or(inner.max_compressed),
            max_depth: self.max_depth.or(inner.max_depth),
            max_headers: self.max_headers.or(inner.max_headers),
            max_header_bytes: self.max_header_bytes.or(inner.max_header_bytes),
        }
    }
}
