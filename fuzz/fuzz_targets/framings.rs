//! Every framing that is not length-delimited on any bytes in any cut: one sequence of events, every
//! byte accounted for, and what was decoded encodes to what decodes to the same.
#![no_main]

#[path = "../../crates/codec/tests/laws/suite.rs"]
mod suite;

use bowline_codec::{
    BytesFraming, CborFraming, Cobs, Decode, Delimiter, ExpansionLimits, FixedSize, Framing,
    JsonFraming, Lines, MsgpackFraming, Netstring, OutputBatch, Text, Unterminated, Zlib,
    ZlibFraming,
};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

/// The laws, and the way back.
fn holds<F: Framing>(new: impl Fn() -> F, input: &[u8], pieces: &[usize], padding: &[u8]) {
    for event in suite::check_padded(&new, input, pieces, padding) {
        let Ok(frame) = event.what else { continue };
        let mut batch = OutputBatch::new();
        new()
            .encode(&frame, &mut batch)
            .expect("what was decoded can be encoded");
        let mut src: BytesMut = batch.slices().flatten().copied().collect::<Vec<u8>>()[..].into();
        let mut decoder = new();
        let again: Option<Bytes> = decoder.decode(&mut src).expect("what was encoded");
        assert_eq!(again, Some(frame));
        assert_eq!(decoder.decode_end(&mut src).expect("nothing more"), None);
    }
}

/// The laws alone, where an item is all of its bytes: of a last one that has no end the way back is
/// another.
fn holds_with_ends<D: Decode>(new: impl Fn() -> D, input: &[u8], pieces: &[usize])
where
    D::Item: AsRef<[u8]> + std::fmt::Debug + PartialEq,
{
    suite::check(new, input, pieces, |item| item.as_ref().len() as u64);
}

/// What has no frames gives all that came, in pieces that are not too large.
fn gives_all(mut framing: BytesFraming, most: usize, input: &[u8], pieces: &[usize]) {
    let mut src = BytesMut::new();
    let mut came = Vec::new();
    let (mut rest, mut pieces) = (input, pieces.iter().cycle());
    while !rest.is_empty() {
        let piece = rest.len().min(*pieces.next().expect("a cycle"));
        src.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        while let Some(item) = framing.decode(&mut src).expect("anything is an item") {
            assert!((1..=most).contains(&item.len()));
            came.extend_from_slice(&item);
        }
    }
    assert_eq!(framing.decode_end(&mut src).expect("the end"), None);
    assert_eq!(came, input);
}

fuzz_target!(|data: &[u8]| {
    let Some(([kind, frame, skip, first, second], input)) = data.split_first_chunk::<5>() else {
        return;
    };
    let frame = usize::from(*frame) + 1;
    let skip = usize::from(*skip) + 1;
    let pieces = [usize::from(*first) + 1, usize::from(second % 16) + 1];
    match kind % 15 {
        0 => holds(
            || Lines::lf().max_frame(frame).max_skip(skip),
            input,
            &pieces,
            b"",
        ),
        1 => holds(
            || Lines::crlf().max_frame(frame).max_skip(skip),
            input,
            &pieces,
            b"",
        ),
        2 => holds(
            || Delimiter::new(&data[..5]).max_frame(frame).max_skip(skip),
            input,
            &pieces,
            b"",
        ),
        3 => holds(|| FixedSize::new(frame), input, &pieces, b""),
        4 => holds(|| Netstring::new().max_frame(frame), input, &pieces, b""),
        5 => holds(
            || Cobs::new().max_frame(frame).max_skip(skip),
            input,
            &pieces,
            b"\0",
        ),
        6 => holds(
            || JsonFraming::new().max_frame(frame).max_skip(skip),
            input,
            &pieces,
            b" \t\r\n",
        ),
        7 => holds(
            || MsgpackFraming::new().max_frame(frame),
            input,
            &pieces,
            b"",
        ),
        8 => holds(|| CborFraming::new().max_frame(frame), input, &pieces, b""),
        9 => holds(|| ZlibFraming::new(Zlib::new()), input, &pieces, b""),
        10 => holds(
            || Lines::cr().max_frame(frame).max_skip(skip),
            input,
            &pieces,
            b"",
        ),
        11 => {
            // Limits that a few bytes pass.
            let limits = ExpansionLimits::new().max_output(frame).max_ratio(skip);
            let zlib = Zlib::new().within(limits);
            holds(|| ZlibFraming::new(zlib), input, &pieces, b"");
        }
        12 => {
            let lines = || Lines::crlf().max_frame(frame).max_skip(skip).keep_end();
            let accept = || lines().last_without_delimiter(Unterminated::Accept);
            holds_with_ends(accept, input, &pieces);
        }
        13 => {
            // Text that is UTF-8 has as many bytes as came.
            let text = || Lines::lf().max_frame(frame).max_skip(skip).keep_end();
            holds_with_ends(|| text().with(Text::new()), input, &pieces);
        }
        _ => gives_all(BytesFraming::new().max_frame(frame), frame, input, &pieces),
    }
});
