//! What is encoded is decoded with the same limit of nesting, and what would not be is refused.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use bowline_codec::{
    Base64, BinaryMessage, Cbor, CborFraming, Codec, ConvertFn, DecodeErrorKind, EncodeErrorKind,
    Framing, HeaderLimits, Headers, HttpMessage, Json, JsonFraming, JsonMessage, Lz4, Message,
    MessageCodec, Msgpack, MsgpackFraming, Netstring, OutputBatch, Postcard, Stapled, Zlib,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of each kind that serde has, with others inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Number(i64),
    Flags(Flags),
    Octets(Octets),
    Maybe(Option<Box<Shape>>),
    Wrapped(Box<Newtype>),
    List(Vec<Shape>),
    Two(Box<Shape>, Box<Shape>),
    Pair(Box<(Shape, Shape)>),
    Struct(Box<Positions>),
    Named { only: Box<Shape> },
    Record(Box<Record>),
    Map(BTreeMap<Name, Shape>),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Flags;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Shape);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Positions(Shape, u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    text: String,
    inner: Shape,
}

/// A key that is a level of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Name(String);

/// Bytes as such, which JSON has as numbers in a list.
#[derive(Clone, Debug, PartialEq)]
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Octets, E> {
                Ok(Octets(bytes.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Octets, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Octets(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Any)
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Nothing),
        any::<i64>().prop_map(Shape::Number),
        Just(Shape::Flags(Flags)),
        vec(any::<u8>(), 0..3).prop_map(|bytes| Shape::Octets(Octets(bytes))),
        Just(Shape::Maybe(None)),
    ];
    leaf.prop_recursive(6, 24, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(|inner| Shape::Maybe(Some(inner))),
            inner
                .clone()
                .prop_map(|it| Shape::Wrapped(Box::new(Newtype(it)))),
            vec(inner.clone(), 0..3).prop_map(Shape::List),
            (boxed.clone(), boxed.clone()).prop_map(|(one, two)| Shape::Two(one, two)),
            (inner.clone(), inner.clone()).prop_map(|pair| Shape::Pair(Box::new(pair))),
            inner
                .clone()
                .prop_map(|it| Shape::Struct(Box::new(Positions(it, 7)))),
            boxed.prop_map(|only| Shape::Named { only }),
            inner.clone().prop_map(|inner| {
                let text = "text".to_owned();
                Shape::Record(Box::new(Record { text, inner }))
            }),
            btree_map("[a-c]".prop_map(Name), inner, 0..3).prop_map(Shape::Map),
        ]
    })
}

/// JSON with values inside one another.
fn documents() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from)];
    leaf.prop_recursive(5, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map("[a-c]", inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Deeper than anything here.
const DEEP: usize = 1000;

/// Encoding to `limit` refuses exactly what decoding to `limit` does, and says the same.
fn agrees<M>(limit: usize, codec: impl Fn(usize) -> M, message: &M::Sent)
where
    M: MessageCodec<Received = <M as MessageCodec>::Sent>,
    M::Sent: Debug + PartialEq,
{
    let mut frame = BytesMut::new();
    codec(DEEP).encode(message, &mut frame).unwrap();
    let mut out = BytesMut::new();
    let encoded = codec(limit).encode(message, &mut out);
    match (encoded, codec(limit).decode(&frame.clone().freeze())) {
        (Ok(()), Ok(decoded)) => {
            assert_eq!(&decoded, message);
            assert_eq!(out, frame);
        }
        (Err(refused), Err(error)) => {
            assert_eq!(refused.kind(), EncodeErrorKind::Depth { limit });
            assert_eq!(refused.limit(), Some(limit));
            assert_eq!(error.kind(), DecodeErrorKind::Depth { limit });
            assert_eq!(refused.to_string(), error.to_string());
            assert!(out.is_empty());
        }
        (encoded, decoded) => panic!("{message:?}: {encoded:?}, but {decoded:?}"),
    }
}

/// The same of frames that know the format, which count but what they see: no deeper than the codec.
fn agrees_in_frames<C>(codec: C, message: &C::Sent)
where
    C: Codec<Item = <C as Codec>::Sent>,
    <C as Codec>::Sent: Debug + PartialEq,
{
    let (mut encoder, mut decoder) = codec.split();
    let mut batch = OutputBatch::new();
    let encoded = bowline_codec::Encode::encode(&mut encoder, message, &mut batch);
    let mut src: BytesMut = batch.slices().flatten().copied().collect();
    match encoded {
        Ok(()) => {
            let decoded = bowline_codec::Decode::decode(&mut decoder, &mut src).unwrap();
            assert_eq!(decoded.as_ref(), Some(message));
        }
        Err(refused) => {
            assert!(matches!(refused.kind(), EncodeErrorKind::Depth { .. }));
            assert!(batch.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // C5, C6, C13
    #[test]
    fn what_is_encoded_is_not_too_deep_to_be_decoded(message in shapes(), limit in 1..14usize) {
        type J = Json<Shape>;
        let message = &message;
        agrees(limit, |levels| J::new().max_depth(levels), message);
        agrees(limit, |levels| J::new().max_depth(levels).spaced().ascii_only(), message);
        agrees(limit, |levels| Msgpack::new().max_depth(levels), message);
        agrees(limit, |levels| Msgpack::new().max_depth(levels).compact(), message);
        agrees(limit, |levels| Postcard::new().max_depth(levels), message);
        agrees(limit, |levels| Cbor::new().max_depth(levels), message);
        // And through what may be put round a codec.
        agrees(limit, |levels| J::new().max_depth(levels).wrap(Base64::new().checksum()), message);
        agrees(limit, |levels| J::new().max_depth(levels).wrap(Zlib::new()), message);
        agrees(limit, |levels| J::new().max_depth(levels).wrap(Lz4::new()), message);
        let codec = |levels| J::new().max_depth(levels);
        agrees(limit, |levels| Stapled::new(codec(levels), codec(levels)), message);
        let same = || ConvertFn::new(|it: &Shape| Ok(it.clone()), Ok);
        agrees(limit, |levels| codec(levels).map(same()), message);
        let limits = |levels| HeaderLimits::new().max_depth(levels);
        let messages = |levels| JsonMessage::<Shape>::codec().header_limits(limits(levels));
        agrees(limit, messages, &JsonMessage::new(message.clone()));
        agrees_in_frames(codec(limit).lines(), message);
        agrees_in_frames(JsonFraming::new().with(codec(limit)), message);
        agrees_in_frames(Netstring::new().with(codec(limit)), message);
        for framing in 1..limit {
            let msgpack = || Msgpack::new().max_depth(limit);
            agrees_in_frames(MsgpackFraming::new().max_depth(framing).with(msgpack()), message);
            let cbor = || Cbor::new().max_depth(limit);
            agrees_in_frames(CborFraming::new().max_depth(framing).with(cbor()), message);
        }
    }

    // C5, M3
    #[test]
    fn so_it_is_with_messages_that_have_headers(
        header in documents(),
        payload in documents(),
        limit in 1..8usize,
    ) {
        let headers: Headers = [("it", header)].into_iter().collect();
        let limits = |levels| HeaderLimits::new().max_depth(levels);
        let mut json = JsonMessage::new(payload.clone());
        json.headers = headers.clone();
        agrees(limit, |levels| JsonMessage::codec().header_limits(limits(levels)), &json);
        let mut binary = BinaryMessage::new(Bytes::from_static(b"payload"));
        binary.headers = headers.clone();
        agrees(limit, |levels| BinaryMessage::codec().header_limits(limits(levels)), &binary);
        let mut request = HttpMessage::new("PUT", "/");
        request.params = headers;
        request.json = (!payload.is_null()).then_some(payload);
        request.files.push(("file".to_owned(), Bytes::from_static(b"contents")));
        agrees(limit, |levels| HttpMessage::codec().header_limits(limits(levels)), &request);
    }
}

/// Is itself inside of itself.
#[derive(Clone, Copy)]
enum Endless {
    Some,
    Newtype,
    List,
    Variant,
}

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Some => serializer.serialize_some(self),
            Self::Newtype => serializer.serialize_newtype_struct("Endless", self),
            Self::List => {
                let mut seq = serializer.serialize_seq(Some(1))?;
                seq.serialize_element(self)?;
                seq.end()
            }
            Self::Variant => serializer.serialize_newtype_variant("Endless", 0, "Variant", self),
        }
    }
}

// C6, C13
#[test]
fn a_value_that_is_endlessly_deep_takes_no_more_stack() {
    for endless in [
        Endless::Some,
        Endless::Newtype,
        Endless::List,
        Endless::Variant,
    ] {
        let mut out = BytesMut::from(&b"before"[..]);
        let refusals = [
            Json::new().encode(&endless, &mut out),
            Json::new().ascii_only().encode(&endless, &mut out),
            Msgpack::new().encode(&endless, &mut out),
            Postcard::new().encode(&endless, &mut out),
            Cbor::new().encode(&endless, &mut out),
        ];
        for refusal in refusals {
            let depth = EncodeErrorKind::Depth { limit: 128 };
            assert_eq!(refusal.unwrap_err().kind(), depth);
        }
        assert_eq!(&out[..], b"before");
    }
}
