//! Every limit has a default and a setter, is listed, and lets exactly as much pass.

use bowline_codec::{
    BinaryMessage, Cbor, CborFraming, Decode, DecodeErrorKind, Encode, EncodeErrorKind, Framing,
    HeaderLimits, HttpMessage, Json, JsonMessage, Message, MessageCodec, Msgpack, MsgpackFraming,
    OutputBatch, Postcard, Raw, Zlib, ZlibFraming,
};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;

// C13
#[test]
fn what_was_set_is_listed() {
    fn deep(codec: &impl MessageCodec) -> Option<usize> {
        codec.limits().max_depth
    }
    assert_eq!(deep(&Json::<Value>::new().max_depth(9)), Some(9));
    assert_eq!(deep(&Msgpack::<Value>::new().max_depth(9)), Some(9));
    assert_eq!(deep(&Cbor::<Value>::new().max_depth(9)), Some(9));
    assert_eq!(deep(&Postcard::<Value>::new().max_depth(9)), Some(9));
    let few = HeaderLimits::new().max_count(7).max_bytes(8).max_depth(9);
    let messages = HttpMessage::codec().header_limits(few).limits();
    assert_eq!(messages.max_depth, Some(9));
    assert_eq!(
        (messages.max_headers, messages.max_header_bytes),
        (Some(7), Some(8))
    );
    let values = MsgpackFraming::new().max_frame(7).max_depth(9).limits();
    assert_eq!((values.max_frame, values.max_depth), (Some(7), Some(9)));
    assert_eq!(CborFraming::new().max_depth(9).limits().max_depth, Some(9));
    // Of a framing and what is in it the first that is met.
    let both = CborFraming::new()
        .max_depth(7)
        .with(Cbor::<Value>::new())
        .limits();
    assert_eq!(both.max_depth, Some(7));
    let streams = ZlibFraming::new(Zlib::new());
    assert_eq!(
        streams.limits().max_compressed,
        Some(2 * 1024 * 1024 + 64 * 1024)
    );
    let streams = streams.max_compressed(8).with(Json::<Value>::new());
    assert_eq!(streams.limits().max_compressed, Some(8));
    assert_eq!(streams.limits().max_depth, Some(128));
}

/// As deep as there are of them.
#[derive(Debug, Serialize, Deserialize)]
enum Nest {
    Leaf,
    In(Box<Nest>),
}

/// A frame of one value in another, `levels` of them, for each format.
fn nested(outer: &[u8], inner: &[u8], close: &[u8], levels: usize) -> Bytes {
    [&outer.repeat(levels)[..], inner, &close.repeat(levels)]
        .concat()
        .into()
}

fn deepest<M: MessageCodec>(limit: usize, codec: M, frame: impl Fn(usize) -> Bytes) {
    assert!(codec.decode(&frame(limit)).is_ok(), "{limit}");
    for levels in [limit + 1, limit + 2, 50_000] {
        let error = codec.decode(&frame(levels)).err().expect("too deep");
        assert_eq!(error.kind(), DecodeErrorKind::Depth { limit });
        assert!(error.is_recoverable());
        assert_eq!(
            error.to_string(),
            format!("a message is nested deeper than {limit}")
        );
    }
}

fn deepest_frame<F: Framing>(
    limit: usize,
    framing: impl Fn() -> F,
    frame: impl Fn(usize) -> Bytes,
) {
    let whole = frame(limit);
    let mut src = BytesMut::from(&whole[..]);
    assert_eq!(framing().decode(&mut src).unwrap().unwrap(), whole);
    let mut batch = OutputBatch::new();
    framing().encode(&whole, &mut batch).unwrap();
    assert!(batch.slices().flatten().eq(&whole));
    let deep = frame(limit + 1);
    let error = framing()
        .decode(&mut BytesMut::from(&deep[..]))
        .unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Depth { limit });
    let error = framing().encode(&deep, &mut batch).unwrap_err();
    assert_eq!(error.kind(), EncodeErrorKind::Depth { limit });
}

// C6, C13
#[test]
fn nesting_of_exactly_the_limit_passes() {
    let json = |levels| nested(b"[", b"", b"]", levels);
    let msgpack = |levels| nested(&[0x91], &[0xc0], b"", levels);
    let cbor = |levels| nested(&[0x81], &[0xf6], b"", levels);
    // What is inside of the last is one as well.
    let postcard = |levels| nested(&[1], &[0], b"", levels - 1);
    deepest(128, Json::<Value>::new(), json);
    deepest(128, Msgpack::<Value>::new(), msgpack);
    deepest(128, Cbor::<Value>::new(), cbor);
    deepest(128, Postcard::<Nest>::new(), postcard);
    deepest_frame(128, MsgpackFraming::new, msgpack);
    deepest_frame(128, CborFraming::new, cbor);
    for limit in [1, 2, 127, 129, 300] {
        deepest(limit, Json::<Value>::new().max_depth(limit), json);
        deepest(limit, Msgpack::<Value>::new().max_depth(limit), msgpack);
        deepest(limit, Cbor::<Value>::new().max_depth(limit), cbor);
        deepest(limit, Postcard::<Nest>::new().max_depth(limit), postcard);
        deepest_frame(limit, || MsgpackFraming::new().max_depth(limit), msgpack);
        deepest_frame(limit, || CborFraming::new().max_depth(limit), cbor);
    }
    // Values that are deep one after another, and of which some are wide.
    let mut framing = CborFraming::new().max_depth(200);
    let wide = [&[0x9f, 0x82][..], &cbor(198), &cbor(198), &[0xff]].concat();
    let mut src = BytesMut::from(&[&wide[..], &cbor(200), &wide].concat()[..]);
    for frame in [&wide[..], &cbor(200), &wide] {
        assert_eq!(framing.decode(&mut src).unwrap().unwrap(), frame);
    }
}

// M2
#[test]
fn nesting_of_messages_counts_from_their_own_object() {
    let payload = |levels: usize| {
        let arrays = nested(b"[", b"", b"]", levels - 1);
        Bytes::from([b"{\"payload\": ", &arrays[..], b"}"].concat())
    };
    let headers = |levels: usize| {
        let arrays = nested(b"[", b"", b"]", levels - 1);
        [b"{\"a\": ", &arrays[..], b"}"].concat()
    };
    let binary = |levels: usize| {
        let headers = headers(levels);
        Bytes::from([&(headers.len() as u32).to_be_bytes()[..], &headers].concat())
    };
    deepest(128, JsonMessage::<Value>::codec(), payload);
    let wide = HeaderLimits::new().max_bytes(1 << 20);
    deepest(128, BinaryMessage::codec().header_limits(wide), binary);
    for limit in [2, 127, 129, 300] {
        let limits = wide.max_depth(limit);
        deepest(
            limit,
            JsonMessage::<Value>::codec().header_limits(limits),
            payload,
        );
        deepest(limit, BinaryMessage::codec().header_limits(limits), binary);
    }
}

/// What formats nest without a byte of structure.
#[derive(Debug, Deserialize, Serialize)]
struct Chain(Option<Box<Chain>>);

// C6
#[test]
fn json_that_is_deep_by_its_type_alone_is_too_deep() {
    let error = Json::<Chain>::new().decode(b"1").unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Depth { limit: 128 });
    Json::<Chain>::new().decode(b"null").unwrap();
}

// C9
#[test]
fn a_compressed_frame_of_exactly_the_limit_passes_both_ways() {
    let payload: Vec<u8> = (0..100_000u32)
        .map(|at| (at.wrapping_mul(at) >> 7) as u8)
        .collect();
    let whole = |framing: ZlibFraming| {
        let mut batch = OutputBatch::new();
        let encoded = framing
            .with(Raw::new())
            .encode(&payload.clone().into(), &mut batch);
        encoded.map(|()| batch.slices().flatten().copied().collect::<Bytes>())
    };
    let wire = whole(ZlibFraming::new(Zlib::new())).unwrap();
    let most = |bytes| ZlibFraming::new(Zlib::new()).max_compressed(bytes);
    let (limit, actual) = (wire.len() - 1, wire.len());
    assert_eq!(whole(most(actual)).unwrap(), wire);
    let mut src = BytesMut::from(&wire[..]);
    assert_eq!(
        most(actual).clone().decode(&mut src).unwrap().unwrap(),
        payload
    );
    let error = whole(most(limit)).unwrap_err();
    assert_eq!(error.limit(), Some(limit));
    let mut src = BytesMut::from(&wire[..]);
    let error = most(limit).clone().decode(&mut src).unwrap_err();
    let declared = None;
    assert_eq!(error.kind(), DecodeErrorKind::TooLong { limit, declared });
    assert!(!error.is_recoverable());
}
