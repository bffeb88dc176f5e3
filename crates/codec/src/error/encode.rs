//! Errors of encoders.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::Encoding;

/// Why a value could not be encoded. Nothing of it was written.
///
/// The message may be that of a value which refused to be serialised, and quote what that quotes.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Encode, EncodeErrorKind, LengthDelimited, OutputBatch};
///
/// let mut batch = OutputBatch::new();
/// let error = LengthDelimited::u8().encode(&[0; 256][..], &mut batch).unwrap_err();
/// assert_eq!(error.kind(), EncodeErrorKind::TooLong { limit: 255, actual: 256 });
/// assert!(batch.is_empty());
/// ```
#[derive(Clone)]
pub struct EncodeError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: EncodeErrorKind,
    message: Option<Cow<'static, str>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What is wrong with the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The payload is longer than the limit, or than its header can say.
    TooLong {
        /// The limit, in bytes of payload.
        limit: usize,
        /// The length of the payload.
        actual: usize,
    },
    /// The payload is shorter than what the header's adjustment takes off.
    TooShort {
        /// The shortest payload, in bytes.
        minimum: usize,
        /// The length of the payload.
        actual: usize,
    },
    /// The format cannot express the value, or the value refused to be serialised.
    Value,
    /// The value is nested deeper than the same limit lets it be decoded.
    Depth {
        /// The limit, in values inside one another.
        limit: usize,
    },
    /// The text has characters the stated encoding lacks.
    Text {
        /// The encoding.
        encoding: Encoding,
    },
    /// The payload contains the delimiter that would end its frame early.
    Delimiter {
        /// Where in the payload, in bytes.
        at: usize,
    },
    /// A payload of another size than the one there can be.
    Size {
        /// The size due, in bytes.
        expected: usize,
        /// The size of the payload.
        actual: usize,
    },
    /// A converter refused the message.
    Convert,
}

impl fmt::Display for EncodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLong { limit, actual } => {
                write!(
                    f,
                    "a payload of {actual} bytes is over the limit of {limit}"
                )
            }
            Self::TooShort { minimum, actual } => {
                write!(
                    f,
                    "a payload of {actual} bytes is under the minimum of {minimum}"
                )
            }
            Self::Value => f.write_str("the format cannot express the value"),
            Self::Depth { limit } => write!(f, "a message is nested deeper than {limit}"),
            Self::Text { encoding } => write!(f, "{encoding} cannot express the text"),
            Self::Delimiter { at } => {
                write!(f, "the payload contains its own delimiter at byte {at}")
            }
            Self::Size { expected, actual } => {
                write!(f, "a payload of {actual} bytes where {expected} are due")
            }
            Self::Convert => f.write_str("the message could not be converted"),
        }
    }
}

impl EncodeError {
    /// An error of this kind.
    pub fn new(kind: EncodeErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            message: None,
            source: None,
        }))
    }

    /// The same, with a sentence on what is wrong.
    #[must_use = "this returns the changed error"]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// The same, caused by `source`.
    #[must_use = "this returns the changed error"]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> EncodeErrorKind {
        self.0.kind
    }

    /// The limit that was passed, if it was one.
    pub fn limit(&self) -> Option<usize> {
        match self.0.kind {
            EncodeErrorKind::TooLong { limit, .. } | EncodeErrorKind::Depth { limit } => {
                Some(limit)
            }
            _ => None,
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)?;
        match &self.0.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodeError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for EncodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
