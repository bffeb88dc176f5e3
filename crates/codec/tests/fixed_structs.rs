//! Fixed structs: byte orders, truth values, text, sizes.

use bowline_codec::{
    ByteOrder, Decode, DecodeErrorKind, Encode, EncodeErrorKind, Encoding, FixedLayout, FixedStr,
    LittleEndian, MessageCodec, OutputBatch, Struct, fixed_layout,
};
use bytes::{Bytes, BytesMut};
use serde_json::Value;

fixed_layout! {
    #[derive(Clone, Debug, PartialEq)]
    struct Inner {
        flag: bool,
        id: [u8; 3],
    }
}

fixed_layout! {
    /// One of each.
    #[derive(Clone, Debug, PartialEq)]
    struct Everything {
        a: u8,
        b: i16,
        c: u32,
        d: i64,
        e: f32,
        f: f64,
        g: u128,
        inner: [Inner; 2],
        name: FixedStr<4>,
    }
}

fixed_layout! {
    /// EasyNetwork's `NamedTupleStructSerializer` with format `!id8s`.
    #[derive(Clone, Debug, PartialEq)]
    struct Named { x: i32, y: f64, name: FixedStr<8> }
}

fn text<const N: usize>(text: &str) -> FixedStr<N> {
    FixedStr::new(text).unwrap()
}

fn everything() -> Everything {
    Everything {
        a: 1,
        b: -2,
        c: 0x0102_0304,
        d: -5,
        e: 1.5,
        f: -0.25,
        g: 7,
        inner: [
            Inner {
                flag: true,
                id: *b"abc",
            },
            Inner {
                flag: false,
                id: [0, 0xff, 1],
            },
        ],
        name: text("nam"),
    }
}

fn written<E: ByteOrder>(message: &Everything) -> Bytes {
    let mut out = BytesMut::new();
    Struct::<Everything, E>::new()
        .encode(message, &mut out)
        .unwrap();
    out.freeze()
}

// C10
#[test]
fn every_field_is_at_its_place_in_either_order() {
    assert_eq!(Everything::SIZE, 1 + 2 + 4 + 8 + 4 + 8 + 16 + 2 * 4 + 4);
    let big = written::<bowline_codec::BigEndian>(&everything());
    assert_eq!(
        big,
        [
            &[1, 0xff, 0xfe, 1, 2, 3, 4][..],
            &(-5i64).to_be_bytes(),
            &1.5f32.to_be_bytes(),
            &(-0.25f64).to_be_bytes(),
            &7u128.to_be_bytes(),
            b"\x01abc\x00\x00\xff\x01nam\x00",
        ]
        .concat()
    );
    let little = written::<LittleEndian>(&everything());
    assert_eq!(
        little,
        [
            &[1, 0xfe, 0xff, 4, 3, 2, 1][..],
            &(-5i64).to_le_bytes(),
            &1.5f32.to_le_bytes(),
            &(-0.25f64).to_le_bytes(),
            &7u128.to_le_bytes(),
            b"\x01abc\x00\x00\xff\x01nam\x00",
        ]
        .concat()
    );
    assert_eq!(
        Struct::<Everything>::new().decode(&big).unwrap(),
        everything()
    );
    let codec = Struct::<Everything, LittleEndian>::new();
    assert_eq!(codec.decode(&little).unwrap(), everything());
}

// C10
#[test]
fn a_truth_value_is_0_or_1() {
    let refused = |byte: u8| {
        let mut frame = written::<LittleEndian>(&everything()).to_vec();
        frame[43] = byte;
        let codec = Struct::<Everything, LittleEndian>::new();
        codec.decode(&frame.into()).map_err(|error| error.kind())
    };
    assert!(refused(0).is_ok() && refused(1).is_ok());
    for byte in 2..=255 {
        assert_eq!(
            refused(byte),
            Err(DecodeErrorKind::Syntax {
                line: 0,
                column: 43
            })
        );
    }
}

// C10
#[test]
fn nuls_pad_text_at_its_end_only() {
    let read = |bytes: &'static [u8; 6]| {
        let frame = Bytes::from_static(bytes);
        let text = Struct::<FixedStr<6>>::new().decode(&frame);
        text.map(|text| text.as_str().to_owned())
            .map_err(|error| error.kind())
    };
    assert_eq!(read(b"ab\0\0\0\0").unwrap(), "ab");
    assert_eq!(read(b"a\0b\0\0\0").unwrap(), "a\0b");
    assert_eq!(read(b"\0\0\0\0\0\0").unwrap(), "");
    assert_eq!(read(b"abcdef").unwrap(), "abcdef");
    assert_eq!(read(b"\0bcdef").unwrap(), "\0bcdef");
    assert_eq!(
        read(b"a\xc3\xa9\xc3\0\0"),
        Err(DecodeErrorKind::Text {
            encoding: Encoding::Utf8,
            valid_up_to: 3
        })
    );

    assert_eq!(text::<6>("ab\0\0"), text("ab"));
    assert_eq!(text::<6>("a\0b").as_str(), "a\0b");
    assert_eq!(text::<3>("abc\0\0\0").as_str(), "abc");
    let error = FixedStr::<3>::new("\u{20ac}\u{20ac}").unwrap_err();
    assert_eq!(
        error.kind(),
        EncodeErrorKind::TooLong {
            limit: 3,
            actual: 6
        }
    );
    assert_eq!(
        format!("{} {:?}", text::<6>("a\n"), text::<6>("a\n")),
        "a\n \"a\\n\""
    );
}

// C10
#[test]
fn a_frame_of_another_size_is_refused() {
    let codec = Struct::<Named>::new();
    for actual in [0, 19, 21] {
        let error = codec.decode(&vec![0; actual].into()).unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::Size {
                expected: 20,
                actual
            }
        );
        assert!(error.is_recoverable());
    }
}

// C10
#[test]
fn easynetwork_sends_and_reads_the_same() {
    let all: Value =
        serde_json::from_str(include_str!("fixtures/easynetwork-serializers.json")).unwrap();
    let rows = all["sets"]["named_struct_network_i_d_8s"]
        .as_array()
        .unwrap();
    let mut stream = BytesMut::new();
    let mut expected = Vec::new();
    for row in rows {
        let packet = &row["packet"];
        let named = Named {
            x: i32::try_from(packet["x"].as_i64().unwrap()).unwrap(),
            y: packet["y"].as_f64().unwrap(),
            name: text(packet["name"].as_str().unwrap()),
        };
        let mut batch = OutputBatch::new();
        Struct::<Named>::new()
            .framed()
            .encode(&named, &mut batch)
            .unwrap();
        let hex: String = batch
            .slices()
            .flatten()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, row["stream_hex"].as_str().unwrap());
        batch
            .slices()
            .for_each(|slice| stream.extend_from_slice(slice));
        expected.push(named);
    }
    assert_eq!(expected.len(), 3);
    let mut decoder = Struct::<Named>::new().framed();
    for named in expected {
        assert_eq!(decoder.decode(&mut stream).unwrap(), Some(named));
    }
    assert_eq!(decoder.decode_end(&mut stream).unwrap(), None);
}
