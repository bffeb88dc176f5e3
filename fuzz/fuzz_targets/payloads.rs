//! Message codecs and wrappers on any frame: a value or an error, which is recoverable, and a value
//! that encodes to what decodes again.
#![no_main]

use bowline_codec::{
    Base64, BinaryMessage, Cbor, Encoding, FixedStr, HttpMessage, Json, JsonMessage, Key,
    LittleEndian, Lz4, Message, MessageCodec, Msgpack, Postcard, Raw, Struct, Text, Zlib,
};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

/// Sequences, options, text: what a format has lengths and tags for.
type Value = (Vec<Option<i64>>, String, bool);

fn total<M: MessageCodec>(codec: &M, frame: &Bytes)
where
    M: MessageCodec<Sent = <M as MessageCodec>::Received>,
{
    match codec.decode(frame) {
        Ok(value) => {
            let mut out = BytesMut::new();
            // Headers may grow beyond their limit in ASCII.
            if codec.encode(&value, &mut out).is_ok() {
                codec
                    .decode(&out.freeze())
                    .map(drop)
                    .expect("what was encoded is decoded");
            }
        }
        Err(error) => assert!(error.is_recoverable(), "a bad frame costs itself"),
    }
}

bowline_codec::fixed_layout! {
    /// Of each kind of field one.
    #[derive(Debug)]
    struct Fields {
        flag: bool,
        number: i32,
        ratio: f64,
        bytes: [u8; 3],
        name: FixedStr<5>,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, frame)) = data.split_first() else {
        return;
    };
    let frame = Bytes::copy_from_slice(frame);
    match kind % 19 {
        0 => total(&Json::<Value>::new(), &frame),
        1 => total(&Msgpack::<Value>::new(), &frame),
        2 => total(&Postcard::<Value>::new(), &frame),
        3 => total(&Cbor::<Value>::new(), &frame),
        4 => total(&JsonMessage::<Value>::codec(), &frame),
        5 => total(&BinaryMessage::codec(), &frame),
        6 => total(&HttpMessage::codec(), &frame),
        7 => total(&Raw::new().wrap(Base64::new()), &frame),
        8 => total(
            &Raw::new().wrap(Base64::new().signed(Key::from_entropy([7; 32]))),
            &frame,
        ),
        9 => total(&Raw::new().wrap(Lz4::new()), &frame),
        10 => total(&Struct::<Fields>::new(), &frame),
        11 => total(&Struct::<Fields, LittleEndian>::new(), &frame),
        12 => total(&Text::new(), &frame),
        13 => total(&Text::new().lossy(), &frame),
        14 => total(&Text::new().encoding(Encoding::Ascii), &frame),
        15 => total(&Text::new().encoding(Encoding::Latin1), &frame),
        16 => total(&Msgpack::<Value>::new().compact(), &frame),
        17 => total(
            &Json::<Value>::new()
                .wrap(Lz4::new())
                .wrap(Base64::new().checksum().standard()),
            &frame,
        ),
        _ => total(&Raw::new().wrap(Zlib::new()), &frame),
    }
});
