//! zlib and LZ4: bombs, ends, damage, and streams that find their own end.
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to measure what is allocated"
)]

#[path = "compression/symmetry.rs"]
mod symmetry;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bowline_codec::{
    Compress, Decode, DecodeErrorKind, Encode, ExpansionLimits, Framing, Json, Lz4, MessageCodec,
    OutputBatch, Raw, Wrapper, Zlib, ZlibFraming,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

struct Measuring;

thread_local! {
    /// Bytes this thread has, and the most it had.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn hold(bytes: isize) {
    // Fails while the thread is torn down, when nothing is measured.
    let _ = HELD.try_with(|held| {
        let now = held.get().0 + bytes;
        held.set((now, held.get().1.max(now)));
    });
}

// SAFETY: every call is passed on unchanged to the system allocator; measuring allocates nothing.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size() as isize);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        hold(size as isize - layout.size() as isize);
        // SAFETY: as our caller promised.
        unsafe { System.realloc(start, layout, size) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// The most bytes that were held at once during `body`, above those held before.
fn peak(body: impl FnOnce()) -> usize {
    let before = HELD.get().0;
    HELD.set((before, before));
    body();
    usize::try_from(HELD.get().1 - before).unwrap()
}

fn wrapped(wrapper: &impl Wrapper, data: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    wrapper.wrap(data, &mut out).unwrap();
    out.freeze()
}

fn kind(wrapper: &impl Wrapper, frame: &[u8]) -> DecodeErrorKind {
    let error = wrapper.unwrap(&Bytes::copy_from_slice(frame)).unwrap_err();
    assert!(error.is_recoverable());
    error.kind()
}

const MIB: usize = 1024 * 1024;
const BOMB: usize = 8 * MIB;

/// What may expand to anything, as a bomb has to be made by it.
fn unlimited() -> ExpansionLimits {
    ExpansionLimits::new()
        .max_output(usize::MAX)
        .max_ratio(usize::MAX)
}

fn zlib_bomb(bytes: usize) -> Bytes {
    wrapped(&Zlib::new().within(unlimited()), &vec![0; bytes])
}

fn lz4_bomb(bytes: usize) -> Bytes {
    wrapped(&Lz4::new().within(unlimited()), &vec![0; bytes])
}

// C8
#[test]
fn a_bomb_stops_at_the_cap() {
    let bomb = zlib_bomb(BOMB);
    assert!(BOMB / bomb.len() > 1000);
    let allowed = ExpansionLimits::new().max_ratio(usize::MAX);
    let small = wrapped(&Zlib::new(), b"small");
    // What inflating anything takes, whatever comes out.
    let itself = peak(|| drop(Zlib::new().unwrap(&small).unwrap()));
    for (zlib, limit) in [
        (Zlib::new().within(allowed), MIB),
        (Zlib::new().within(allowed.max_output(1_000_000)), 1_000_000),
        (Zlib::new().within(allowed.max_output(100)), 100),
        (
            Zlib::new().within(allowed.max_output(8 * MIB).max_ratio(10)),
            10 * bomb.len(),
        ),
    ] {
        let held = peak(|| {
            let error = zlib.unwrap(&bomb).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::Expansion { limit });
        });
        assert!(
            held <= limit + 32 * 1024 + itself,
            "{held} held under a cap of {limit}"
        );
    }
    // By default the ratio stops it: 256 to 1.
    let bomb = zlib_bomb(MIB);
    let limit = (256 * bomb.len()).max(64 * 1024);
    assert_eq!(
        kind(&Zlib::new(), &bomb),
        DecodeErrorKind::Expansion { limit }
    );
    assert_eq!(
        Zlib::new().within(allowed).unwrap(&bomb).unwrap().len(),
        MIB
    );
}

// C8
#[test]
fn a_nested_bomb_stops_at_each_cap() {
    let allowed = ExpansionLimits::new().max_ratio(usize::MAX).max_output(MIB);
    let zlib = Zlib::new().within(allowed);
    let outer = wrapped(&zlib, &zlib_bomb(BOMB));
    assert!(outer.len() < 1000);
    let codec = Raw::new().wrap(zlib).wrap(zlib);
    let error = codec.decode(&outer).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Expansion { limit: MIB });
}

// C8
#[test]
fn an_lz4_header_of_4_gib_allocates_nothing() {
    let limits = unlimited();
    let header = [&u32::MAX.to_le_bytes()[..], &[0; 100]].concat();
    let limit = 64 * 1024;
    let held = peak(|| {
        assert_eq!(
            kind(&Lz4::new(), &header),
            DecodeErrorKind::Expansion { limit }
        );
    });
    assert!(held <= 1024, "{held} held for a header");
    // Even where it is allowed, room is made for what comes and not for what is said.
    let held = peak(|| {
        assert_eq!(
            kind(&Lz4::new().within(limits), &header),
            DecodeErrorKind::Inflate
        )
    });
    assert!(held <= 32 * 1024, "{held} held for a header");
}

// C8
#[test]
fn an_lz4_bomb_stops_at_the_cap() {
    let bomb = lz4_bomb(BOMB);
    let limit = MIB;
    let held = peak(|| {
        assert_eq!(
            kind(&Lz4::new(), &bomb),
            DecodeErrorKind::Expansion { limit }
        )
    });
    // The copy that `kind` makes of the frame.
    assert!(held <= bomb.len() + 1024);
    // One whose header lies stops where the header said.
    let mut liar = bomb.to_vec();
    liar[..4].copy_from_slice(&(MIB as u32).to_le_bytes());
    let held = peak(|| assert_eq!(kind(&Lz4::new(), &liar), DecodeErrorKind::Inflate));
    assert!(
        held <= bomb.len() + MIB + 32 * 1024,
        "{held} held under a cap of 1 MiB"
    );
    let fits = vec![7; MIB];
    assert_eq!(
        Lz4::new().unwrap(&wrapped(&Lz4::new(), &fits)).unwrap(),
        fits
    );
}

// C8
#[test]
fn what_is_not_whole_or_not_alone_is_refused() {
    let data = b"some data, some data, some data, and a little more data";
    let zlib = wrapped(&Zlib::new(), data);
    for len in 0..zlib.len() {
        assert_eq!(kind(&Zlib::new(), &zlib[..len]), DecodeErrorKind::Inflate);
    }
    let extra = [&zlib[..], b"xyz"].concat();
    assert_eq!(
        kind(&Zlib::new(), &extra),
        DecodeErrorKind::Trailing { extra: 3 }
    );
    let mut bad = zlib.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(kind(&Zlib::new(), &bad), DecodeErrorKind::Inflate);

    let lz4 = wrapped(&Lz4::new(), data);
    for len in 0..lz4.len() {
        assert_eq!(kind(&Lz4::new(), &lz4[..len]), DecodeErrorKind::Inflate);
    }
    for size in [data.len() - 1, data.len() + 1] {
        let mut bad = lz4.to_vec();
        bad[..4].copy_from_slice(&(size as u32).to_le_bytes());
        assert_eq!(kind(&Lz4::new(), &bad), DecodeErrorKind::Inflate);
    }
}

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

/// Data of which some compresses very well.
fn data() -> impl Strategy<Value = Vec<u8>> {
    vec(
        (
            any::<u8>(),
            prop_oneof![3 => 1..20usize, 1 => 1000..9000usize],
        ),
        0..20,
    )
    .prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(byte, len)| std::iter::repeat_n(byte, len))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    // C8
    #[test]
    fn what_was_compressed_comes_out(data in data(), level in 0..10u32) {
        let allowed = ExpansionLimits::new().max_ratio(usize::MAX);
        let zlib = Zlib::new().level(level).within(allowed);
        prop_assert_eq!(zlib.unwrap(&wrapped(&zlib, &data)).unwrap(), &data);
        let lz4 = Lz4::new().within(allowed);
        let frame = wrapped(&lz4, &data);
        prop_assert_eq!(&lz4_flex::block::decompress_size_prepended(&frame).unwrap(), &data);
        let theirs = Bytes::from(lz4_flex::block::compress_prepend_size(&data));
        prop_assert_eq!(lz4.unwrap(&theirs).unwrap(), data);
    }
}

// C9
#[test]
fn what_python_compressed_is_read() {
    let all: Value =
        serde_json::from_str(include_str!("fixtures/easynetwork-serializers.json")).unwrap();
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

#[test]
fn limits_are_what_was_set() {
    let limits = ExpansionLimits::new().max_output(10);
    assert_eq!(
        Zlib::new()
            .within(limits)
            .unwrap(&wrapped(&Zlib::new(), &[1; 10]))
            .unwrap(),
        [1; 10][..]
    );
    assert_eq!(
        kind(
            &Zlib::new().within(limits),
            &wrapped(&Zlib::new(), &[1; 11])
        ),
        DecodeErrorKind::Expansion { limit: 10 }
    );
    assert!(format!("{:?}", Zlib::new().expansion_limits()).contains("1048576"));
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
