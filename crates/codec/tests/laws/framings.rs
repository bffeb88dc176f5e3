//! The laws for the framings that are not length-delimited, on noise and on frames cut short.

use bowline_codec::{
    CborFraming, Cobs, Delimiter, Encode, ExpansionLimits, FixedSize, Framing, JsonFraming,
    MsgpackFraming, Netstring, OutputBatch, Raw, Unterminated, Zlib, ZlibFraming,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::suite::{check, check_padded};

/// What `framing` makes of `payloads`, as far as it accepts them, cut short.
fn wire_of<F: Framing>(mut framing: F, payloads: &[Vec<u8>], keep: prop::sample::Index) -> Vec<u8> {
    let mut batch = OutputBatch::new();
    for payload in payloads {
        let _ = Encode::<[u8]>::encode(&mut framing, payload, &mut batch);
    }
    let mut wire: Vec<u8> = batch.slices().flatten().copied().collect();
    wire.truncate(keep.index(wire.len() + 1));
    wire
}

/// Whatever was decoded is encoded to something that is decoded to the same.
fn round_trip<F: Framing + Clone>(framing: &F, frames: &[Bytes]) {
    let mut batch = OutputBatch::new();
    for frame in frames {
        framing
            .clone()
            .encode(frame, &mut batch)
            .expect("what was decoded can be encoded");
    }
    assert_eq!(batch.unsent_frames(), frames.len());
    let mut src = batch.slices().flatten().copied().collect::<Vec<u8>>()[..].into();
    let mut decoder = framing.clone();
    for frame in frames {
        assert_eq!(decoder.decode(&mut src).unwrap().as_ref(), Some(frame));
    }
    assert_eq!(decoder.decode_end(&mut src).unwrap(), None);
}

fn items(events: Vec<crate::suite::Event<Bytes>>) -> Vec<Bytes> {
    events
        .into_iter()
        .filter_map(|event| event.what.ok())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // C1, C2, C3
    #[test]
    fn delimiters_of_noise(
        delimiter in vec(prop::sample::select(b"aab".to_vec()), 1..6),
        max_frame in 1..12usize,
        max_skip in 1..30usize,
        last in prop::sample::select(vec![Unterminated::Accept, Unterminated::Refuse]),
        input in vec(prop::sample::select(b"aaabbc".to_vec()), 0..120),
        pieces in vec(1..9usize, 1..6),
    ) {
        let new = || {
            Delimiter::new(&delimiter)
                .max_frame(max_frame)
                .max_skip(max_skip)
                .last_without_delimiter(last)
        };
        check(|| new().keep_end(), &input, &pieces, |frame| frame.len() as u64);
        let framed = || new().keep_end().with(Raw::new());
        check(framed, &input, &pieces, |frame| frame.len() as u64);
        let frames = items(check_padded(new, &input, &pieces, b""));
        // The last frame may end in half a delimiter if it needs none.
        if last == Unterminated::Refuse {
            round_trip(&new(), &frames);
        }
    }

    // C1, C2, C3
    #[test]
    fn fixed_sizes(
        size in 1..12usize,
        input in vec(any::<u8>(), 0..60),
        pieces in vec(1..9usize, 1..6),
    ) {
        let events = check(|| FixedSize::new(size), &input, &pieces, |frame| frame.len() as u64);
        round_trip(&FixedSize::new(size), &items(events));
    }

    // C1, C2, C3
    #[test]
    fn netstrings_of_noise(
        max_frame in 1..40usize,
        input in vec(prop::sample::select(b"0112359::,,x-".to_vec()), 0..40),
        pieces in vec(1..9usize, 1..6),
    ) {
        let new = || Netstring::new().max_frame(max_frame);
        round_trip(&new(), &items(check(new, &input, &pieces, netstring)));
    }

    // C1, C2, C3
    #[test]
    fn netstrings_cut_short(
        payloads in vec(vec(any::<u8>(), 0..60), 0..8),
        keep in any::<prop::sample::Index>(),
        pieces in vec(1..90usize, 1..6),
    ) {
        let input = wire_of(Netstring::new(), &payloads, keep);
        check(|| Netstring::new().max_frame(50), &input, &pieces, netstring);
    }

    // C1, C2, C3
    #[test]
    fn cobs_of_noise(
        max_frame in 1..12usize,
        max_skip in 1..30usize,
        input in vec(prop_oneof![3 => Just(0u8), 6 => 1..8u8, 1 => any::<u8>()], 0..120),
        pieces in vec(1..9usize, 1..6),
    ) {
        let new = || Cobs::new().max_frame(max_frame).max_skip(max_skip);
        round_trip(&new(), &items(check_padded(new, &input, &pieces, b"\0")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    // C1, C2, C3
    #[test]
    fn json_of_noise(
        max_frame in 1..30usize,
        max_skip in 1..60usize,
        input in vec(prop::sample::select(b"{{}}[]\"\"\\a1 \n\t\r\0\xc3".to_vec()), 0..120),
        pieces in vec(1..9usize, 1..6),
    ) {
        let new = || JsonFraming::new().max_frame(max_frame).max_skip(max_skip);
        round_trip(&new(), &items(check_padded(new, &input, &pieces, b" \t\n\r")));
    }

    // C1, C2, C3
    #[test]
    fn msgpack_of_noise(
        max_frame in 1..60usize,
        input in vec(
            prop_oneof![
                4 => prop::sample::select(vec![0x81, 0x92, 0xa2, 0xc0, 0x90]),
                3 => 0xc0..0xe0u8,
                3 => 0..4u8,
                1 => any::<u8>(),
            ],
            0..80,
        ),
        pieces in vec(1..9usize, 1..6),
    ) {
        let new = || MsgpackFraming::new().max_frame(max_frame);
        let events = check(new, &input, &pieces, |value| value.len() as u64);
        round_trip(&new(), &items(events));
    }

    // C1, C2, C3
    #[test]
    fn cbor_of_noise(
        max_frame in 1..60usize,
        input in vec(
            prop_oneof![
                4 => prop::sample::select(vec![0x81, 0xa1, 0x62, 0x9f, 0xff, 0xc1, 0x5f, 0xf6]),
                3 => (0..8u8, 24..32u8).prop_map(|(major, info)| major << 5 | info),
                3 => 0..4u8,
                1 => any::<u8>(),
            ],
            0..80,
        ),
        pieces in vec(1..9usize, 1..6),
    ) {
        let new = || CborFraming::new().max_frame(max_frame);
        let events = check(new, &input, &pieces, |value| value.len() as u64);
        round_trip(&new(), &items(events));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    // C1, C2, C3
    #[test]
    fn cobs_cut_short_or_damaged(
        payloads in vec(vec(prop_oneof![1 => Just(0u8), 60 => any::<u8>()], 0..600), 0..5),
        keep in any::<prop::sample::Index>(),
        damage in any::<(prop::sample::Index, u8)>(),
        pieces in vec(1..300usize, 1..6),
    ) {
        let mut input = wire_of(Cobs::new(), &payloads, keep);
        if !input.is_empty() {
            let at = damage.0.index(input.len());
            input[at] = damage.1;
        }
        check_padded(|| Cobs::new().max_frame(500).max_skip(550), &input, &pieces, b"\0");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    // C1, C2, C3
    #[test]
    fn zlib_streams_cut_short_or_damaged(
        payloads in vec(vec(prop::sample::select(b"aaaab".to_vec()), 0..90), 0..5),
        level in 0..10u32,
        max_output in 1..200usize,
        keep in any::<prop::sample::Index>(),
        damage in any::<(prop::sample::Index, u8)>(),
        pieces in vec(1..30usize, 1..6),
    ) {
        let mut input = wire_of(ZlibFraming::new(Zlib::new().level(level)), &payloads, keep);
        let limits = ExpansionLimits::new().max_output(max_output);
        let new = || ZlibFraming::new(Zlib::new().level(level).within(limits));
        // What an item took is what it takes again, undamaged.
        let taken = |frame: &Bytes| {
            let mut batch = OutputBatch::new();
            new().encode(frame, &mut batch).expect("what was decoded can be encoded");
            batch.len() as u64
        };
        round_trip(&new(), &items(check(new, &input, &pieces, taken)));
        if !input.is_empty() {
            let at = damage.0.index(input.len());
            input[at] ^= damage.1;
        }
        check_padded(new, &input, &pieces, b"");
    }
}

fn netstring(payload: &Bytes) -> u64 {
    (payload.len().to_string().len() + payload.len() + 2) as u64
}
