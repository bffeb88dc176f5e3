//! MessagePack through rmp-serde.

use std::marker::PhantomData;

use bytes::{BufMut, BytesMut};
use rmp_serde::decode::Error as Refusal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::depth::{EncodeDepth, Nesting};
use super::quote;
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// Messages as MessagePack, the fields of a struct by name unless [`compact`](Self::compact).
///
/// Either form is decoded. Nesting beyond 128, or [`max_depth`](Self::max_depth), is
/// [`Depth`](DecodeErrorKind::Depth).
///
/// # Examples
///
/// ```
/// use bowline_codec::Msgpack;
/// use bytes::BytesMut;
///
/// let codec = Msgpack::<(u8, String)>::new();
/// let mut frame = BytesMut::new();
/// codec.encode(&(7, "a".into()), &mut frame)?;
/// assert_eq!(&frame[..], b"\x92\x07\xa1a");
/// assert_eq!(codec.decode(&frame)?, (7, "a".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Msgpack<T> {
    fields: Fields,
    max_depth: usize,
    diagnostics: usize,
    marker: PhantomData<fn() -> T>,
}

#[derive(Clone, Copy, Debug)]
enum Fields {
    Named,
    Positional,
}

impl<T> Msgpack<T> {
    /// The codec of messages of type `T`.
    pub const fn new() -> Self {
        Self {
            fields: Fields::Named,
            max_depth: Nesting::DEFAULT,
            diagnostics: 0,
            marker: PhantomData,
        }
    }

    /// Writes the fields of a struct by position, as an array: shorter, but bound to their order.
    pub fn compact(mut self) -> Self {
        self.fields = Fields::Positional;
        self
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
        let message = &depth.within(message);
        let mut writer = (&mut *out).writer();
        let written = match self.fields {
            Fields::Named => rmp_serde::encode::write_named(&mut writer, message),
            Fields::Positional => rmp_serde::encode::write(&mut writer, message),
        };
        written.map_err(|error| {
            out.truncate(before);
            depth.refused(|| {
                EncodeError::new(EncodeErrorKind::Value).with_message(error.to_string())
            })
        })
    }

    /// As [`MessageCodec::decode`](crate::MessageCodec::decode), for a type that can only be deserialised.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind`] `Syntax` if the frame is not MessagePack or not a `T`, `Depth` and
    /// `Trailing`.
    pub fn decode(&self, frame: &[u8]) -> Result<T, DecodeError>
    where
        T: DeserializeOwned,
    {
        let mut deserializer = rmp_serde::Deserializer::new(frame);
        // Its own limit counts as ours does, or less; it has to be some.
        deserializer.set_max_depth(usize::MAX);
        let nesting = Nesting::of(frame.len(), self.max_depth);
        let message = T::deserialize(nesting.limit(&mut deserializer))
            .map_err(|error| self.refused(frame, deserializer.get_ref(), &nesting, &error))?;
        match deserializer.get_ref().len() {
            0 => Ok(message),
            extra => Err(DecodeError::new(DecodeErrorKind::Trailing { extra })),
        }
    }

    fn refused(&self, frame: &[u8], rest: &[u8], nesting: &Nesting, why: &Refusal) -> DecodeError {
        let column = frame.len() - rest.len();
        let kind = nesting.exceeded().unwrap_or(match why {
            Refusal::DepthLimitExceeded => DecodeErrorKind::Depth {
                limit: self.max_depth,
            },
            _ => DecodeErrorKind::Syntax { line: 0, column },
        });
        let refusal = DecodeError::new(kind);
        match self.diagnostics {
            0 => refusal,
            bytes => refusal.with_message(quote(&why.to_string(), bytes)),
        }
    }
}

payload_codec!(Msgpack {
    fields,
    max_depth,
    diagnostics
});
