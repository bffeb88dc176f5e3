//! How arguments and replies travel: three payload formats and their numbers on the wire.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encoded values up to this size take one exact allocation.
const SMALL: usize = 256;

/// The format of arguments and replies.
///
/// Typed calls use [`Postcard`](Codec::Postcard): compact, but it carries no types, so both sides
/// have to be compiled from the same declaration. Calls by name use
/// [`MessagePack`](Codec::MessagePack), where a type error is found and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// postcard; not self-describing.
    Postcard,
    /// MessagePack, fields by name; self-describing.
    MessagePack,
    /// JSON; self-describing text.
    Json,
}

impl Codec {
    /// Its number on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Codec::Postcard => 1,
            Codec::MessagePack => 2,
            Codec::Json => 3,
        }
    }

    /// The codec of a number on the wire.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Codec::Postcard),
            2 => Some(Codec::MessagePack),
            3 => Some(Codec::Json),
            _ => None,
        }
    }

    pub(crate) fn encode<T: Serialize>(self, value: &T) -> Result<Bytes, FormatError> {
        match self {
            Codec::Postcard => {
                let mut small = [0; SMALL];
                match postcard::to_slice(value, &mut small) {
                    Ok(written) => Ok(Bytes::copy_from_slice(written)),
                    Err(postcard::Error::SerializeBufferFull) => postcard::to_stdvec(value)
                        .map(Bytes::from)
                        .map_err(FormatError::new),
                    Err(error) => Err(FormatError::new(error)),
                }
            }
            Codec::MessagePack => rmp_serde::to_vec_named(value)
                .map(Bytes::from)
                .map_err(FormatError::new),
            Codec::Json => serde_json::to_vec(value)
                .map(Bytes::from)
                .map_err(FormatError::new),
        }
    }

    /// Decodes a value that takes up all of `body`.
    pub(crate) fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, FormatError> {
        let (value, rest) = match self {
            Codec::Postcard => {
                let (value, rest) = postcard::take_from_bytes(body).map_err(FormatError::new)?;
                (value, rest.len())
            }
            Codec::MessagePack => {
                let mut rest = body;
                let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
                    .map_err(FormatError::new)?;
                (value, rest.len())
            }
            Codec::Json => (serde_json::from_slice(body).map_err(FormatError::new)?, 0),
        };
        if rest == 0 {
            Ok(value)
        } else {
            Err(FormatError(format!("{rest} bytes follow the value")))
        }
    }
}

/// Why a value did not encode or decode, as text.
#[derive(Clone, Debug)]
pub(crate) struct FormatError(String);

impl FormatError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_worth_in_every_codec() {
        let value = (1_i64, String::from("two"), vec![3_u8; 500], Some(true));
        for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
            let body = codec.encode(&value).unwrap();
            let back: (i64, String, Vec<u8>, Option<bool>) = codec.decode(&body).unwrap();
            assert_eq!(back, value);
            assert_eq!(Codec::from_id(codec.id()), Some(codec));
        }
    }

    #[test]
    fn bytes_after_the_value_are_refused() {
        for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
            let mut body = codec.encode(&7_u8).unwrap().to_vec();
            body.push(b'7');
            let longer: Result<u8, _> = codec.decode(&body);
            assert!(longer.is_err() || matches!((codec, longer), (Codec::Json, Ok(77))));
        }
    }
}
