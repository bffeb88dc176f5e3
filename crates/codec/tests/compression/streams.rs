//! Compressed frames on a stream, each of which tells its own end.

use bowline_codec::{
    Decode, DecodeErrorKind, Encode, ExpansionLimits, Framing, Json, OutputBatch, Raw, Zlib,
    ZlibFraming,
};
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::Value;

use crate::{BOMB, data, zlib_bomb};

fn stream(frames: &[&[u8]]) -> Vec<u8> {
    let mut batch = OutputBatch::new();
    for frame in frames {
        ZlibFraming::new(Zlib::new())
            .encode(*frame, &mut batch)
            .unwrap();
    }
    assert_eq!(batch.unsent_frames(), frames.len());
    batch.slices().flatten().copied().collect()
}

// C9
#[test]
fn two_streams_and_a_tail_in_one_segment() {
    let whole = stream(&[b"first", b"", b"third"]);
    let tail = whole.len() - 4;
    let mut framing = Zlib::new().framing(Raw::new());
    let mut src = BytesMut::from(&whole[..tail]);
    assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "first");
    assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "");
    assert_eq!(framing.decode(&mut src).unwrap(), None);
    src.extend_from_slice(&whole[tail..]);
    assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "third");
    assert_eq!(framing.decode_end(&mut src).unwrap(), None);
}

// C9
#[test]
fn a_stream_that_is_cut_short_or_corrupt_is_the_end() {
    let whole = stream(&[b"first", b"second"]);
    let first = stream(&[b"first"]).len();
    let fails = |input: &[u8]| {
        let mut framing = ZlibFraming::new(Zlib::new());
        let mut src = BytesMut::from(input);
        assert_eq!(framing.decode_end(&mut src).unwrap().unwrap(), "first");
        let error = framing.decode_end(&mut src).unwrap_err();
        assert_eq!(
            (error.is_recoverable(), error.offset()),
            (false, first as u64)
        );
        error.kind()
    };
    for len in first + 1..whole.len() {
        let have = len - first;
        let need = have + 1;
        assert_eq!(
            fails(&whole[..len]),
            DecodeErrorKind::Truncated { have, need }
        );
    }
    let mut bad = whole.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(fails(&bad), DecodeErrorKind::Inflate);
    bad[first] = 0xff;
    assert_eq!(fails(&bad), DecodeErrorKind::Inflate);
}

// C9
#[test]
fn a_bomb_on_a_stream_is_the_end() {
    let bomb = zlib_bomb(BOMB);
    let mut framing = ZlibFraming::new(Zlib::new());
    let mut src = BytesMut::from(&bomb[..]);
    let error = framing.decode(&mut src).unwrap_err();
    assert!(!error.is_recoverable());
    assert_eq!(
        error.limit(),
        Some(64 * 1024),
        "256 times the few bytes it takes"
    );
}

// C9
#[test]
fn what_python_compressed_is_read() {
    let all: Value =
        serde_json::from_str(include_str!("../fixtures/easynetwork-serializers.json")).unwrap();
    let rows = all["sets"]["zlib9_json"].as_array().unwrap();
    assert!(rows.len() > 20);
    let mut stream = BytesMut::new();
    for row in rows {
        let hex = row["stream_hex"].as_str().unwrap();
        let pairs = (0..hex.len()).step_by(2);
        stream.extend(pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()));
    }
    let mut framing = Zlib::new().framing(Json::<Value>::new());
    for row in rows {
        assert_eq!(
            framing.decode(&mut stream).unwrap().as_ref(),
            Some(&row["packet"])
        );
    }
    assert_eq!(framing.decode_end(&mut stream).unwrap(), None);
}

fn events(framing: ZlibFraming, input: &[u8], piece: usize) -> String {
    let mut framing = framing.with(Raw::new());
    let mut src = BytesMut::new();
    let mut seen = String::new();
    for piece in input.chunks(piece) {
        src.extend_from_slice(piece);
        loop {
            match framing.decode(&mut src) {
                Ok(None) => break,
                Ok(Some(frame)) => seen += &format!("frame of {}\n", frame.len()),
                Err(error) => return seen + &format!("{error:?}"),
            }
        }
    }
    seen + &format!("{:?}", framing.decode_end(&mut src))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    // C9
    #[test]
    fn where_a_limit_is_passed_does_not_depend_on_the_cut(
        data in data(),
        max_output in 100..40_000usize,
        max_ratio in 1..40usize,
        damage in prop::option::of(any::<(prop::sample::Index, u8)>()),
        piece in 1..400usize,
    ) {
        let mut input = stream(&[b"first", &data, b"last"]);
        if let Some((at, byte)) = damage {
            let at = at.index(input.len());
            input[at] ^= byte;
        }
        let limits = ExpansionLimits::new().max_output(max_output).max_ratio(max_ratio);
        let new = || ZlibFraming::new(Zlib::new().within(limits));
        let whole = events(new(), &input, input.len());
        prop_assert_eq!(events(new(), &input, 1), &whole[..]);
        prop_assert_eq!(events(new(), &input, piece), whole);
    }
}
