//! The laws of `Decode`, for every codec of the crate.

#[path = "laws/depth.rs"]
mod depth;
#[path = "laws/framings.rs"]
mod framings;
#[path = "laws/messages.rs"]
mod messages;
#[path = "laws/suite.rs"]
mod suite;
#[path = "laws/work.rs"]
mod work;

use bowline_codec::{
    Decode, DecodeErrorKind, Encode, Framing, Json, LengthDelimited, Lines, OutputBatch, Raw, Text,
    Unterminated,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use suite::{Cut, Event, check, run};

/// A framing, and what a payload takes in it.
#[derive(Clone, Debug)]
struct Layout {
    width: usize,
    little: bool,
    adjust: i32,
    whole: bool,
    max_frame: usize,
    skip: Option<usize>,
}

const VARINT: usize = 0;

impl Layout {
    fn framing(&self) -> LengthDelimited {
        let mut framing = match self.width {
            1 => LengthDelimited::u8(),
            2 => LengthDelimited::u16(),
            4 => LengthDelimited::u32(),
            8 => LengthDelimited::u64(),
            _ => LengthDelimited::varint(),
        };
        framing = framing.adjust(self.adjust).max_frame(self.max_frame);
        if self.little {
            framing = framing.le();
        }
        if self.whole {
            framing = framing.header_included();
        }
        if let Some(bytes) = self.skip {
            framing = framing.skip_oversized().max_skip(bytes);
        }
        framing
    }

    /// Bytes on the wire of a payload of `payload` bytes. The payloads here are far below 127.
    fn wire(&self, payload: usize) -> u64 {
        let header = if self.width == VARINT { 1 } else { self.width };
        (header + payload) as u64
    }
}

fn layout() -> impl Strategy<Value = Layout> {
    (
        prop::sample::select(vec![1, 2, 4, 8, VARINT]),
        any::<bool>(),
        -3..4i32,
        any::<bool>(),
        1..40usize,
        prop::option::of(1..60usize),
    )
        .prop_map(|(width, little, adjust, whole, max_frame, skip)| Layout {
            width,
            little,
            adjust,
            whole,
            max_frame,
            skip,
        })
}

/// Bytes that are mostly small, so that noise is often a plausible header.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![6 => Just(0u8), 4 => 0..24u8, 1 => any::<u8>()],
        0..160,
    )
}

/// What the encoder of `framing` makes of `payloads`, as far as it accepts them.
fn wire_of(mut framing: LengthDelimited, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut batch = OutputBatch::new();
    for payload in payloads {
        let _ = framing.encode(&payload[..], &mut batch);
    }
    batch.slices().flatten().copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // C1, C2, C3
    #[test]
    fn length_delimited_on_noise(layout in layout(), input in noise(), pieces in vec(1..9usize, 1..6)) {
        // A varint of noise may take two bytes for a small number only if it is not canonical, and
        // payloads are below 40, so the wire length of an item is known.
        check(|| layout.framing(), &input, &pieces, |frame| layout.wire(frame.len()));
    }

    // C1, C2, C3
    #[test]
    fn length_delimited_on_frames_cut_short(
        layout in layout(),
        payloads in vec(vec(any::<u8>(), 0..60), 0..8),
        keep in any::<prop::sample::Index>(),
        pieces in vec(1..90usize, 1..6),
    ) {
        // The writer has a larger limit than the reader, so some frames are oversized.
        let writer = Layout { max_frame: 100, ..layout.clone() };
        let mut input = wire_of(writer.framing(), &payloads);
        input.truncate(keep.index(input.len() + 1));
        check(|| layout.framing(), &input, &pieces, |frame| layout.wire(frame.len()));
    }

    // C1, C2, C3
    #[test]
    fn lines_of_noise(
        newline in prop::sample::select(vec!["lf", "cr", "crlf"]),
        max_frame in 1..12usize,
        max_skip in 1..30usize,
        last in prop::sample::select(vec![Unterminated::Accept, Unterminated::Refuse]),
        input in vec(prop::sample::select(b"\r\n\r\nabcdef\xff".to_vec()), 0..120),
        pieces in vec(1..9usize, 1..6),
    ) {
        let new = || {
            let lines = match newline {
                "lf" => Lines::lf(),
                "cr" => Lines::cr(),
                _ => Lines::crlf(),
            };
            lines.max_frame(max_frame).max_skip(max_skip).last_without_delimiter(last)
        };
        // With its newline kept, an item is all its bytes.
        check(|| new().keep_end(), &input, &pieces, |line| line.len() as u64);
        check(|| new().keep_end().with(Raw::new()), &input, &pieces, |line| line.len() as u64);
        let whole = run(new().text(), &input, &Cut::Whole);
        prop_assert_eq!(run(new().text(), &input, &Cut::Pieces(pieces)), whole.clone());
        prop_assert_eq!(run(new().with(Text::new()), &input, &Cut::AsNeeded), whole);
    }
}

// C1
#[test]
fn need_is_the_fewest_bytes_that_change_the_answer() {
    for (width, framing) in [
        LengthDelimited::u8(),
        LengthDelimited::u16(),
        LengthDelimited::u32(),
        LengthDelimited::u64(),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, framing)| (1 << index, framing))
    {
        for come in 0..width {
            let mut decoder = framing.clone();
            let mut src = BytesMut::zeroed(come);
            assert_eq!(decoder.decode(&mut src).unwrap(), None);
            assert_eq!(decoder.need(), width - come, "to a header of zero");
            src.resize(width, 0);
            assert_eq!(decoder.decode(&mut src).unwrap(), Some(Bytes::new()));
        }
        let mut src = BytesMut::zeroed(width);
        src[width - 1] = 5;
        let mut decoder = framing.clone();
        for come in 0..5 {
            assert_eq!(decoder.decode(&mut src).unwrap(), None);
            assert_eq!(decoder.need(), 5 - come);
            src.extend_from_slice(b"x");
        }
        assert_eq!(
            decoder.decode(&mut src).unwrap().as_deref(),
            Some(&b"xxxxx"[..])
        );
    }
    let mut decoder = LengthDelimited::varint();
    let mut src = BytesMut::from(&b"\x83"[..]);
    assert_eq!(
        (decoder.decode(&mut src).unwrap(), decoder.need()),
        (None, 1)
    );
    src.extend_from_slice(b"\x01");
    assert_eq!(
        (decoder.decode(&mut src).unwrap(), decoder.need()),
        (None, 131)
    );
}

// C3
#[test]
fn a_fatal_error_is_never_an_end() {
    // `check` and `run` assert the repetition; this pins that there is an error to repeat.
    let events = check(LengthDelimited::u32, b"GET / HTTP/1.1\r\n\r\n", &[3], |_| 0);
    let [
        Event {
            what: Err(failure),
            at: 0,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    let declared = Some(0x4745_5420);
    assert_eq!(
        failure.kind,
        DecodeErrorKind::TooLong {
            limit: 1 << 20,
            declared
        }
    );
    assert!(!failure.recoverable);

    let events = check(LengthDelimited::u8, b"\x01a\x05bc", &[2], |frame| {
        1 + frame.len() as u64
    });
    let [
        Event {
            what: Ok(first),
            at: 2,
        },
        Event {
            what: Err(failure),
            at: 5,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(&first[..], b"a");
    assert_eq!(
        failure.kind,
        DecodeErrorKind::Truncated { have: 3, need: 6 }
    );
}

// C3
#[test]
fn a_recoverable_error_is_followed_by_the_next_good_frame() {
    let codec = || {
        LengthDelimited::u8()
            .max_frame(9)
            .skip_oversized()
            .with(Json::<u32>::new())
    };
    let mut input = Vec::new();
    for frame in [&b"1"[..], b"x", b"too long for nine bytes", b"y", b"2"] {
        input.push(frame.len() as u8);
        input.extend_from_slice(frame);
    }
    for cut in [Cut::Whole, Cut::Pieces(vec![1]), Cut::AsNeeded] {
        let mut kinds = Vec::new();
        let mut values = Vec::new();
        for event in run(codec(), &input, &cut) {
            match event.what {
                Ok(value) => values.push(value),
                Err(failure) => kinds.push((failure.kind, failure.offset, failure.skipped)),
            }
        }
        assert_eq!(values, [1, 2]);
        assert_eq!(
            kinds,
            [
                (DecodeErrorKind::Syntax { line: 1, column: 1 }, 2, 2),
                (
                    DecodeErrorKind::TooLong {
                        limit: 9,
                        declared: Some(23)
                    },
                    4,
                    24
                ),
                // What the framing lost is counted too.
                (DecodeErrorKind::Syntax { line: 1, column: 1 }, 28, 2),
            ]
        );
    }
}
