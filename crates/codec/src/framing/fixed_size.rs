//! Frames that all have one size.

use bytes::{Bytes, BytesMut};

use super::enclosed::{Enclose, encloses};
use super::place::Place;
use super::take_frame;
use crate::{Decode, DecodeError, EncodeError, EncodeErrorKind, Limits, OutputBatch};

/// Frames of one size, with nothing between them.
///
/// The size is the only limit there is. A payload of another size is refused.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, FixedSize};
/// use bytes::BytesMut;
///
/// let mut frames = FixedSize::new(3);
/// let mut input = BytesMut::from("abcde");
/// assert_eq!(frames.decode(&mut input)?.as_deref(), Some(&b"abc"[..]));
/// assert_eq!((frames.decode(&mut input)?, frames.need()), (None, 1));
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
// Invariants
// X1 `need` is `size` less what was there of the frame at the last `Ok(None)`; never 0.
#[derive(Clone, Debug)]
pub struct FixedSize {
    size: usize,
    need: usize,
    place: Place,
}

impl FixedSize {
    /// Frames of `bytes` bytes.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn new(bytes: usize) -> Self {
        assert!(bytes > 0, "a frame must not be empty");
        Self {
            size: bytes,
            need: bytes,
            place: Place::default(),
        }
    }

    /// The size of every frame, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Decode for FixedSize {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        if src.len() < self.size {
            self.need = self.size - src.len();
            return Ok(None);
        }
        self.need = self.size;
        self.place.finish(self.size);
        Ok(Some(take_frame(src, self.size)))
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        match self.decode(src)? {
            Some(frame) => Ok(Some(frame)),
            None if src.is_empty() => Ok(None),
            None => Err(self.place.truncated(src.len(), self.need)),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.size),
            ..Limits::default()
        }
    }

    fn need(&self) -> usize {
        self.need
    }
}

impl Enclose for FixedSize {
    #[inline]
    fn open(&self, actual: usize, _: &mut OutputBatch) -> Result<(), EncodeError> {
        let expected = self.size;
        if actual == expected {
            Ok(())
        } else {
            Err(EncodeError::new(EncodeErrorKind::Size { expected, actual }))
        }
    }
}

encloses!(FixedSize);
