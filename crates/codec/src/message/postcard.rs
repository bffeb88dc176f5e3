//! Postcard: small, fast and not self-describing.

use std::marker::PhantomData;

use bytes::BytesMut;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::depth::{EncodeDepth, Nesting};
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// Messages as postcard: varints and lengths, no names and no types.
///
/// Both ends must mean the same type: bytes of another type may decode to a wrong value without an
/// error. Nesting beyond 128, or [`max_depth`](Self::max_depth), is [`Depth`](DecodeErrorKind::Depth).
///
/// A sequence of values that take no bytes, as `Vec<()>`, can be declared of any length in a few
/// bytes; such a type is not for messages from a peer that is not trusted.
///
/// # Examples
///
/// ```
/// use bowline_codec::Postcard;
/// use bytes::BytesMut;
///
/// let codec = Postcard::<(u16, String)>::new();
/// let mut frame = BytesMut::new();
/// codec.encode(&(300, "a".into()), &mut frame)?;
/// assert_eq!(&frame[..], b"\xac\x02\x01a");
/// assert_eq!(codec.decode(&frame)?, (300, "a".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Postcard<T> {
    max_depth: usize,
    marker: PhantomData<fn() -> T>,
}

impl<T> Postcard<T> {
    /// The codec of messages of type `T`.
    pub const fn new() -> Self {
        Self {
            max_depth: Nesting::DEFAULT,
            marker: PhantomData,
        }
    }

    /// Sets how many values may be inside one another, both ways; 128 by default.
    ///
    /// Arrays and objects count, enum variants with a payload, and what is inside of `Some` and of a
    /// newtype. Each level takes some of the stack.
    ///
    /// # Panics
    ///
    /// If `levels` is zero.
    pub fn max_depth(mut self, levels: usize) -> Self {
        assert!(levels > 0, "max_depth must not be zero");
        self.max_depth = levels;
        self
    }

    /// As [`MessageCodec::encode`](crate::MessageCodec::encode), for a type that can only be serialised.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind`] `Value` if `message` refuses, or has a sequence of unknown length; `Depth`.
    pub fn encode(&self, message: &T, out: &mut BytesMut) -> Result<(), EncodeError>
    where
        T: Serialize,
    {
        let before = out.len();
        let depth = EncodeDepth::of(self.max_depth);
        let message = &depth.within(message);
        postcard::serialize_with_flavor(message, Appending(out)).map_err(|error| {
            out.truncate(before);
            depth.refused(|| EncodeError::new(EncodeErrorKind::Value).with_source(error))
        })
    }

    /// As [`MessageCodec::decode`](crate::MessageCodec::decode), for a type that can only be deserialised.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind`] `Syntax`, without a place, if the frame is no `T`; `Depth` and
    /// `Trailing`.
    pub fn decode(&self, frame: &[u8]) -> Result<T, DecodeError>
    where
        T: DeserializeOwned,
    {
        self.decode_with(PhantomData::<T>, frame)
    }

    /// As [`decode`](Self::decode), with what makes the message: one that borrows from the frame, or that
    /// needs more than its type to be made.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::marker::PhantomData;
    ///
    /// use bowline_codec::Postcard;
    ///
    /// let frame = *b"\x01a\x02bc";
    /// let borrowed = Postcard::<(&str, &[u8])>::new().decode_with(PhantomData, &frame)?;
    /// assert_eq!(borrowed, ("a", &b"bc"[..]));
    /// # Ok::<(), bowline_codec::DecodeError>(())
    /// ```
    pub fn decode_with<'de, S>(&self, seed: S, frame: &'de [u8]) -> Result<T, DecodeError>
    where
        S: DeserializeSeed<'de, Value = T>,
    {
        let mut deserializer = postcard::Deserializer::from_bytes(frame);
        let nesting = Nesting::of(frame.len(), self.max_depth);
        let refused = |error: postcard::Error| {
            let syntax = DecodeErrorKind::Syntax { line: 0, column: 0 };
            let kind = nesting.exceeded().unwrap_or(syntax);
            // Safe to show: postcard's errors are a plain enum and quote nothing.
            DecodeError::new(kind).with_source(error)
        };
        let limited = nesting.limit(&mut deserializer);
        let message = seed.deserialize(limited).map_err(refused)?;
        match deserializer.finalize().map_err(refused)?.len() {
            0 => Ok(message),
            extra => Err(DecodeError::new(DecodeErrorKind::Trailing { extra })),
        }
    }
}

/// Postcard's own `Vec` and `Extend` outputs push byte by byte; this one copies slices.
struct Appending<'a>(&'a mut BytesMut);

impl Flavor for Appending<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.extend_from_slice(&[data]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

payload_codec!(Postcard { max_depth });
