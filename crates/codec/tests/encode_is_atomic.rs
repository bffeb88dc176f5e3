//! A failed `encode` leaves the output as it was.

use std::collections::BTreeMap;

use bowline_codec::{
    Base64, BinaryMessage, BytesFraming, Cbor, CborFraming, Cobs, Codec, Compress, ConvertError,
    ConvertFn, Decode, DecodeError, Delimiter, Encode, EncodeError, EncodeErrorKind, Encoding,
    Expansion, ExpansionLimits, FixedSize, Framing, HeaderLimits, Headers, HttpMessage, Json,
    JsonFraming, JsonMessage, Key, LengthDelimited, Lines, Lz4, Message, MessageCodec, Msgpack,
    MsgpackFraming, Netstring, OutputBatch, Postcard, Raw, Stapled, Text, Zlib, ZlibFraming,
};
use bytes::{Bytes, BytesMut};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};

/// Writes a good part of itself, then refuses.
#[derive(Debug, Deserialize)]
struct Half;

impl Serialize for Half {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(2))?;
        seq.serialize_element(&"x".repeat(10_000))?;
        Err(S::Error::custom("no second half"))
    }
}

/// What is compared: the bytes and the frame boundaries.
fn state(batch: &OutputBatch) -> (Vec<u8>, usize) {
    (
        batch.slices().flatten().copied().collect(),
        batch.unsent_frames(),
    )
}

/// A batch with a finished frame, a large shared segment and an unfinished beginning.
fn used() -> OutputBatch {
    let mut batch = OutputBatch::new();
    batch.put_slice(b"first");
    batch.frame_done();
    batch.put_bytes(Bytes::from(vec![9; OutputBatch::KEEP]));
    batch.put_slice(b"begun");
    batch
}

fn refuses<E: Encode<T>, T: ?Sized>(mut encoder: E, good: &T, bad: &T, kind: EncodeErrorKind) {
    for mut batch in [OutputBatch::new(), used()] {
        let before = state(&batch);
        let error = encoder.encode(bad, &mut batch).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(state(&batch), before);
        // Nothing of the refused message shows up in the next one, either.
        encoder.encode(good, &mut batch).unwrap();
        let (bytes, frames) = state(&batch);
        let mut fresh = OutputBatch::new();
        encoder.encode(good, &mut fresh).unwrap();
        assert_eq!(bytes[before.0.len()..], state(&fresh).0);
        assert_eq!(frames, before.1 + 1);
    }
}

/// What `codec` refuses, alone, and in frames that know its end and that have to look for it.
fn refused<M>(codec: impl Fn() -> M, good: &M::Sent, bad: &M::Sent, kind: EncodeErrorKind)
where
    M: MessageCodec + 'static,
{
    let mut out = BytesMut::from(&b"before"[..]);
    assert_eq!(codec().encode(bad, &mut out).unwrap_err().kind(), kind);
    assert_eq!(&out[..], b"before");
    for framing in [LengthDelimited::u32, LengthDelimited::varint] {
        refuses(framing().with(codec()), good, bad, kind);
        refuses(framing().with(codec()).split().0, good, bad, kind);
    }
    refuses(Cobs::new().with(codec()), good, bad, kind);
    refuses(ZlibFraming::new(Zlib::new()).with(codec()), good, bad, kind);
}

/// The same in every wrapper.
fn refused_in_wrappers<M>(
    codec: impl Fn() -> M,
    good: &M::Sent,
    bad: &M::Sent,
    kind: EncodeErrorKind,
) where
    M: MessageCodec + 'static,
{
    refused(&codec, good, bad, kind);
    refused(|| codec().wrap(Base64::new()), good, bad, kind);
    let signed = || Base64::new().signed(Key::from_entropy([7; 32]));
    refused(|| codec().wrap(signed()), good, bad, kind);
    refused(|| codec().wrap(Zlib::new()), good, bad, kind);
    refused(|| codec().wrap(Lz4::new()), good, bad, kind);
    refused(|| codec().wrap(Lz4::new()).wrap(signed()), good, bad, kind);
}

// C4
#[test]
fn a_message_that_fails_half_way() {
    fn all<M>(codec: fn() -> M)
    where
        M: MessageCodec<Sent = Result<u8, Half>> + 'static,
    {
        refused_in_wrappers(codec, &Ok(1), &Err(Half), EncodeErrorKind::Value);
    }
    all(Json::<Result<u8, Half>>::new);
    all(|| Json::<Result<u8, Half>>::new().spaced().ascii_only());
    all(Msgpack::<Result<u8, Half>>::new);
    all(|| Msgpack::<Result<u8, Half>>::new().compact());
    all(Postcard::<Result<u8, Half>>::new);
    all(Cbor::<Result<u8, Half>>::new);
    all(|| Stapled::new(Cbor::<Result<u8, Half>>::new(), Raw::new()));
    let message = |payload| JsonMessage::new(payload);
    refused_in_wrappers(
        JsonMessage::<Result<u8, Half>>::codec,
        &message(Ok(1)),
        &message(Err(Half)),
        EncodeErrorKind::Value,
    );
}

// C4
#[test]
fn a_message_that_is_nested_too_deeply() {
    fn all<M>(codec: fn() -> M)
    where
        M: MessageCodec<Sent = Vec<Vec<Vec<u8>>>> + 'static,
    {
        let (good, bad) = (vec![vec![]], vec![vec![], vec![vec![1]]]);
        refused_in_wrappers(codec, &good, &bad, EncodeErrorKind::Depth { limit: 2 });
    }
    all(|| Json::new().max_depth(2));
    all(|| Json::new().max_depth(2).spaced().ascii_only());
    all(|| Msgpack::new().max_depth(2));
    all(|| Postcard::new().max_depth(2));
    all(|| Cbor::new().max_depth(2));
    let limits = || HeaderLimits::new().max_depth(2);
    let codec = || JsonMessage::<Option<Vec<u8>>>::codec().header_limits(limits());
    let (good, bad) = (JsonMessage::new(None), JsonMessage::new(Some(vec![])));
    refused_in_wrappers(codec, &good, &bad, EncodeErrorKind::Depth { limit: 2 });
}

// C4
#[test]
fn text_that_its_encoding_lacks() {
    let bad = "x".repeat(10_000) + "\u{20ac}";
    for encoding in [Encoding::Ascii, Encoding::Latin1] {
        let codec = || Text::new().encoding(encoding);
        refused_in_wrappers(
            codec,
            &"fine".to_owned(),
            &bad,
            EncodeErrorKind::Text { encoding },
        );
    }
}

// C4
#[test]
fn messages_whose_headers_are_too_long() {
    // Their length is known once they are written.
    let limits = || HeaderLimits::new().max_bytes(20);
    let many = || -> Headers { [("a", "x".repeat(10_000))].into_iter().collect() };
    let kind = EncodeErrorKind::TooLong {
        limit: 20,
        actual: 10_009,
    };
    // A payload that is not copied, and one that is.
    for payload in [10, 10_000] {
        let good = BinaryMessage::new(vec![7; payload].into());
        let mut bad = good.clone();
        bad.headers = many();
        let codec = || BinaryMessage::codec().header_limits(limits());
        refused_in_wrappers(codec, &good, &bad, kind);
    }
    let good = HttpMessage::new("GET", "/");
    let mut bad = good.clone();
    bad.headers = many();
    let codec = || HttpMessage::codec().header_limits(limits());
    refused_in_wrappers(codec, &good, &bad, kind);
    let good = JsonMessage::new("payload".to_owned());
    let mut bad = good.clone();
    bad.headers = many();
    let codec = || JsonMessage::<String>::codec().header_limits(limits());
    refused_in_wrappers(codec, &good, &bad, kind);
}

// C4
#[test]
fn a_converter_that_refuses() {
    let codec = || {
        Json::<u8>::new().map(ConvertFn::new(
            |number: &u16| u8::try_from(*number).map_err(|_| ConvertError::new("too large")),
            |dto: u8| Ok(u16::from(dto)),
        ))
    };
    refused_in_wrappers(codec, &1, &1000, EncodeErrorKind::Convert);
}

/// Wraps into three times as much, and refuses only then.
#[derive(Clone, Copy, Debug)]
struct Thrice;

impl Compress for Thrice {
    fn compress(&self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        out.extend_from_slice(&data.repeat(3));
        match data.len() {
            0..100 => Ok(()),
            _ => Err(EncodeError::new(EncodeErrorKind::Value)),
        }
    }

    fn expand(&self, data: &[u8], out: &mut Expansion) -> Result<(), DecodeError> {
        out.put(&data[..data.len() / 3])
    }
}

// C4
#[test]
fn a_wrapper_that_writes_before_it_looks() {
    let bad = Bytes::from(vec![1; 10_000]);
    let codec = || Raw::new().wrap(Thrice);
    refused_in_wrappers(codec, &Bytes::from("x"), &bad, EncodeErrorKind::Value);
}

/// What `framing` refuses: alone, in parts, and below a codec.
fn framing_refuses<F>(framing: F, good: &[u8], bad: &[u8], kind: EncodeErrorKind)
where
    F: Framing + Clone,
{
    let (good, bad) = (Bytes::copy_from_slice(good), Bytes::copy_from_slice(bad));
    refuses::<_, [u8]>(framing.clone(), &good, &bad, kind);
    refuses::<_, Bytes>(framing.clone(), &good, &bad, kind);
    refuses(framing.clone().with(Raw::new()), &good, &bad, kind);
    let (start, rest) = (&bad[..1], bad.slice(1..));
    for mut batch in [OutputBatch::new(), used()] {
        let before = state(&batch);
        let error = framing.clone().encode_parts(start, &rest, &mut batch);
        assert_eq!(error.unwrap_err().kind(), kind);
        assert_eq!(state(&batch), before);
    }
}

// C4
#[test]
fn a_payload_that_a_framing_cannot_carry() {
    let long = vec![b'7'; 5000];
    let actual = long.len();
    let limited = EncodeErrorKind::TooLong { limit: 20, actual };
    for framing in [
        LengthDelimited::u16(),
        LengthDelimited::u32().le(),
        LengthDelimited::u64().header_included(),
        LengthDelimited::varint(),
    ] {
        framing_refuses(framing.max_frame(20), b"fine", &long, limited);
    }
    let (limit, minimum) = (255, 2);
    let by_header = EncodeErrorKind::TooLong { limit, actual };
    framing_refuses(LengthDelimited::u8(), b"fine", &long, by_header);
    let short = EncodeErrorKind::TooShort { minimum, actual: 1 };
    framing_refuses(LengthDelimited::u8().adjust(-2), b"fine", b"x", short);
    for (lines, newline) in [
        (Lines::lf(), "\n"),
        (Lines::cr(), "\r"),
        (Lines::crlf(), "\r\n"),
    ] {
        let two = [&long[..], newline.as_bytes(), b"and one more"].concat();
        let early = EncodeErrorKind::Delimiter { at: actual };
        framing_refuses(lines.clone(), b"fine", &two, early);
        framing_refuses(lines.max_frame(20), b"fine", &long, limited);
    }
    let early = EncodeErrorKind::Delimiter { at: 4 };
    framing_refuses(Delimiter::new("--"), b"fine", b"fine--not", early);
    framing_refuses(Delimiter::new("--").max_frame(20), b"fine", &long, limited);
    let size = EncodeErrorKind::Size {
        expected: 4,
        actual,
    };
    framing_refuses(FixedSize::new(4), b"fine", &long, size);
    framing_refuses(Cobs::new().max_frame(20), b"fine", &long, limited);
    framing_refuses(Netstring::new().max_frame(20), b"fine", &long, limited);
    framing_refuses(BytesFraming::new().max_frame(20), b"fine", &long, limited);
    framing_refuses(JsonFraming::new().max_frame(20), b"[1]", &long, limited);
    framing_refuses(MsgpackFraming::new().max_frame(20), b"\x01", &long, limited);
    framing_refuses(CborFraming::new().max_frame(20), b"\x01", &long, limited);
    let zlib = Zlib::new().within(ExpansionLimits::new().max_output(20));
    framing_refuses(ZlibFraming::new(zlib), b"fine", &long, limited);
    // One and a half of what each of them carries.
    let value = EncodeErrorKind::Value;
    framing_refuses(JsonFraming::new(), b"[1]", b"[1] [", value);
    framing_refuses(MsgpackFraming::new(), b"\x01", b"\x92\x01\x02\x92", value);
    framing_refuses(CborFraming::new(), b"\x01", b"\x82\x01\x02\x82", value);
    let stapled = Stapled::new(Netstring::new().max_frame(20), Lines::lf());
    framing_refuses(stapled, b"fine", &long, limited);
}

// C4
#[test]
fn a_message_that_is_too_long_for_its_frame() {
    let good = "short".to_owned();
    for (size, limit) in [(300, 255), (5000, 255)] {
        let bad = "x".repeat(size);
        let long = |actual| EncodeErrorKind::TooLong { limit, actual };
        refuses(
            LengthDelimited::u8().with(Json::new()),
            &good,
            &bad,
            long(size + 2),
        );
        refuses(
            LengthDelimited::u8().with(Msgpack::new()),
            &good,
            &bad,
            long(size + 3),
        );
        refuses(
            LengthDelimited::u8().with(Postcard::new()),
            &good,
            &bad,
            long(size + 2),
        );
    }
}

// C4
#[test]
fn a_map_that_json_cannot_express() {
    let good = BTreeMap::new();
    let bad = BTreeMap::from([((1, 2), 3)]);
    refuses(
        LengthDelimited::u16().with(Json::new()),
        &good,
        &bad,
        EncodeErrorKind::Value,
    );
}

/// A framing that writes before it looks.
#[derive(Clone, Debug)]
struct Careless;

impl Decode for Careless {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        Ok((!src.is_empty()).then(|| src.split().freeze()))
    }

    fn need(&self) -> usize {
        1
    }
}

impl Encode<[u8]> for Careless {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        out.put_bytes(Bytes::from(vec![1; OutputBatch::KEEP]));
        out.put_slice(b"header");
        out.frame_done();
        out.put_slice(payload);
        if payload.is_empty() {
            return Err(EncodeError::new(EncodeErrorKind::TooShort {
                minimum: 1,
                actual: 0,
            }));
        }
        out.frame_done();
        Ok(())
    }
}

impl Encode<Bytes> for Careless {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        Encode::<[u8]>::encode(self, payload, out)
    }
}

impl Framing for Careless {}

// C4
#[test]
fn even_a_framing_that_writes_before_it_looks() {
    let mut codec = Careless.with(bowline_codec::Raw::new());
    let mut batch = used();
    let before = state(&batch);
    codec.encode(&Bytes::new(), &mut batch).unwrap_err();
    assert_eq!(state(&batch), before);
    codec
        .encode(&Bytes::from_static(b"fine"), &mut batch)
        .unwrap();
    assert_eq!(batch.unsent_frames(), before.1 + 2);
}
