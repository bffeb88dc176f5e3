//! The laws for message codecs and wrappers in frames: each message stands alone.

use std::fmt::Debug;

use bowline_codec::{
    Base64, BinaryMessage, Cbor, Codec, ConvertError, ConvertFn, Encode, Encoding, Framing,
    HttpMessage, Json, JsonMessage, Key, LengthDelimited, LittleEndian, Lz4, Message, MessageCodec,
    Msgpack, OutputBatch, Postcard, Raw, Stapled, Struct, Text, Zlib,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::suite::{Cut, run};

/// Frames of which some are what a codec sends, some are that with a damage, and some are noise.
struct Mixed<'a> {
    noise: &'a [Vec<u8>],
    damage: (prop::sample::Index, u8),
    pieces: &'a [usize],
}

impl Mixed<'_> {
    fn frames<M: MessageCodec>(&self, codec: &M, messages: &[M::Sent]) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut noise = self.noise.iter();
        for message in messages {
            let mut frame = BytesMut::new();
            codec.encode(message, &mut frame).unwrap();
            frames.push(frame.clone().freeze());
            frames.extend(noise.next().map(|frame| Bytes::copy_from_slice(frame)));
            if !frame.is_empty() {
                let at = self.damage.0.index(frame.len());
                frame[at] ^= self.damage.1;
            }
            frames.push(frame.freeze());
        }
        frames.extend(noise.map(|frame| Bytes::copy_from_slice(frame)));
        frames
    }

    /// The events of framed messages are those of decoding each frame by itself, in place.
    fn stands_alone<M>(&self, codec: impl Fn() -> M, messages: &[M::Sent])
    where
        M: MessageCodec<Received: Debug + PartialEq> + 'static,
    {
        let frames = self.frames(&codec(), messages);
        let mut batch = OutputBatch::new();
        for frame in &frames {
            LengthDelimited::u16().encode(frame, &mut batch).unwrap();
        }
        let input: Vec<u8> = batch.slices().flatten().copied().collect();
        let new = || LengthDelimited::u16().with(codec());
        let cuts = [
            Cut::Whole,
            Cut::Pieces(vec![1]),
            Cut::AsNeeded,
            Cut::Pieces(self.pieces.to_vec()),
        ];
        for cut in cuts {
            for events in [run(new(), &input, &cut), run(new().split().1, &input, &cut)] {
                assert_eq!(events.len(), frames.len());
                let mut start = 0;
                for (event, frame) in events.into_iter().zip(&frames) {
                    let whole = 2 + frame.len() as u64;
                    match (event.what, codec().decode(frame)) {
                        (Ok(message), Ok(expected)) => assert_eq!(message, expected),
                        (Err(failure), Err(expected)) => {
                            assert_eq!(failure.kind, expected.kind());
                            assert!(failure.recoverable, "a bad message costs its frame only");
                            assert_eq!((failure.offset, failure.skipped), (start, whole));
                        }
                        (framed, alone) => panic!("{framed:?} framed but {alone:?} alone"),
                    }
                    start += whole;
                    assert_eq!(event.at, start);
                }
            }
        }
    }

    fn in_wrappers<M>(&self, codec: impl Fn() -> M, messages: &[M::Sent])
    where
        M: MessageCodec<Received: Debug + PartialEq> + 'static,
    {
        let signed = || Base64::new().signed(Key::from_entropy([7; 32]));
        let zlib = Zlib::new().level(1);
        self.stands_alone(&codec, messages);
        self.stands_alone(|| codec().wrap(Base64::new()), messages);
        self.stands_alone(|| codec().wrap(Base64::new().checksum()), messages);
        self.stands_alone(|| codec().wrap(signed()), messages);
        self.stands_alone(|| codec().wrap(zlib), messages);
        self.stands_alone(|| codec().wrap(Lz4::new()), messages);
        self.stands_alone(|| codec().wrap(zlib).wrap(signed()), messages);
    }
}

/// Frames that are messages of some format, or of none.
fn noise() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let frame = prop_oneof![
        any::<(u8, bool)>().prop_map(|value| serde_json::to_vec(&value).unwrap()),
        any::<(u8, bool)>().prop_map(|value| rmp_serde::to_vec(&value).unwrap()),
        any::<(u8, bool)>().prop_map(|value| postcard::to_allocvec(&value).unwrap()),
        vec(any::<u8>(), 0..12),
    ];
    vec(frame, 0..6)
}

type Value = (u8, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // C1, C2, C3
    #[test]
    fn values_of_serde_stand_alone(
        messages in vec(any::<Value>(), 0..4),
        noise in noise(),
        damage in any::<(prop::sample::Index, u8)>(),
        pieces in vec(1..9usize, 1..6),
    ) {
        let mixed = Mixed { noise: &noise, damage, pieces: &pieces };
        mixed.in_wrappers(Json::<Value>::new, &messages);
        mixed.in_wrappers(|| Json::<Value>::new().ascii_only().spaced(), &messages);
        mixed.in_wrappers(Msgpack::<Value>::new, &messages);
        mixed.in_wrappers(|| Msgpack::<Value>::new().compact(), &messages);
        mixed.in_wrappers(Postcard::<Value>::new, &messages);
        mixed.in_wrappers(Cbor::<Value>::new, &messages);
        mixed.in_wrappers(|| Stapled::new(Json::<Value>::new(), Raw::new()), &messages);
        let converted = || Cbor::<Value>::new().map(ConvertFn::new(
            |value: &Value| Ok(*value),
            |(number, flag)| match number {
                0..200 => Ok((number, flag)),
                _ => Err(ConvertError::new("too large")),
            },
        ));
        mixed.in_wrappers(converted, &messages);
    }

    // C1, C2, C3
    #[test]
    fn text_bytes_and_structs_stand_alone(
        texts in vec("[a-z\u{e9}]{0,9}", 0..4),
        fixed in vec(any::<[i16; 3]>(), 0..4),
        noise in noise(),
        damage in any::<(prop::sample::Index, u8)>(),
        pieces in vec(1..9usize, 1..6),
    ) {
        let mixed = Mixed { noise: &noise, damage, pieces: &pieces };
        mixed.in_wrappers(Text::new, &texts);
        mixed.in_wrappers(|| Text::new().lossy(), &texts);
        mixed.in_wrappers(|| Text::new().encoding(Encoding::Latin1), &texts);
        mixed.in_wrappers(|| Text::new().encoding(Encoding::Ascii).lossy(), &texts);
        let payloads: Vec<Bytes> = texts.iter().map(|text| text.clone().into()).collect();
        mixed.in_wrappers(Raw::new, &payloads);
        mixed.in_wrappers(Struct::<[i16; 3]>::new, &fixed);
        mixed.in_wrappers(Struct::<[i16; 3], LittleEndian>::new, &fixed);
    }

    // C1, C2, C3
    #[test]
    fn messages_with_headers_stand_alone(
        texts in vec("[a-z\u{e9}]{0,9}", 0..4),
        noise in noise(),
        damage in any::<(prop::sample::Index, u8)>(),
        pieces in vec(1..90usize, 1..6),
    ) {
        let mixed = Mixed { noise: &noise, damage, pieces: &pieces };
        let json: Vec<_> = texts.iter().cloned().map(JsonMessage::new).collect();
        mixed.in_wrappers(JsonMessage::<String>::codec, &json);
        let payloads = texts.iter().map(|text| BinaryMessage::new(text.clone().into()));
        mixed.in_wrappers(BinaryMessage::codec, &payloads.collect::<Vec<_>>());
        let requests = texts.iter().map(|text| HttpMessage::new("GET", text));
        mixed.in_wrappers(HttpMessage::codec, &requests.collect::<Vec<_>>());
    }
}
