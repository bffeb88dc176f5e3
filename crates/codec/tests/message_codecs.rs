//! Message codecs: round trips, whole frames only, bounded nesting, errors that quote nothing.

use std::collections::BTreeMap;
use std::error::Error;

use bowline_codec::{
    Codec, Decode, DecodeErrorKind, Encode, EncodeErrorKind, Encoding, Framing, Json,
    LengthDelimited, MessageCodec, Msgpack, OutputBatch, Postcard, Raw,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    note: Option<String>,
    lines: Vec<(i32, Unit)>,
    tags: BTreeMap<String, bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Unit {
    Piece,
    Metres(i64),
    Box { of: u8 },
}

fn order() -> impl Strategy<Value = Order> {
    let unit = prop_oneof![
        Just(Unit::Piece),
        any::<i64>().prop_map(Unit::Metres),
        any::<u8>().prop_map(|of| Unit::Box { of }),
    ];
    (
        any::<u64>(),
        any::<Option<String>>(),
        vec((any::<i32>(), unit), 0..5),
        btree_map(any::<String>(), any::<bool>(), 0..4),
    )
        .prop_map(|(id, note, lines, tags)| Order {
            id,
            note,
            lines,
            tags,
        })
}

fn comes_back<M>(codec: fn() -> M, message: &M::Sent)
where
    M: MessageCodec + std::fmt::Debug + 'static,
    M::Sent: PartialEq<M::Received> + std::fmt::Debug,
    M::Received: std::fmt::Debug,
{
    for framing in [
        LengthDelimited::u16,
        LengthDelimited::u64,
        LengthDelimited::varint,
    ] {
        let (mut encoder, mut decoder) = framing().with(codec()).split();
        let mut batch = OutputBatch::new();
        encoder.encode(message, &mut batch).unwrap();
        encoder.encode(message, &mut batch).unwrap();
        let mut src = BytesMut::new();
        batch
            .slices()
            .for_each(|slice| src.extend_from_slice(slice));
        for _ in 0..2 {
            assert_eq!(message, &decoder.decode(&mut src).unwrap().unwrap());
        }
        assert!(decoder.decode_end(&mut src).unwrap().is_none());
    }
}

proptest! {
    #[test]
    fn messages_come_back(order in order(), payload in vec(any::<u8>(), 0..9000)) {
        comes_back(Json::<Order>::new, &order);
        comes_back(Msgpack::<Order>::new, &order);
        comes_back(|| Msgpack::<Order>::new().compact(), &order);
        comes_back(Postcard::<Order>::new, &order);
        comes_back(Raw::new, &Bytes::from(payload));
    }

    // Totality: an answer for any frame.
    #[test]
    fn any_frame_is_a_message_or_a_recoverable_error(frame in vec(any::<u8>(), 0..64)) {
        fn total<T>(answer: Result<T, bowline_codec::DecodeError>) {
            if let Err(error) = answer {
                assert!(error.is_recoverable());
            }
        }
        total(Json::<Order>::new().decode(&frame));
        total(Json::<serde_json::Value>::new().decode(&frame));
        total(Msgpack::<Order>::new().decode(&frame));
        total(Msgpack::<serde_json::Value>::new().decode(&frame));
        total(Postcard::<Order>::new().decode(&frame));
    }

    // A message with anything after it, or cut short anywhere, is refused.
    #[test]
    fn every_byte_of_a_frame_counts(order in order(), extra in vec(b'!'..b'~', 1..9)) {
        fn exact<M: MessageCodec<Sent = Order, Received = Order>>(codec: M, order: &Order, extra: &[u8]) {
            let mut frame = BytesMut::new();
            codec.encode(order, &mut frame).unwrap();
            let whole = frame.clone().freeze();
            frame.extend_from_slice(extra);
            let error = codec.decode(&frame.freeze()).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::Trailing { extra: extra.len() });
            for end in 0..whole.len() {
                codec.decode(&whole.slice(..end)).unwrap_err();
            }
        }
        exact(Json::new(), &order, &extra);
        exact(Msgpack::new(), &order, &extra);
        exact(Msgpack::new().compact(), &order, &extra);
        exact(Postcard::new(), &order, &extra);
    }
}

#[test]
fn the_bytes_of_each_format() {
    let order = Order {
        id: 1,
        note: None,
        lines: vec![(-1, Unit::Piece)],
        tags: BTreeMap::new(),
    };
    let bytes = |codec: &dyn MessageCodec<Sent = Order, Received = Order>| {
        let mut frame = BytesMut::new();
        codec.encode(&order, &mut frame).unwrap();
        frame.to_vec()
    };
    let json = br#"{"id":1,"note":null,"lines":[[-1,"Piece"]],"tags":{}}"#;
    assert_eq!(bytes(&Json::new()), json);
    let named = b"\x84\xa2id\x01\xa4note\xc0\xa5lines\x91\x92\xff\xa5Piece\xa4tags\x80";
    assert_eq!(bytes(&Msgpack::new()), named);
    assert_eq!(
        bytes(&Msgpack::new().compact()),
        b"\x94\x01\xc0\x91\x92\xff\xa5Piece\x80"
    );
    assert_eq!(bytes(&Postcard::new()), b"\x01\x00\x01\x01\x00\x00");
}

#[test]
fn json_says_where_and_what() {
    let kind = |text: &[u8]| Json::<Vec<u8>>::new().decode(text).unwrap_err().kind();
    assert_eq!(
        kind(b"[1,\n 2,,]"),
        DecodeErrorKind::Syntax { line: 2, column: 4 }
    );
    assert_eq!(
        kind(b"[1] \n\t [2]\n"),
        DecodeErrorKind::Trailing { extra: 4 }
    );
    assert_eq!(
        kind(b"[1]\xff"),
        DecodeErrorKind::Text {
            encoding: Encoding::Utf8,
            valid_up_to: 3
        }
    );
    assert!(matches!(kind(b"[NaN]"), DecodeErrorKind::Syntax { .. }));
    assert!(matches!(kind(b"[256]"), DecodeErrorKind::Syntax { .. }));
    assert!(matches!(kind(b""), DecodeErrorKind::Syntax { .. }));
    assert_eq!(Json::<Vec<u8>>::new().decode(b" \r\n[1]\t ").unwrap(), [1]);
    let mut frame = BytesMut::new();
    Json::<f64>::new().encode(&f64::NAN, &mut frame).unwrap();
    assert_eq!(&frame[..], b"null");
}

/// As deep as its input says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Nest {
    Leaf,
    In(Box<Nest>),
}

/// The same through `Option` and a newtype, which many formats nest without a byte of structure.
#[derive(Debug, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[test]
fn nesting_is_bounded_whatever_it_is_made_of() {
    let deep = 100_000;
    let depth = DecodeErrorKind::Depth { limit: 128 };
    let array = vec![b'['; deep];
    assert_eq!(
        Json::<serde_json::Value>::new()
            .decode(&array)
            .unwrap_err()
            .kind(),
        depth
    );
    let enums = br#"{"In":"#.repeat(deep);
    assert_eq!(
        Json::<Nest>::new().decode(&enums).unwrap_err().kind(),
        depth
    );

    let array = vec![0x91; deep];
    assert_eq!(
        Msgpack::<serde_json::Value>::new()
            .decode(&array)
            .unwrap_err()
            .kind(),
        depth
    );
    let enums = b"\x81\xa2In".repeat(deep);
    assert_eq!(
        Msgpack::<Nest>::new().decode(&enums).unwrap_err().kind(),
        depth
    );
    assert_eq!(
        Msgpack::<Chain>::new().decode(&array).unwrap_err().kind(),
        depth
    );

    let ones = vec![1; deep];
    assert_eq!(
        Postcard::<Nest>::new().decode(&ones).unwrap_err().kind(),
        depth
    );
    assert_eq!(
        Postcard::<Chain>::new().decode(&ones).unwrap_err().kind(),
        depth
    );
}

#[test]
fn nesting_up_to_the_bound_passes() {
    let nest = |depth| (0..depth).fold(Nest::Leaf, |inner, _| Nest::In(Box::new(inner)));
    fn survives<M: MessageCodec<Sent = Nest, Received = Nest>>(codec: M, nest: &Nest) -> bool {
        let mut frame = BytesMut::new();
        match codec.encode(nest, &mut frame) {
            Ok(()) => codec.decode(&frame.freeze()).unwrap() == *nest,
            Err(refusal) => {
                let depth = EncodeErrorKind::Depth { limit: 128 };
                assert_eq!(refusal.kind(), depth);
                false
            }
        }
    }
    // The leaf is an enum as well, so 127 around it.
    assert!(survives(Postcard::new(), &nest(127)));
    assert!(!survives(Postcard::new(), &nest(128)));
    assert!(survives(Msgpack::new(), &nest(126)));
    assert!(survives(Json::new(), &nest(126)));
    // Wide is not deep.
    let wide = vec![vec![Some(1u8)]; 10_000];
    let mut frame = BytesMut::new();
    Postcard::new().encode(&wide, &mut frame).unwrap();
    assert_eq!(
        Postcard::<Vec<Vec<Option<u8>>>>::new()
            .decode(&frame)
            .unwrap(),
        wide
    );
}

#[test]
fn errors_quote_the_payload_only_when_told_to() {
    fn said(error: &bowline_codec::DecodeError) -> String {
        format!(
            "{error} {error:?} {:?}",
            error.source().map(ToString::to_string)
        )
    }
    let json = br#"{"id":"hunter2"}"#;
    let quiet = Json::<Order>::new().decode(json).unwrap_err();
    assert!(!said(&quiet).contains("hunter2"), "{quiet}");
    let loud = Json::<Order>::new()
        .diagnostics(256)
        .decode(json)
        .unwrap_err();
    assert!(loud.to_string().contains("hunter2"), "{loud}");
    let short = Json::<Order>::new()
        .diagnostics(9)
        .decode(json)
        .unwrap_err();
    assert!(!said(&short).contains("hunter2"), "{short}");

    let msgpack = b"\xa7hunter2";
    let quiet = Msgpack::<Unit>::new().decode(msgpack).unwrap_err();
    assert!(!said(&quiet).contains("hunter2"), "{quiet}");
    let loud = Msgpack::<Unit>::new()
        .diagnostics(1000)
        .decode(msgpack)
        .unwrap_err();
    assert!(loud.to_string().contains("hunter2"), "{loud}");
    assert!(loud.to_string().len() < 400);
}

#[test]
fn what_only_serialises_can_be_encoded() {
    #[derive(Serialize)]
    struct Borrowed<'a>(&'a str);
    let mut frame = BytesMut::new();
    Json::new().encode(&Borrowed("a"), &mut frame).unwrap();
    Msgpack::new().encode(&Borrowed("b"), &mut frame).unwrap();
    Postcard::new().encode(&Borrowed("c"), &mut frame).unwrap();
    assert_eq!(&frame[..], b"\"a\"\xa1b\x01c");
    let endless = std::iter::repeat_n(0u8, 3);
    struct Unsized<I>(I);
    impl<I: Iterator<Item = u8> + Clone> Serialize for Unsized<I> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(None)?;
            for byte in self.0.clone() {
                seq.serialize_element(&byte)?;
            }
            seq.end()
        }
    }
    let refused = Postcard::new()
        .encode(&Unsized(endless), &mut frame)
        .unwrap_err();
    assert_eq!(refused.kind(), EncodeErrorKind::Value);
}
