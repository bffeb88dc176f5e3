//! zlib and LZ4: bombs, ends, damage, and streams that find their own end.
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to measure what is allocated"
)]

#[path = "compression/streams.rs"]
mod streams;
#[path = "compression/symmetry.rs"]
mod symmetry;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bowline_codec::{
    Compress, DecodeErrorKind, ExpansionLimits, Lz4, MessageCodec, Raw, Wrapper, Zlib,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

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
