//! Binary formats against implementations that share no code with those used here.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use bowline_codec::{
    Cbor, CborFraming, DecodeErrorKind, Framing, MessageCodec, Msgpack, MsgpackFraming, Raw, Zlib,
};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Of each kind of value that a message may hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    flag: bool,
    number: i64,
    large: u64,
    ratio: f64,
    text: String,
    maybe: Option<u16>,
    many: Vec<Shape>,
    by_name: BTreeMap<String, i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(u8),
    Box { width: u16, height: u32 },
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Point),
        any::<u8>().prop_map(Shape::Circle),
        any::<(u16, u32)>().prop_map(|(width, height)| Shape::Box { width, height }),
    ]
}

prop_compose! {
    fn records()(
        (flag, number, large) in any::<(bool, i64, u64)>(),
        ratio in any::<f64>().prop_filter("it equals itself", |ratio| !ratio.is_nan()),
        text in any::<String>(),
        maybe in any::<Option<u16>>(),
        many in prop::collection::vec(shapes(), 0..40),
        by_name in prop::collection::btree_map(any::<String>(), any::<i32>(), 0..20),
    ) -> Record {
        Record { flag, number, large, ratio, text, maybe, many, by_name }
    }
}

fn encoded<M: MessageCodec>(codec: &M, message: &M::Sent) -> Bytes {
    let mut frame = BytesMut::new();
    codec.encode(message, &mut frame).unwrap();
    frame.freeze()
}

/// How many bytes the first value takes, if it is one.
fn first_of(mut framing: impl Framing, bytes: &[u8]) -> Result<Option<usize>, DecodeErrorKind> {
    let frame = framing
        .decode(&mut bytes.into())
        .map_err(|error| error.kind())?;
    Ok(frame.map(|frame| frame.len()))
}

/// How many bytes the reader took of `bytes` for a value; `None` if there is none.
fn taken<T, E>(bytes: &[u8], read: impl FnOnce(&mut &[u8]) -> Result<T, E>) -> Option<usize> {
    let mut rest = bytes;
    read(&mut rest).ok().map(|_| bytes.len() - rest.len())
}

fn msgpack_value(rest: &mut &[u8]) -> Result<rmpv::Value, rmpv::decode::Error> {
    rmpv::decode::read_value(rest)
}

fn cbor_value(rest: &mut &[u8]) -> Result<ciborium::Value, ciborium::de::Error<std::io::Error>> {
    ciborium::from_reader(rest)
}

proptest! {
    // C5
    #[test]
    fn cbor_is_what_ciborium_reads_and_writes(record in records()) {
        let ours = encoded(&Cbor::new(), &record);
        let theirs: Record = ciborium::from_reader(&ours[..]).unwrap();
        prop_assert_eq!(&theirs, &record);

        let mut theirs = Vec::new();
        ciborium::into_writer(&record, &mut theirs).unwrap();
        let ours: Record = Cbor::new().decode(&theirs).unwrap();
        prop_assert_eq!(&ours, &record);
        prop_assert_eq!(first_of(CborFraming::new(), &theirs), Ok(Some(theirs.len())));
    }

    // C5
    #[test]
    fn msgpack_is_what_rmpv_reads_and_writes(record in records()) {
        let ours = encoded(&Msgpack::new(), &record);
        let value = msgpack_value(&mut &ours[..]).unwrap();
        let fields = value.as_map().unwrap();
        let field = |name: &str| &fields.iter().find(|(key, _)| key.as_str() == Some(name)).unwrap().1;
        prop_assert_eq!(field("flag").as_bool(), Some(record.flag));
        prop_assert_eq!(field("number").as_i64(), Some(record.number));
        prop_assert_eq!(field("large").as_u64(), Some(record.large));
        prop_assert_eq!(field("ratio").as_f64(), Some(record.ratio));
        prop_assert_eq!(field("text").as_str(), Some(&record.text[..]));
        prop_assert_eq!(field("maybe").as_u64(), record.maybe.map(u64::from));
        prop_assert_eq!(field("many").as_array().unwrap().len(), record.many.len());

        // Both write the shortest form of everything.
        let mut theirs = Vec::new();
        rmpv::encode::write_value(&mut theirs, &value).unwrap();
        prop_assert_eq!(&theirs, &ours);
        let ours: Record = Msgpack::new().decode(&theirs).unwrap();
        prop_assert_eq!(&ours, &record);
        prop_assert_eq!(first_of(MsgpackFraming::new(), &theirs), Ok(Some(theirs.len())));
    }

    // C5
    #[test]
    fn a_value_of_msgpack_ends_where_rmpv_says(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        // C1 begins nothing; rmpv takes it for nil.
        let reserved = bytes.contains(&0xc1);
        if let Some(theirs) = taken(&bytes, msgpack_value).filter(|_| !reserved) {
            prop_assert_eq!(first_of(MsgpackFraming::new(), &bytes), Ok(Some(theirs)));
        }
        // What ends for us is whole for them, whatever its text is made of.
        if let Ok(Some(ours)) = first_of(MsgpackFraming::new(), &bytes) {
            prop_assert_eq!(taken(&bytes[..ours], msgpack_value), Some(ours));
        }
    }

    // C5
    #[test]
    fn a_value_of_cbor_ends_where_ciborium_says(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(theirs) = taken(&bytes, cbor_value) {
            prop_assert_eq!(first_of(CborFraming::new(), &bytes), Ok(Some(theirs)));
        }
    }

    // C5
    #[test]
    fn zlib_is_what_libflate_reads_and_writes(
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..2_000),
            prop::collection::vec(0..3u8, 0..20_000),
        ],
    ) {
        let codec = Raw::new().wrap(Zlib::new());
        let payload = Bytes::from(payload);
        let ours = encoded(&codec, &payload);
        let mut theirs = Vec::new();
        libflate::zlib::Decoder::new(&ours[..]).unwrap().read_to_end(&mut theirs).unwrap();
        prop_assert_eq!(&theirs, &payload);

        let mut encoder = libflate::zlib::Encoder::new(Vec::new()).unwrap();
        encoder.write_all(&payload).unwrap();
        let theirs = Bytes::from(encoder.finish().into_result().unwrap());
        prop_assert_eq!(codec.decode(&theirs).unwrap(), payload);
    }
}
