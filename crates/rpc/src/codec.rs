//! How arguments and replies travel: payload formats and their numbers on the wire.

mod private;

pub(crate) use private::FIRST_PRIVATE;
pub use private::{PayloadCodec, PayloadError, PrivateCodec};

use std::cell::RefCell;
use std::fmt;

use bowline_codec::{Json, Msgpack, Postcard};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::small_bodies::SmallBodies;

/// Encoded values up to this size take one exact allocation or none.
const SMALL: usize = 256;
/// Bytes of a description of what did not decode.
const DIAGNOSTICS: usize = 256;

thread_local! {
    /// What small values are encoded to, on each thread behind each other.
    static ENCODED: RefCell<SmallBodies> = RefCell::default();
}

/// The format of arguments and replies.
///
/// Typed calls use [`Postcard`](Codec::Postcard): compact, but it carries no types. So one for a method
/// whose types are written otherwise at the other side goes in another format that the two have,
/// [`MessagePack`](Codec::MessagePack) or [`Json`](Codec::Json), where a type error is found and reported; if
/// they have none it is [`WrongSchema`](crate::Code::WrongSchema). Calls by name use MessagePack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// postcard; not self-describing.
    Postcard,
    /// MessagePack, fields by name; self-describing.
    MessagePack,
    /// JSON; self-describing text.
    Json,
    /// One of your own.
    Private(PrivateCodec),
}

impl Codec {
    /// Its number on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Codec::Postcard => 1,
            Codec::MessagePack => 2,
            Codec::Json => 3,
            Codec::Private(codec) => codec.id,
        }
    }

    /// The codec of a number on the wire; none of those of your own, which a broker
    /// [is given](crate::TcpBrokerBuilder::codecs).
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
                    Ok(written) => Ok(ENCODED.with_borrow_mut(|bodies| bodies.copy(written))),
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
            Codec::Private(codec) => {
                codec.wrap(&rmp_serde::to_vec_named(value).map_err(FormatError::new)?)
            }
        }
    }

    /// Encodes a value to the front of `room`; how long it is, or none if it does not fit, or not at all.
    /// What else is in `room` is of no use then.
    pub(crate) fn encode_within<T: Serialize>(self, value: &T, room: &mut [u8]) -> Option<usize> {
        let size = room.len();
        match self {
            Codec::Postcard => postcard::to_slice(value, room)
                .ok()
                .map(|written| written.len()),
            Codec::MessagePack => {
                let mut rest = room;
                let written = rmp_serde::encode::write_named(&mut rest, value);
                written.ok().map(|()| size - rest.len())
            }
            Codec::Json => {
                let mut rest = room;
                let written = serde_json::to_writer(&mut rest, value);
                written.ok().map(|()| size - rest.len())
            }
            // It is made of another one, in memory of its own.
            Codec::Private(_) => None,
        }
    }

    /// Decodes a value that takes up all of `body` and nests at most 128 deep.
    pub(crate) fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, FormatError> {
        match self {
            Codec::Postcard => Postcard::<T>::new().decode(body),
            Codec::MessagePack => Msgpack::<T>::new().diagnostics(DIAGNOSTICS).decode(body),
            Codec::Json => Json::<T>::new().diagnostics(DIAGNOSTICS).decode(body),
            Codec::Private(codec) => Msgpack::<T>::new()
                .diagnostics(DIAGNOSTICS)
                .decode(&codec.unwrap(body)?),
        }
        .map_err(FormatError::new)
    }
}

/// Why a value did not encode or decode, as text.
#[derive(Clone, Debug)]
pub(crate) struct FormatError(String);

impl FormatError {
    pub(crate) fn new(error: impl fmt::Display) -> Self {
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
    use crate::executor::AsyncExecutor;
    use crate::{Broker, CallOptions, Code, Error, MemoryBroker, OutCall, Registry, UnknownMethod};
    use bowline_backend::Backend;
    use serde::Deserialize;

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

    /// Decoded by recursion.
    #[derive(Serialize, Deserialize)]
    enum Nested {
        Leaf,
        Node(Box<Nested>),
    }

    #[test]
    fn arguments_nested_too_deeply_are_refused_and_overflow_no_stack() {
        let bodies = [
            (Codec::Postcard, [vec![1; 60_000], vec![0]].concat()),
            (
                Codec::MessagePack,
                [&b"\x91"[..], &b"\x81\xa4Node".repeat(10_000), b"\xa4Leaf"].concat(),
            ),
            (
                Codec::Json,
                [
                    &b"["[..],
                    &b"{\"Node\":".repeat(7500),
                    b"\"Leaf\"",
                    &b"}".repeat(7500),
                    b"]",
                ]
                .concat(),
            ),
        ];
        let registry = Registry::new("example");
        registry
            .register_fn("nest", |(_nested,): (Nested,)| async {})
            .unwrap();
        let broker = MemoryBroker::new(AsyncExecutor::new(registry, 1));
        let called = broker.run(async |broker| -> Result<(), Error> {
            for (codec, body) in bodies {
                let mut options = CallOptions::new(codec);
                options.unknown = UnknownMethod::FailFast;
                let deep = OutCall::new("nest", body.into(), options.clone());
                let error = broker.submit(deep).await.unwrap_err();
                assert_eq!(error.code(), Code::BadArguments, "{codec:?}");
                let body = codec
                    .encode(&(Nested::Node(Box::new(Nested::Leaf)),))
                    .unwrap();
                let shallow = OutCall::new("nest", body, options);
                broker.submit(shallow).await.unwrap();
            }
            Ok(())
        });
        Backend::Tokio.block_on(called).unwrap();
    }
}
