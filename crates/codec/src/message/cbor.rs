//! CBOR through minicbor.

use std::marker::PhantomData;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::depth::{EncodeDepth, Nesting};
use super::quote;
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// Messages as CBOR, RFC 8949, the fields of a struct by name, `None` and units as null. An empty array
/// is read as a unit as well.
///
/// Nesting beyond 128, or [`max_depth`](Self::max_depth), is
/// [`Depth`](DecodeErrorKind::Depth).
///
/// # Examples
///
/// ```
/// use bowline_codec::Cbor;
/// use bytes::BytesMut;
///
/// let codec = Cbor::<(u8, String)>::new();
/// let mut frame = BytesMut::new();
/// codec.encode(&(7, "a".into()), &mut frame)?;
/// assert_eq!(&frame[..], b"\x82\x07\x61a");
/// assert_eq!(codec.decode(&frame)?, (7, "a".into()));
/// assert_eq!(Cbor::<()>::new().decode(b"\xf6")?, ()); // a null
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cbor<T> {
    max_depth: usize,
    diagnostics: usize,
    marker: PhantomData<fn() -> T>,
}

impl<T> Cbor<T> {
    /// The codec of messages of type `T`.
    pub const fn new() -> Self {
        Self {
            max_depth: Nesting::DEFAULT,
            diagnostics: 0,
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

    /// Lets decode errors carry up to `bytes` of serde's description, which may quote the payload.
    ///
    /// None by default; at most 256.
    pub fn diagnostics(mut self, bytes: usize) -> Self {
        self.diagnostics = bytes;
        self
    }

    /// As [`MessageCodec::encode`](crate::MessageCodec::encode), for a type that can only be serialised.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind`] `Value` if `message` refuses, `Depth`.
    pub fn encode(&self, message: &T, out: &mut BytesMut) -> Result<(), EncodeError>
    where
        T: Serialize,
    {
        let before = out.len();
        let depth = EncodeDepth::of(self.max_depth);
        let mut serializer = minicbor_serde::Serializer::new(Appending(out));
        serializer.serialize_unit_as_null(true);
        let written = depth.within(message).serialize(&mut serializer);
        written.map_err(|error| {
            out.truncate(before);
            depth.refused(|| {
                EncodeError::new(EncodeErrorKind::Value).with_message(error.to_string())
            })
        })?;
        Ok(())
    }

    /// As [`MessageCodec::decode`](crate::MessageCodec::decode), for a type that can only be deserialised.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind`] `Syntax` if the frame is not CBOR or not a `T`, `Depth` and `Trailing`.
    pub fn decode(&self, frame: &[u8]) -> Result<T, DecodeError>
    where
        T: DeserializeOwned,
    {
        let mut deserializer = minicbor_serde::Deserializer::new(frame);
        let nesting = Nesting::of(frame.len(), self.max_depth).with_null_units();
        let message = T::deserialize(nesting.limit(&mut deserializer));
        let column = deserializer.decoder().position();
        match message {
            Ok(message) if column == frame.len() => Ok(message),
            Ok(_) => Err(DecodeError::new(DecodeErrorKind::Trailing {
                extra: frame.len() - column,
            })),
            Err(error) => {
                let syntax = DecodeErrorKind::Syntax { line: 0, column };
                let refusal = DecodeError::new(nesting.exceeded().unwrap_or(syntax));
                Err(match self.diagnostics {
                    0 => refusal,
                    bytes => refusal.with_message(quote(&error.to_string(), bytes)),
                })
            }
        }
    }
}

/// What minicbor writes to.
struct Appending<'a>(&'a mut BytesMut);

impl minicbor::encode::Write for Appending<'_> {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

payload_codec!(Cbor {
    max_depth,
    diagnostics
});
