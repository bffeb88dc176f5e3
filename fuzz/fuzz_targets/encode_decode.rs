//! Messages made of the input, of any codec in any wrapper behind any framing, of sizes around the
//! limits: each is refused whole, or is what comes out at the other end however the bytes are cut.
#![no_main]

use std::fmt::Debug;
use std::sync::Arc;

use bowline_codec::{
    Base64, BinaryMessage, BytesFraming, Cbor, CborFraming, Cobs, Codec, Decode, DecodeError,
    Delimiter, Encode, EncodeError, Encoding, ExpansionLimits, FixedSize, FixedStr, Framing,
    HttpMessage, Json, JsonFraming, JsonMessage, Key, LengthDelimited, Limits, Lines, LittleEndian,
    Lz4, Message, MessageCodec, Msgpack, MsgpackFraming, Netstring, OutputBatch, Postcard, Raw,
    Struct, Text, Zlib, ZlibFraming,
};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

/// What all codecs of serde send: sequences, options, text.
type Value = (Vec<Option<i64>>, String, bool);

bowline_codec::fixed_layout! {
    /// Of each kind of field one.
    #[derive(Clone, Debug, PartialEq)]
    struct Fields {
        flag: bool,
        number: i32,
        bytes: [u8; 3],
        name: FixedStr<5>,
    }
}

/// The input, of which whatever is asked for is made; at its end it is zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn number(&mut self, below: usize) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()])) % below
    }

    /// A size that is next to `limit`, or any other.
    fn size(&mut self, limit: usize) -> usize {
        match self.byte() % 8 {
            0 => 0,
            1 => limit.saturating_sub(1),
            2 => limit,
            3 => limit + 1,
            4 => limit / 2,
            5 => self.number(2 * limit + 2),
            _ => self.byte().into(),
        }
    }

    /// So many bytes, of a few again and again.
    fn bytes(&mut self, limit: usize) -> Bytes {
        let size = self.size(limit);
        let pattern = usize::from(self.byte() % 8) + 1;
        let pattern: Vec<u8> = (0..pattern).map(|_| self.byte()).collect();
        pattern.iter().copied().cycle().take(size).collect()
    }

    /// Text of any plane, whose encoded form is of such a size.
    fn text(&mut self, limit: usize) -> String {
        let bytes = self.bytes(limit);
        match self.byte() % 4 {
            0 => String::from_utf8_lossy(&bytes).into_owned(),
            1 => bytes.iter().copied().map(char::from).collect(),
            2 => bytes.iter().map(|byte| char::from(byte & 0x7f)).collect(),
            _ => bytes
                .chunks(3)
                .filter_map(|three| {
                    let [a, b, c] = [0, 1, 2].map(|n| three.get(n).copied().unwrap_or_default());
                    char::from_u32(u32::from_be_bytes([0, a & 0x1f, b, c]))
                })
                .collect(),
        }
    }

    fn integer(&mut self) -> i64 {
        let shift = self.byte() % 64;
        i64::from_be_bytes([0; 8].map(|_| self.byte())) >> shift
    }

    fn several<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.byte() % 4).map(|_| one(self)).collect()
    }
}

/// A codec whose type is not known, so that not each pair of a codec and a framing is code of its own.
struct Any<T>(Arc<dyn MessageCodec<Sent = T, Received = T>>);

impl<T> Clone for Any<T> {
    fn clone(&self) -> Self {
        Any(Arc::clone(&self.0))
    }
}

impl<T> MessageCodec for Any<T> {
    type Sent = T;
    type Received = T;

    fn encode(&self, message: &T, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.0.encode(message, out)
    }

    fn decode(&self, frame: &Bytes) -> Result<T, DecodeError> {
        self.0.decode(frame)
    }

    fn decode_owned(&self, frame: Bytes) -> Result<T, DecodeError> {
        self.0.decode_owned(frame)
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn keeps_frame(&self) -> bool {
        self.0.keeps_frame()
    }

    fn encoded(&self, message: &T) -> Option<Bytes> {
        self.0.encoded(message)
    }

    fn encode_start(&self, message: &T, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        self.0.encode_start(message, out)
    }
}

/// Which payloads a framing takes, of those that are not too long.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    All,
    /// Not those that have its delimiter in them, or are none of its format.
    Some,
    /// As `Some`, and of those that end with this one the end is taken for the delimiter.
    Ended(&'static str),
}

/// Sends the messages, and demands back those that were not refused.
fn sent_is_received<T, F>(framing: F, takes: Takes, codec: &Any<T>, messages: &[T], piece: usize)
where
    T: Debug + PartialEq + 'static,
    F: Framing + Clone + Send + 'static,
{
    let most = Decode::limits(&framing).max_frame;
    let (mut encoder, mut decoder) = framing.with(codec.clone()).split();
    let mut batch = OutputBatch::new();
    let mut sent = Vec::new();
    for message in messages {
        let mut alone = BytesMut::from(&b"before"[..]);
        let payload = codec.encode(message, &mut alone).map(|()| alone.len() - 6);
        assert_eq!(&alone[..6], b"before");
        if payload.is_err() {
            assert_eq!(alone.len(), 6, "half a message");
        } else {
            let frame = alone.freeze().slice(6..);
            let whole = codec.encoded(message);
            assert!(whole.is_none_or(|whole| whole == frame), "another form");
            let mut start = BytesMut::new();
            let rest = codec.encode_start(message, &mut start);
            let rest = rest.expect("it is encoded as well");
            assert_eq!([&start[..], &rest].concat(), frame);
            assert_eq!(&codec.decode(&frame).expect("what was encoded"), message);
            if let Takes::Ended(end) = takes
                && frame.ends_with(end.as_bytes())
            {
                continue;
            }
        }
        let before: Vec<u8> = batch.slices().flatten().copied().collect();
        let accepted = encoder.encode(message, &mut batch).is_ok();
        let fits = payload.map(|len| most.is_none_or(|most| len <= most));
        match (accepted, fits) {
            (true, Ok(true)) => sent.push(message),
            (true, _) => panic!("what should be refused is sent"),
            (false, Ok(true)) => assert!(takes != Takes::All, "what fits is refused"),
            (false, _) => {}
        }
        if !accepted {
            assert!(batch.slices().flatten().eq(&before), "half a frame");
        }
    }
    assert_eq!(batch.unsent_frames(), sent.len());
    let wire: Vec<u8> = batch.slices().flatten().copied().collect();
    let mut src = BytesMut::new();
    let mut received = Vec::new();
    for piece in wire.chunks(piece) {
        src.extend_from_slice(piece);
        while let Some(message) = decoder.decode(&mut src).expect("what was sent") {
            received.push(message);
        }
    }
    assert_eq!(decoder.decode_end(&mut src).expect("the end"), None);
    assert!(received.iter().eq(sent), "{received:?}");
}

/// Behind a framing that takes at most `limit` bytes.
fn behind<T: Debug + PartialEq + 'static>(
    kind: u8,
    limit: usize,
    piece: usize,
    codec: &Any<T>,
    messages: &[T],
) {
    let delimiter = &b"\r\n--"[..1 + limit % 4];
    let limits = ExpansionLimits::new().max_output(limit);
    macro_rules! over {
        ($framing:expr, $takes:ident $(($end:literal))?) => {
            sent_is_received($framing, Takes::$takes $(($end))?, codec, messages, piece)
        };
    }
    match kind % 17 {
        0 => over!(LengthDelimited::u8().max_frame(limit.min(255)), All),
        1 => over!(LengthDelimited::u16().le().max_frame(limit), All),
        2 => over!(
            LengthDelimited::u32().header_included().max_frame(limit),
            All
        ),
        3 => over!(LengthDelimited::u64().adjust(7).max_frame(limit), All),
        4 => over!(LengthDelimited::varint().max_frame(limit), All),
        5 => over!(Cobs::new().max_frame(limit), All),
        6 => over!(Netstring::new().max_frame(limit), All),
        7 => over!(Lines::lf().max_frame(limit), Ended("\n")),
        8 => over!(Lines::crlf().max_frame(limit), Ended("\r\n")),
        9 => over!(Lines::cr().max_frame(limit), Ended("\r")),
        10 => over!(Delimiter::new(delimiter).max_frame(limit), Some),
        11 => over!(FixedSize::new(limit), Some),
        12 => over!(JsonFraming::new().max_frame(limit), Some),
        13 => over!(MsgpackFraming::new().max_frame(limit), Some),
        14 => over!(CborFraming::new().max_frame(limit), Some),
        15 => over!(ZlibFraming::new(Zlib::new().level(1).within(limits)), Some),
        // Without frames what comes at once is one message, unless it is nothing.
        _ => {
            let mut framed = BytesFraming::new().max_frame(limit).with(codec.clone());
            for message in messages {
                let mut batch = OutputBatch::new();
                if framed.encode(message, &mut batch).is_ok() && !batch.is_empty() {
                    let mut src: BytesMut = batch.slices().flatten().copied().collect();
                    let received = framed.decode(&mut src).expect("what was sent");
                    assert_eq!(received.as_ref(), Some(message));
                }
            }
        }
    }
}

/// In a wrapper, or in two, behind a framing.
fn wrapped<T: Debug + PartialEq + 'static>(
    input: &mut Input<'_>,
    limit: usize,
    codec: impl MessageCodec<Sent = T, Received = T> + 'static,
    messages: &[T],
) {
    let [wrapper, framing, piece] = [(); 3].map(|()| input.byte());
    let limits = ExpansionLimits::new().max_output(limit + 8);
    let zlib = Zlib::new().level(1).within(limits);
    let key = Key::from_entropy([7; 32]);
    let codec: Any<T> = match wrapper % 8 {
        0 => Any(Arc::new(codec.wrap(Base64::new()))),
        1 => Any(Arc::new(codec.wrap(Base64::new().checksum().standard()))),
        2 => Any(Arc::new(codec.wrap(Base64::new().signed(key)))),
        3 => Any(Arc::new(codec.wrap(zlib))),
        4 => Any(Arc::new(codec.wrap(Lz4::new().within(limits)))),
        5 => Any(Arc::new(codec.wrap(zlib).wrap(Base64::new().signed(key)))),
        _ => Any(Arc::new(codec)),
    };
    behind(framing, limit, usize::from(piece) + 1, &codec, messages);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let input = &mut input;
    let kind = input.byte();
    let limit = 1 + match input.byte() % 3 {
        0 => input.number(16),
        1 => input.number(300),
        _ => input.number(6000),
    };
    let depth = usize::from(input.byte() % 8) + 1;
    match kind % 16 {
        0..=7 => {
            let values: Vec<Value> = input.several(|input| {
                let numbers = input.several(|input| {
                    let some = input.byte() % 4 > 0;
                    some.then(|| input.integer())
                });
                (numbers, input.text(limit), input.byte() % 2 == 0)
            });
            match kind % 8 {
                0 => wrapped(input, limit, Json::new().max_depth(depth), &values),
                1 => wrapped(input, limit, Json::new().ascii_only().spaced(), &values),
                2 => wrapped(input, limit, Msgpack::new().max_depth(depth), &values),
                3 => wrapped(input, limit, Msgpack::new().compact(), &values),
                4 => wrapped(input, limit, Postcard::new().max_depth(depth), &values),
                5 => wrapped(input, limit, Cbor::new().max_depth(depth), &values),
                6 => wrapped(input, limit, Json::new(), &values),
                _ => wrapped(input, limit, Cbor::new(), &values),
            }
        }
        8 => {
            let bytes = input.several(|input| input.bytes(limit));
            wrapped(input, limit, Raw::new(), &bytes);
        }
        9..=11 => {
            let texts = input.several(|input| input.text(limit));
            let encoding = [Encoding::Utf8, Encoding::Latin1, Encoding::Ascii];
            let codec = Text::new().encoding(encoding[usize::from(kind % 3)]);
            wrapped(input, limit, codec, &texts);
        }
        12 => {
            let fields = input.several(|input| Fields {
                flag: input.byte() % 2 == 0,
                number: input.integer() as i32,
                bytes: [0; 3].map(|_| input.byte()),
                name: FixedStr::new(&input.text(5)).unwrap_or_default(),
            });
            match input.byte() % 2 {
                0 => wrapped(input, limit, Struct::<Fields>::new(), &fields),
                _ => wrapped(input, limit, Struct::<Fields, LittleEndian>::new(), &fields),
            }
        }
        13 => {
            let messages = input.several(|input| {
                let mut message = JsonMessage::new(input.text(limit));
                message.headers.set(&input.text(8), input.integer());
                message
            });
            wrapped(input, limit, JsonMessage::<String>::codec(), &messages);
        }
        14 => {
            let messages = input.several(|input| {
                let mut message = BinaryMessage::new(input.bytes(limit));
                message.headers.set(&input.text(8), input.text(8));
                message
            });
            wrapped(input, limit, BinaryMessage::codec(), &messages);
        }
        _ => {
            let messages = input.several(|input| {
                let mut message = HttpMessage::new(&input.text(8), &input.text(8));
                message.params.set(&input.text(8), input.integer());
                message.files.push((input.text(8), input.bytes(16)));
                message.content = input.bytes(limit);
                message
            });
            wrapped(input, limit, HttpMessage::codec(), &messages);
        }
    }
});
