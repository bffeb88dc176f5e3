//! Length-delimited framing on any bytes in any cut: one sequence of events, every byte accounted
//! for, no frame over the limit, and what was decoded encodes to what was read.
#![no_main]

#[path = "../../crates/codec/tests/laws/suite.rs"]
mod suite;

use bowline_codec::{Encode, LengthDelimited, OutputBatch};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const SETTINGS: usize = 8;

/// A framing from the first bytes of the input; any byte means something.
fn framing(settings: &[u8; SETTINGS]) -> LengthDelimited {
    let [kind, flags, adjust, frame_high, frame_low, skip, ..] = *settings;
    let fixed = kind % 5 != 4;
    let mut framing = match kind % 5 {
        0 => LengthDelimited::u8(),
        1 => LengthDelimited::u16(),
        2 => LengthDelimited::u32(),
        3 => LengthDelimited::u64(),
        _ => LengthDelimited::varint(),
    };
    framing = framing.adjust(i32::from(adjust.cast_signed()));
    framing = framing.max_frame(usize::from(u16::from_be_bytes([frame_high, frame_low])) + 1);
    if flags & 1 != 0 {
        framing = framing.le();
    }
    // A varint that counts itself can be written in two ways at the edge of its own width.
    if flags & 2 != 0 && fixed {
        framing = framing.header_included();
    }
    if flags & 4 != 0 {
        framing = framing.skip_oversized().max_skip(usize::from(skip) + 1);
    }
    if flags & 8 != 0 {
        framing = framing.max_frame(usize::MAX);
    }
    framing
}

fn encoded(mut framing: LengthDelimited, frame: &Bytes) -> Vec<u8> {
    let mut batch = OutputBatch::new();
    framing
        .encode(frame, &mut batch)
        .expect("what was decoded can be encoded");
    assert_eq!(batch.unsent_frames(), 1);
    batch.slices().flatten().copied().collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((settings, input)) = data.split_first_chunk::<SETTINGS>() else {
        return;
    };
    let pieces = [
        usize::from(settings[6]) + 1,
        usize::from(settings[7] % 16) + 1,
    ];
    let limit = framing(settings).limit();
    let events = suite::check(
        || framing(settings),
        input,
        &pieces,
        |frame| encoded(framing(settings), frame).len() as u64,
    );
    for event in events {
        match event.what {
            Ok(frame) => {
                assert!(frame.len() <= limit, "a frame over the limit");
                let wire = encoded(framing(settings), &frame);
                let end = usize::try_from(event.at).expect("within the input");
                assert_eq!(input[end - wire.len()..end], wire, "not what was read");
            }
            Err(failure) => assert!(failure.skipped <= input.len() as u64),
        }
    }
});
