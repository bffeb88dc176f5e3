//! Errors of decoders.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::Encoding;

/// Why bytes could not be decoded, and what that cost.
///
/// Cloning is cheap enough for what it serves: a fatal error is returned again by every later
/// call. An error carries no bytes of the payload, which may be secret, except for those that a codec was
/// allowed to quote by its `diagnostics`: at most 256, escaped.
///
/// # Examples
///
/// A codec of your own makes its errors from a kind:
///
/// ```
/// use bowline_codec::{DecodeError, DecodeErrorKind};
///
/// let error = DecodeError::new(DecodeErrorKind::Size { expected: 8, actual: 5 });
/// assert!(error.is_recoverable());
/// assert_eq!(error.to_string(), "a frame of 5 bytes where 8 are due");
/// ```
#[derive(Clone)]
pub struct DecodeError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: DecodeErrorKind,
    recoverable: bool,
    in_frame: bool,
    offset: u64,
    skipped: u64,
    message: Option<Cow<'static, str>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A frame or document passes its limit.
    TooLong {
        /// The limit, in bytes of payload.
        limit: usize,
        /// The length of the payload, if a header said so.
        declared: Option<u64>,
    },
    /// A length that cannot be: not canonical, not a number, overflowing, or below its adjustment.
    BadLength,
    /// The form of the frame itself is wrong.
    BadFrame,
    /// The input ended inside a frame.
    Truncated {
        /// Bytes of the frame that came, header included.
        have: usize,
        /// Bytes it takes at least, header included.
        need: usize,
    },
    /// Bytes are not of the stated text encoding.
    Text {
        /// The encoding that was due.
        encoding: Encoding,
        /// How many bytes of the frame are.
        valid_up_to: usize,
    },
    /// The message codec refused the frame: a mistake of its grammar, or something that it does not
    /// know, such as an unknown tag or variant.
    Syntax {
        /// Line of the fault, from 1; 0 where the format has no lines.
        line: usize,
        /// Column of the fault in bytes, from 1; bytes read up to the fault where the format has
        /// no lines; 0 where the place is not known.
        column: usize,
    },
    /// The message is nested deeper than allowed.
    Depth {
        /// How deep is allowed.
        limit: usize,
    },
    /// The message ended before its frame did.
    Trailing {
        /// Bytes of the frame that were left over.
        extra: usize,
    },
    /// A frame of another size than the one there can be.
    Size {
        /// The size due, in bytes.
        expected: usize,
        /// The size of the frame, in bytes.
        actual: usize,
    },
    /// A checksum, a signature or its encoding is wrong; never says which.
    Integrity,
    /// Compressed data is corrupt.
    Inflate,
    /// Compressed data grows beyond its output or ratio limit.
    Expansion {
        /// The limit, in bytes of output.
        limit: usize,
    },
    /// A converter refused the decoded value.
    Convert,
}

impl DecodeErrorKind {
    /// Whether an error of this kind leaves the next frame findable, unless said otherwise.
    fn usually_recoverable(self) -> bool {
        match self {
            Self::TooLong { .. } | Self::BadLength | Self::BadFrame | Self::Truncated { .. } => {
                false
            }
            Self::Text { .. }
            | Self::Syntax { .. }
            | Self::Depth { .. }
            | Self::Trailing { .. }
            | Self::Size { .. }
            | Self::Integrity
            | Self::Inflate
            | Self::Expansion { .. }
            | Self::Convert => true,
        }
    }
}

/// So many bytes, in words.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte"),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLong {
                limit,
                declared: Some(declared),
            } => {
                write!(
                    f,
                    "a frame of {declared} bytes is over the limit of {limit}"
                )
            }
            Self::TooLong {
                limit,
                declared: None,
            } => {
                write!(f, "a frame is over the limit of {limit} bytes")
            }
            Self::BadLength => f.write_str("a frame's length is malformed"),
            Self::BadFrame => f.write_str("a frame is malformed"),
            Self::Truncated { have, need } => {
                write!(
                    f,
                    "the input ended after {} of a frame that takes {need}",
                    Bytes(have as u64)
                )
            }
            Self::Text {
                encoding,
                valid_up_to,
            } => {
                write!(f, "not {encoding} after {}", Bytes(valid_up_to as u64))
            }
            Self::Syntax { line: 0, column: 0 } => f.write_str("a message is malformed"),
            Self::Syntax { line: 0, column } => {
                write!(f, "a message is malformed after {}", Bytes(column as u64))
            }
            Self::Syntax { line, column } => {
                write!(f, "a message is malformed at line {line}, column {column}")
            }
            Self::Depth { limit } => write!(f, "a message is nested deeper than {limit}"),
            Self::Trailing { extra } => {
                write!(f, "{} left over after a message", Bytes(extra as u64))
            }
            Self::Size { expected, actual } => {
                let actual = Bytes(actual as u64);
                write!(f, "a frame of {actual} where {expected} are due")
            }
            Self::Integrity => f.write_str("a message is not authentic"),
            Self::Inflate => f.write_str("compressed data is corrupt"),
            Self::Expansion { limit } => {
                write!(
                    f,
                    "compressed data expands beyond the limit of {limit} bytes"
                )
            }
            Self::Convert => f.write_str("a message could not be converted"),
        }
    }
}

impl DecodeError {
    /// An error of this kind at offset 0 that used up nothing.
    ///
    /// It is [recoverable](Self::is_recoverable) if its kind usually is: all are except
    /// `TooLong`, `BadLength`, `BadFrame` and `Truncated`.
    pub fn new(kind: DecodeErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            recoverable: kind.usually_recoverable(),
            in_frame: false,
            offset: 0,
            skipped: 0,
            message: None,
            source: None,
        }))
    }

    /// The input ended after `have` of the at least `need` bytes of a frame.
    ///
    /// It uses up the `have` bytes.
    pub(crate) fn truncated(have: usize, need: usize) -> Self {
        Self::new(DecodeErrorKind::Truncated { have, need }).with_skipped(have as u64)
    }

    /// The same, said to be recoverable: the codec knows where the next frame starts.
    #[must_use = "this returns the changed error"]
    pub fn recoverable(mut self) -> Self {
        self.0.recoverable = true;
        self
    }

    /// The same, said to be fatal: the codec cannot find the next frame.
    #[must_use = "this returns the changed error"]
    pub fn fatal(mut self) -> Self {
        self.0.recoverable = false;
        self
    }

    /// The same of a frame that a framing had found.
    #[must_use = "this returns the changed error"]
    pub(crate) fn in_frame(mut self) -> Self {
        self.0.in_frame = true;
        self
    }

    /// The same, with where in the stream the offending frame starts.
    #[must_use = "this returns the changed error"]
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.0.offset = offset;
        self
    }

    /// The same, with how many bytes of input it used up.
    #[must_use = "this returns the changed error"]
    pub fn with_skipped(mut self, skipped: u64) -> Self {
        self.0.skipped = skipped;
        self
    }

    /// The same, with a sentence on what is wrong. It must not quote the payload.
    #[must_use = "this returns the changed error"]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// The same, caused by `source`, which must not quote the payload.
    #[must_use = "this returns the changed error"]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> DecodeErrorKind {
        self.0.kind
    }

    /// The limit that was passed, if it was one.
    pub fn limit(&self) -> Option<usize> {
        match self.0.kind {
            DecodeErrorKind::TooLong { limit, .. }
            | DecodeErrorKind::Depth { limit }
            | DecodeErrorKind::Expansion { limit } => Some(limit),
            _ => None,
        }
    }

    /// Whether the codec knows where the next frame starts, so that `decode` may go on.
    ///
    /// If not, the error is *fatal*: every later `decode` returns it again.
    pub fn is_recoverable(&self) -> bool {
        self.0.recoverable
    }

    /// Whether a framing had found the frame, and what is in it was refused: it stands for exactly one
    /// message.
    ///
    /// What a framing refuses itself may be none, as noise before the next frame, or several.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_codec::{Cobs, Decode, Framing, Text};
    /// use bytes::BytesMut;
    ///
    /// let mut frames = Cobs::new().with(Text::new());
    /// let mut input = BytesMut::from(&b"\x05\x01\0\x02\xff\0"[..]);
    /// let noise = frames.decode(&mut input).unwrap_err();
    /// assert!(!noise.is_in_frame());
    /// let no_text = frames.decode(&mut input).unwrap_err();
    /// assert!(no_text.is_in_frame());
    /// ```
    pub fn is_in_frame(&self) -> bool {
        self.0.in_frame
    }

    /// Where the offending frame starts, in bytes from the start of the stream.
    ///
    /// 0 from a message codec used alone, whose frame is all there is.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    /// Bytes of input this error used up, framing included.
    ///
    /// 0 for a fatal error in mid-stream: nothing from [`offset`](Self::offset) on is used.
    pub fn skipped(&self) -> u64 {
        self.0.skipped
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)?;
        match &self.0.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("DecodeError")
            .field("kind", &inner.kind)
            .field("recoverable", &inner.recoverable)
            .field("in_frame", &inner.in_frame)
            .field("offset", &inner.offset)
            .field("skipped", &inner.skipped)
            .field("message", &inner.message)
            .field("source", &inner.source)
            .finish()
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_is_one_byte() {
        let column = |column| DecodeErrorKind::Syntax { line: 0, column }.to_string();
        assert_eq!(column(1), "a message is malformed after 1 byte");
        assert_eq!(column(2), "a message is malformed after 2 bytes");
        let left = DecodeErrorKind::Trailing { extra: 1 };
        assert_eq!(left.to_string(), "1 byte left over after a message");
        for (encoding, name) in [(Encoding::Utf8, "UTF-8"), (Encoding::Ascii, "ASCII")] {
            let text = DecodeErrorKind::Text {
                encoding,
                valid_up_to: 1,
            };
            assert_eq!(text.to_string(), format!("not {name} after 1 byte"));
        }
        let (expected, actual) = (8, 1);
        let size = DecodeErrorKind::Size { expected, actual };
        assert_eq!(size.to_string(), "a frame of 1 byte where 8 are due");
    }
}
