//! Fixed binary structs: every field at its place, every frame of one size.

pub(crate) mod layout;
pub(crate) mod text;

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};

use layout::{BigEndian, ByteOrder, FixedLayout};

use crate::{DecodeError, DecodeErrorKind, EncodeError, FixedSize, Framed, Framing, MessageCodec};

/// Messages as the fields of a `T`, one after another, without padding and without tags.
///
/// Numbers are big-endian, unless `E` is [`LittleEndian`](crate::LittleEndian). `T` is mostly
/// written by [`fixed_layout!`](crate::fixed_layout). A frame of another size than
/// [`T::SIZE`](FixedLayout::SIZE) is [`Size`](DecodeErrorKind::Size).
///
/// # Examples
///
/// ```
/// use bowline_codec::{MessageCodec, Struct, fixed_layout};
/// use bytes::{Bytes, BytesMut};
///
/// fixed_layout! {
///     #[derive(Clone, Debug, PartialEq)]
///     struct Point { x: i32, y: i16 }
/// }
///
/// let codec = Struct::<Point>::new();
/// let mut frame = BytesMut::new();
/// codec.encode(&Point { x: 1, y: -2 }, &mut frame)?;
/// assert_eq!(&frame[..], b"\x00\x00\x00\x01\xff\xfe");
/// assert_eq!(codec.decode(&frame.freeze())?, Point { x: 1, y: -2 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "struct")]
pub struct Struct<T, E = BigEndian> {
    marker: PhantomData<fn() -> (T, E)>,
}

impl<T: FixedLayout, E: ByteOrder> Struct<T, E> {
    /// The codec of messages of type `T`.
    pub const fn new() -> Self {
        Self {
            marker: PhantomData,
        }
    }

    /// These messages on a stream, one right after another.
    ///
    /// # Panics
    ///
    /// If a `T` takes no bytes: such frames cannot be counted.
    pub fn framed(self) -> Framed<FixedSize, Self> {
        FixedSize::new(T::SIZE).with(self)
    }
}

impl<T: FixedLayout, E: ByteOrder> MessageCodec for Struct<T, E> {
    type Sent = T;
    type Received = T;

    fn encode(&self, message: &T, out: &mut BytesMut) -> Result<(), EncodeError> {
        let before = out.len();
        out.reserve(T::SIZE);
        message.write::<E>(out);
        debug_assert_eq!(out.len() - before, T::SIZE, "a layout of another size");
        Ok(())
    }

    fn keeps_frame(&self) -> bool {
        false
    }

    fn decode(&self, frame: &Bytes) -> Result<T, DecodeError> {
        let (expected, actual) = (T::SIZE, frame.len());
        if actual != expected {
            return Err(DecodeError::new(DecodeErrorKind::Size { expected, actual }));
        }
        T::read::<E>(frame, 0)
    }
}

impl<T: FixedLayout, E: ByteOrder> Default for Struct<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Clone for Struct<T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, E> Copy for Struct<T, E> {}

impl<T, E> std::fmt::Debug for Struct<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Struct").finish()
    }
}
