//! What large input costs in single bytes, seen from outside: where a decoder looked at a frame again
//! with each of its bytes, none of these would ever end.
//!
//! How many bytes each framing looks at is counted by the unit tests of the crate.

use bowline_codec::{
    BytesFraming, CborFraming, Cobs, Decode, Delimiter, ExpansionLimits, FixedSize, Framing, Json,
    JsonFraming, LengthDelimited, Lines, MsgpackFraming, Netstring, OutputBatch, Zlib, ZlibFraming,
};
use bytes::{Bytes, BytesMut};

const SIZE: usize = 2 * 1024 * 1024;

/// Decodes `wire` byte by byte; how many items and errors come out, the last of them with its last
/// byte.
fn byte_by_byte<D: Decode>(mut decoder: D, wire: &[u8]) -> (usize, usize) {
    let mut src = BytesMut::new();
    let (mut items, mut errors) = (0, 0);
    for (at, byte) in wire.iter().enumerate() {
        src.extend_from_slice(&[*byte]);
        loop {
            match decoder.decode(&mut src) {
                Ok(None) => break,
                Ok(Some(_)) => items += 1,
                Err(error) => {
                    assert!(error.is_recoverable(), "{error} at {at}");
                    errors += 1;
                }
            }
        }
    }
    assert!(decoder.decode_end(&mut src).unwrap().is_none());
    (items, errors)
}

/// One frame of `payload`, as it is on the wire.
fn wire<F: Framing>(mut framing: F, payload: Vec<u8>) -> Vec<u8> {
    let mut batch = OutputBatch::new();
    framing.encode(&Bytes::from(payload), &mut batch).unwrap();
    batch.slices().collect::<Vec<_>>().concat()
}

/// One frame of `payload`.
fn one<F: Framing + Clone>(framing: F, payload: Vec<u8>) {
    let wire = wire(framing.clone(), payload);
    assert_eq!(byte_by_byte(framing, &wire), (1, 0));
}

fn text() -> Vec<u8> {
    vec![b'x'; SIZE]
}

const LARGE: usize = 2 * SIZE;

// F9
#[test]
fn a_large_line() {
    one(Lines::lf().max_frame(LARGE), text());
    one(Lines::crlf().max_frame(LARGE), text());
}

// F9
#[test]
fn a_large_delimited_frame() {
    // Half of the delimiter is in it again and again.
    one(Delimiter::new("xxxxxxxy").max_frame(LARGE), text());
}

// F9
#[test]
fn large_frames_of_a_known_length() {
    one(LengthDelimited::u32().max_frame(LARGE), text());
    one(FixedSize::new(SIZE), text());
    one(Netstring::new().max_frame(LARGE), text());
}

// F9
#[test]
fn a_large_frame_of_cobs() {
    one(Cobs::new().max_frame(LARGE), text());
}

// F9
#[test]
fn a_large_json_document() {
    let string = [b"[\"", &text()[..], b"\"]"].concat();
    one(JsonFraming::new().max_frame(LARGE), string);
    let nested = [vec![b'['; SIZE / 2], vec![b']'; SIZE / 2]].concat();
    one(JsonFraming::new().max_frame(LARGE), nested);
}

// F9
#[test]
fn large_items_of_binary_formats() {
    let length = (SIZE as u32).to_be_bytes();
    let framing = || MsgpackFraming::new().max_frame(LARGE);
    one(framing(), [&[0xc6][..], &length, &text()].concat());
    // As many values in one.
    one(framing(), [&[0xdd][..], &length, &vec![1; SIZE]].concat());
    let framing = || CborFraming::new().max_frame(LARGE);
    one(framing(), [&[0x5a][..], &length, &text()].concat());
    one(framing(), [&[0x9a][..], &length, &vec![1; SIZE]].concat());
}

// F9
#[test]
fn a_large_zlib_stream() {
    // Not compressed, so that all of it is on the wire.
    let limits = ExpansionLimits::new().max_output(LARGE);
    one(
        ZlibFraming::new(Zlib::new().level(0).within(limits)),
        text(),
    );
}

// F9
#[test]
fn what_is_discarded() {
    let framing = Lines::lf().max_frame(10).max_skip(LARGE);
    let long = [text(), vec![b'\n']].concat();
    assert_eq!(byte_by_byte(framing, &long), (0, 1));
    let framing = Cobs::new().max_frame(10).max_skip(LARGE);
    let long = [vec![1; SIZE], vec![0]].concat();
    assert_eq!(byte_by_byte(framing, &long), (0, 1));
    let framing = LengthDelimited::u32().skip_oversized().max_skip(LARGE);
    let long = [&(SIZE as u32).to_be_bytes()[..], &text()].concat();
    assert_eq!(byte_by_byte(framing, &long), (0, 1));
}

// F9
#[test]
fn without_frames_and_below_a_codec() {
    assert_eq!(byte_by_byte(BytesFraming::new(), &text()), (SIZE, 0));
    let text = String::from_utf8(text()).unwrap();
    let mut document = BytesMut::new();
    Json::<String>::new().encode(&text, &mut document).unwrap();
    let document = document.to_vec();
    let framed = JsonFraming::new()
        .max_frame(LARGE)
        .with(Json::<String>::new());
    assert_eq!(byte_by_byte(framed, &document), (1, 0));
}
