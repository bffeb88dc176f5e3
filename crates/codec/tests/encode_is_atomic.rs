//! A failed `encode` leaves the output as it was.

use std::collections::BTreeMap;

use bowline_codec::{
    Codec, Decode, DecodeError, Encode, EncodeError, EncodeErrorKind, Framing, Json,
    LengthDelimited, MessageCodec, Msgpack, OutputBatch, Postcard,
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

fn refuses<E: Encode<T>, T>(mut encoder: E, good: &T, bad: &T, kind: EncodeErrorKind) {
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

// C4
#[test]
fn a_message_that_fails_half_way() {
    fn all<M>(codec: fn() -> M)
    where
        M: MessageCodec<Sent = Result<u8, Half>> + std::fmt::Debug + 'static,
    {
        let (good, bad) = (Ok(1), Err(Half));
        let mut out = BytesMut::from(&b"before"[..]);
        assert_eq!(
            codec().encode(&bad, &mut out).unwrap_err().kind(),
            EncodeErrorKind::Value
        );
        assert_eq!(&out[..], b"before");
        for framing in [LengthDelimited::u32, LengthDelimited::varint] {
            refuses(framing().with(codec()), &good, &bad, EncodeErrorKind::Value);
            refuses(
                framing().with(codec()).split().0,
                &good,
                &bad,
                EncodeErrorKind::Value,
            );
        }
    }
    all(Json::<Result<u8, Half>>::new);
    all(Msgpack::<Result<u8, Half>>::new);
    all(|| Msgpack::<Result<u8, Half>>::new().compact());
    all(Postcard::<Result<u8, Half>>::new);
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
