//! Every framing that is not length-delimited on any bytes in any cut: one sequence of events, every
//! byte accounted for, and what was decoded encodes to what decodes to the same.
#![no_main]

#[expect(dead_code, reason = "the other check is for other framings")]
#[path = "../../crates/codec/tests/laws/suite.rs"]
mod suite;

use bowline_codec::{
    CborFraming, Cobs, Delimiter, FixedSize, Framing, JsonFraming, Lines, MsgpackFraming,
    Netstring, OutputBatch, Zlib, ZlibFraming,
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

fuzz_target!(|data: &[u8]| {
    let Some(([kind, frame, skip, first, second], input)) = data.split_first_chunk::<5>() else {
        return;
    };
    let frame = usize::from(*frame) + 1;
    let skip = usize::from(*skip) + 1;
    let pieces = [usize::from(*first) + 1, usize::from(second % 16) + 1];
    match kind % 10 {
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
        _ => holds(|| ZlibFraming::new(Zlib::new()), input, &pieces, b""),
    }
});
