//! Every message codec, in every wrapper, behind every framing: what is sent is what is received.

use std::fmt::Debug;

use bowline_codec::{
    Base64, Cbor, CborFraming, Cobs, Codec, Decode, Delimiter, Encode, ExpansionLimits, FixedStr,
    Framing, Json, JsonFraming, JsonMessage, Key, LengthDelimited, Lines, Lz4, Message,
    MessageCodec, Msgpack, MsgpackFraming, Netstring, OutputBatch, Postcard, Raw, Struct, Text,
    Zlib, ZlibFraming,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

/// What all the codecs of serde send.
type Value = (Vec<Option<i64>>, String, bool);

/// How messages are sent: some codec in some wrapper behind some framing, and cut somehow.
struct Trip<'a, T> {
    messages: &'a [T],
    piece: usize,
}

impl<T: Debug + PartialEq> Trip<'_, T> {
    /// Sends all the messages over `codec` and demands them back, as many as it accepts.
    fn over<C>(&self, codec: C) -> usize
    where
        C: Codec<Sent = T, Item = T>,
    {
        let (mut encoder, mut decoder) = codec.split();
        let mut batch = OutputBatch::new();
        let mut sent = Vec::new();
        for message in self.messages {
            // A payload that has the delimiter in it is refused; then nothing of it is on the wire.
            if encoder.encode(message, &mut batch).is_ok() {
                sent.push(message);
            }
        }
        let wire: Vec<u8> = batch.slices().flatten().copied().collect();
        let mut src = BytesMut::new();
        let mut received = Vec::new();
        for piece in wire.chunks(self.piece) {
            src.extend_from_slice(piece);
            while let Some(message) = decoder.decode(&mut src).unwrap() {
                received.push(message);
            }
        }
        assert!(decoder.decode_end(&mut src).unwrap().is_none());
        assert!(
            received.iter().eq(sent.iter().copied()),
            "{received:?} of {sent:?}"
        );
        sent.len()
    }

    /// Over every framing that takes any payload, and over those that refuse some.
    fn framings<M>(&self, codec: impl Fn() -> M)
    where
        M: MessageCodec<Sent = T, Received = T> + 'static,
    {
        let all = self.messages.len();
        assert_eq!(self.over(LengthDelimited::u16().with(codec())), all);
        assert_eq!(
            self.over(LengthDelimited::u32().le().header_included().with(codec())),
            all
        );
        assert_eq!(self.over(LengthDelimited::varint().with(codec())), all);
        assert_eq!(self.over(Cobs::new().with(codec())), all);
        assert_eq!(self.over(Netstring::new().with(codec())), all);
        assert_eq!(
            self.over(ZlibFraming::new(Zlib::new().level(1)).with(codec())),
            all
        );
        self.over(Delimiter::new("\r\n--\r\n").with(codec()));
    }

    /// In every wrapper, and in two at once, behind every framing.
    fn wrappers<M>(&self, codec: impl Fn() -> M)
    where
        M: MessageCodec<Sent = T, Received = T> + 'static,
    {
        let key = || Key::from_entropy([7; 32]);
        let zlib = Zlib::new()
            .level(1)
            .limits(ExpansionLimits::new().max_ratio(2000));
        self.framings(&codec);
        self.framings(|| codec().wrap(Base64::new()));
        self.framings(|| codec().wrap(Base64::new().checksum().standard()));
        self.framings(|| codec().wrap(Base64::new().signed(key())));
        self.framings(|| codec().wrap(zlib));
        self.framings(|| codec().wrap(Lz4::new()));
        self.framings(|| codec().wrap(zlib).wrap(Base64::new().signed(key())));
        // Text has no line end in it, so that none is refused.
        let all = self.messages.len();
        let token = || codec().wrap(Lz4::new()).wrap(Base64::new());
        for lines in [Lines::lf(), Lines::cr(), Lines::crlf()] {
            assert_eq!(self.over(lines.with(token())), all);
        }
    }
}

fn values() -> impl Strategy<Value = Vec<Value>> {
    let value = (
        vec(any::<Option<i64>>(), 0..4),
        any::<String>(),
        any::<bool>(),
    );
    vec(value, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    // C5
    #[test]
    fn values_of_serde(messages in values(), piece in 1..50usize) {
        let trip = Trip { messages: &messages, piece };
        let all = messages.len();
        trip.wrappers(Json::<Value>::new);
        trip.framings(|| Json::<Value>::new().ascii_only().spaced());
        trip.wrappers(Msgpack::<Value>::new);
        trip.framings(|| Msgpack::<Value>::new().compact());
        trip.wrappers(Postcard::<Value>::new);
        trip.wrappers(Cbor::<Value>::new);
        // And the framings that know the format.
        assert_eq!(trip.over(Json::<Value>::new().lines()), all);
        assert_eq!(trip.over(JsonFraming::new().with(Json::<Value>::new())), all);
        assert_eq!(trip.over(MsgpackFraming::new().with(Msgpack::<Value>::new())), all);
        assert_eq!(trip.over(CborFraming::new().with(Cbor::<Value>::new())), all);
    }

    // C5
    #[test]
    fn bytes_text_structs_and_messages(
        payloads in vec(vec(any::<u8>(), 0..40), 0..4),
        texts in vec(any::<String>(), 0..4),
        fixed in vec(any::<[i32; 3]>(), 0..4),
        piece in 1..50usize,
    ) {
        let messages: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
        Trip { messages: &messages, piece }.wrappers(Raw::new);
        Trip { messages: &texts, piece }.wrappers(Text::new);
        let named: Vec<JsonMessage<String>> = texts.iter().cloned().map(JsonMessage::new).collect();
        Trip { messages: &named, piece }.wrappers(JsonMessage::<String>::codec);
        let trip = Trip { messages: &fixed, piece };
        trip.wrappers(Struct::<[i32; 3]>::new);
        assert_eq!(trip.over(Struct::<[i32; 3]>::new().framed()), fixed.len());
        let short: Vec<FixedStr<8>> =
            texts.iter().filter_map(|text| FixedStr::new(text).ok()).collect();
        Trip { messages: &short, piece }.framings(Struct::<FixedStr<8>>::new);
    }
}
