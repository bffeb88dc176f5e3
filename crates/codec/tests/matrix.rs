//! Every message codec, in every wrapper, behind every framing: what is sent is what is received.

#[path = "matrix/limits.rs"]
mod limits;
#[path = "matrix/sharing.rs"]
mod sharing;

use std::fmt::Debug;

use bowline_codec::{
    Base64, BigEndian, BinaryMessage, BytesFraming, Cbor, CborFraming, Cobs, Codec, ConvertFn,
    Decode, Delimiter, Encode, Encoding, ExpansionLimits, FixedSize, FixedStr, Framing,
    HttpMessage, Json, JsonFraming, JsonMessage, Key, LengthDelimited, Lines, LittleEndian, Lz4,
    Message, MessageCodec, Msgpack, MsgpackFraming, Netstring, OutputBatch, Postcard, Raw, Stapled,
    Struct, Text, Zlib, ZlibFraming,
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
        assert_eq!(self.over(LengthDelimited::u64().with(codec())), all);
        let one_way = Stapled::new(Netstring::new(), Netstring::new());
        assert_eq!(self.over(one_way.with(codec())), all);
        assert_eq!(self.over(Cobs::new().with(codec())), all);
        assert_eq!(self.over(Netstring::new().with(codec())), all);
        assert_eq!(
            self.over(ZlibFraming::new(Zlib::new().level(1)).with(codec())),
            all
        );
        // Those refuse what is too long for them, or has a delimiter in it.
        self.over(LengthDelimited::u8().with(codec()));
        self.over(Delimiter::new("\r\n--\r\n").with(codec()));
        self.over_sizes(&codec);
        self.in_one_piece(&codec);
    }

    /// Over lines of every kind, for a codec that puts no line end into its frames.
    fn lines<M>(&self, codec: impl Fn() -> M)
    where
        M: MessageCodec<Sent = T, Received = T> + 'static,
    {
        for lines in [Lines::lf(), Lines::cr(), Lines::crlf()] {
            assert_eq!(self.over(lines.with(codec())), self.messages.len());
        }
    }

    /// Over frames of the size of some message: those of that size arrive.
    fn over_sizes<M>(&self, codec: impl Fn() -> M)
    where
        M: MessageCodec<Sent = T, Received = T> + 'static,
    {
        for message in self.messages {
            let mut frame = BytesMut::new();
            codec().encode(message, &mut frame).unwrap();
            if !frame.is_empty() {
                assert!(self.over(FixedSize::new(frame.len()).with(codec())) > 0);
            }
        }
    }

    /// Without frames: what comes at once is one message.
    fn in_one_piece<M>(&self, codec: impl Fn() -> M)
    where
        M: MessageCodec<Sent = T, Received = T> + 'static,
    {
        let mut framed = BytesFraming::new().with(codec());
        for message in self.messages {
            let mut batch = OutputBatch::new();
            framed.encode(message, &mut batch).unwrap();
            let mut src: BytesMut = batch.slices().flatten().copied().collect();
            // Nothing at all is no message.
            let expected = (!src.is_empty()).then_some(message);
            assert_eq!(framed.decode(&mut src).unwrap().as_ref(), expected);
        }
    }

    /// In every wrapper, and in two at once, behind every framing.
    fn wrappers<M>(&self, codec: impl Fn() -> M)
    where
        M: MessageCodec<Sent = T, Received = T> + 'static,
    {
        let key = || Key::from_entropy([7; 32]);
        let zlib = Zlib::new()
            .level(1)
            .within(ExpansionLimits::new().max_ratio(2000));
        self.framings(&codec);
        self.framings(|| codec().wrap(Base64::new()));
        self.framings(|| codec().wrap(Base64::new().checksum().standard()));
        self.framings(|| codec().wrap(Base64::new().signed(key())));
        self.framings(|| codec().wrap(zlib));
        self.framings(|| codec().wrap(Lz4::new()));
        self.framings(|| codec().wrap(zlib).wrap(Base64::new().signed(key())));
        self.lines(|| codec().wrap(Lz4::new()).wrap(Base64::new()));
        self.lines(|| codec().wrap(Base64::new().standard().signed(key())));
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
        trip.lines(Json::<Value>::new);
        trip.wrappers(|| Json::<Value>::new().ascii_only().spaced());
        trip.wrappers(Msgpack::<Value>::new);
        trip.wrappers(|| Msgpack::<Value>::new().compact());
        trip.wrappers(Postcard::<Value>::new);
        trip.wrappers(Cbor::<Value>::new);
        // And the framings that know the format.
        assert_eq!(trip.over(Json::<Value>::new().lines()), all);
        assert_eq!(trip.over(JsonFraming::new().with(Json::<Value>::new())), all);
        assert_eq!(trip.over(MsgpackFraming::new().with(Msgpack::<Value>::new())), all);
        assert_eq!(trip.over(MsgpackFraming::new().with(Msgpack::<Value>::new().compact())), all);
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
        let latin: Vec<String> =
            messages.iter().map(|bytes| bytes.iter().copied().map(char::from).collect()).collect();
        let encoded = |encoding| move || Text::new().encoding(encoding);
        Trip { messages: &latin, piece }.wrappers(encoded(Encoding::Latin1));
        let ascii: Vec<String> = latin.iter().map(|text| text.replace(|c: char| !c.is_ascii(), "")).collect();
        Trip { messages: &ascii, piece }.wrappers(encoded(Encoding::Ascii));
        let trip = Trip { messages: &fixed, piece };
        trip.wrappers(Struct::<[i32; 3], BigEndian>::new);
        trip.wrappers(Struct::<[i32; 3], LittleEndian>::new);
        assert_eq!(trip.over(Struct::<[i32; 3]>::new().framed()), fixed.len());
        let short: Vec<FixedStr<8>> =
            texts.iter().filter_map(|text| FixedStr::new(text).ok()).collect();
        Trip { messages: &short, piece }.wrappers(Struct::<FixedStr<8>>::new);
    }

    // C5
    #[test]
    fn messages_with_headers(
        texts in vec(any::<String>(), 0..4),
        payloads in vec(vec(any::<u8>(), 0..40), 4),
        piece in 1..50usize,
    ) {
        let named: Vec<JsonMessage<String>> = texts.iter().map(|text| {
            let mut message = JsonMessage::new(text.clone());
            message.headers.set(text, 1);
            message
        }).collect();
        let trip = Trip { messages: &named, piece };
        trip.wrappers(JsonMessage::<String>::codec);
        trip.lines(JsonMessage::<String>::codec);
        assert_eq!(trip.over(JsonFraming::new().with(JsonMessage::<String>::codec())), texts.len());
        let both = || texts.iter().zip(&payloads);
        let binary: Vec<BinaryMessage> = both().map(|(text, payload)| {
            let mut message = BinaryMessage::new(payload.clone().into());
            message.headers.set("said", &text[..]);
            message
        }).collect();
        Trip { messages: &binary, piece }.wrappers(BinaryMessage::codec);
        let requests: Vec<HttpMessage> = both().map(|(text, payload)| {
            let mut request = HttpMessage::new("PUT", text);
            request.params.set(text, text.len());
            request.files.push((text.clone(), payload.clone().into()));
            request.content = payload.clone().into();
            request
        }).collect();
        let trip = Trip { messages: &requests, piece };
        trip.wrappers(HttpMessage::codec);
        trip.lines(HttpMessage::codec);
    }

    // C5
    #[test]
    fn converted_and_stapled(messages in vec(any::<i16>(), 0..4), piece in 1..50usize) {
        let trip = Trip { messages: &messages, piece };
        let converted = || Msgpack::<String>::new().map(ConvertFn::new(
            |number: &i16| Ok(number.to_string()),
            |text: String| Ok(text.parse().expect("a number was sent")),
        ));
        trip.wrappers(converted);
        trip.wrappers(|| Stapled::new(Postcard::<i16>::new(), Postcard::<i16>::new()));
        let two = || LengthDelimited::u32().with(Cbor::<i16>::new());
        assert_eq!(trip.over(Stapled::new(two(), two())), messages.len());
        assert_eq!(trip.over(Zlib::new().framing(Cbor::<i16>::new())), messages.len());
    }
}

// C8, C13, M3
#[test]
fn a_codec_tells_its_limits_through_all_that_is_put_round_it() {
    assert_eq!(Json::<u8>::new().limits().max_depth, Some(128));
    assert_eq!(Postcard::<u8>::new().limits().max_depth, Some(128));
    assert_eq!(Cbor::<u8>::new().limits().max_depth, Some(128));
    assert_eq!(Msgpack::<u8>::new().limits().max_depth, Some(128));
    let limits = ExpansionLimits::new().max_output(5000).max_ratio(7);
    let zlib = Zlib::new().within(limits);
    let converter = || ConvertFn::new(|n: &u8| Ok(*n), |n: u8| Ok(n));
    let codec = Json::<u8>::new().wrap(Base64::new()).wrap(zlib);
    let framed = Netstring::new().max_frame(99).with(codec.map(converter()));
    let all = framed.limits();
    assert_eq!((all.max_frame, all.max_skip), (Some(99), None));
    assert_eq!((all.max_output, all.max_ratio), (Some(5000), Some(7)));
    assert_eq!((all.max_depth, all.max_headers), (Some(128), None));
    assert_eq!(framed.split().1.limits(), all);
    let inflates = zlib.framing(Stapled::new(Raw::new(), Raw::new())).limits();
    assert_eq!(
        (inflates.max_output, inflates.max_ratio),
        (Some(5000), Some(7))
    );
    let lz4 = Raw::new().wrap(Lz4::new().within(limits)).limits();
    assert_eq!((lz4.max_output, lz4.max_depth), (Some(5000), None));
    let message = BinaryMessage::codec().limits();
    let headers = (message.max_headers, message.max_header_bytes);
    assert_eq!(headers, (Some(256), Some(64 * 1024)));
}
