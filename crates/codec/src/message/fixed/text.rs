//! Text in a field of a fixed size.

use std::fmt;
use std::ops::Deref;

use bytes::BytesMut;

use super::layout::{ByteOrder, FixedLayout};
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Encoding};

/// UTF-8 text of at most `N` bytes, padded with NULs to exactly `N`.
///
/// NULs at the end are padding and not part of the text; one in the middle is.
///
/// # Examples
///
/// ```
/// use bowline_codec::FixedStr;
///
/// let name = FixedStr::<8>::new("anna")?;
/// assert_eq!(&*name, "anna");
/// assert!(FixedStr::<8>::new("bartholomew").is_err());
/// # Ok::<(), bowline_codec::EncodeError>(())
/// ```
// Invariants
// T1 `bytes[..len]` is UTF-8 that does not end in NUL, and the rest of `bytes` is NUL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixedStr<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> FixedStr<N> {
    /// The field that holds `text`, whose NULs at the end, if it has some, are padding.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind::TooLong`] if it takes more than `N` bytes.
    pub fn new(text: &str) -> Result<Self, EncodeError> {
        let text = text.trim_end_matches('\0');
        let mut bytes = [0; N];
        let (limit, actual) = (N, text.len());
        match bytes.get_mut(..actual) {
            Some(start) => start.copy_from_slice(text.as_bytes()),
            None => return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual })),
        }
        Ok(Self { bytes, len: actual })
    }

    /// The text, without padding.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("checked when it was made")
    }
}

impl<const N: usize> Default for FixedStr<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }
}

impl<const N: usize> Deref for FixedStr<N> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> fmt::Debug for FixedStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for FixedStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl<const N: usize> FixedLayout for FixedStr<N> {
    const SIZE: usize = N;

    fn write<E: ByteOrder>(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.bytes);
    }

    fn read<E: ByteOrder>(frame: &[u8], at: usize) -> Result<Self, DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&frame[at..at + N]);
        let len = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        match std::str::from_utf8(&bytes[..len]) {
            Ok(_) => Ok(Self { bytes, len }),
            Err(error) => Err(DecodeError::new(DecodeErrorKind::Text {
                encoding: Encoding::Utf8,
                valid_up_to: at + error.valid_up_to(),
            })),
        }
    }
}
