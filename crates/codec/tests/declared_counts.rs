//! MessagePack and CBOR: what a peer declares is neither believed nor paid for.
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to count allocations"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use bowline_codec::{
    Cbor, CborFraming, Decode, DecodeErrorKind, Encode, EncodeErrorKind, Framing, Msgpack,
    MsgpackFraming, OutputBatch,
};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

struct Counting;

thread_local! {
    /// Bytes this thread asked for.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn count(size: usize) {
    // Fails while the thread is torn down, when nothing is measured.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + size));
}

// SAFETY: every call is passed on unchanged to the system allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as our caller promised.
        unsafe { System.realloc(start, layout, size) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn asked(body: impl FnOnce()) -> usize {
    let before = ASKED.get();
    body();
    ASKED.get() - before
}

fn kind<F: Framing>(mut framing: F, input: &[u8]) -> DecodeErrorKind {
    let error = framing.decode(&mut BytesMut::from(input)).unwrap_err();
    assert!(!error.is_recoverable());
    error.kind()
}

/// Values that declare four billion elements, or more, and have none.
const LIARS: [(&[u8], &[u8]); 4] = [
    (
        b"\xdd\xff\xff\xff\xff",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
    ),
    (
        b"\xdf\xff\xff\xff\xff",
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
    ),
    (
        b"\xc6\xff\xff\xff\xff",
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    ),
    (
        b"\xdb\xff\xff\xff\xff",
        b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
    ),
];

// C13
#[test]
fn a_declared_count_is_refused_from_the_head_alone() {
    for (msgpack, cbor) in LIARS {
        for kind in [
            kind(MsgpackFraming::new(), msgpack),
            kind(CborFraming::new(), cbor),
        ] {
            let DecodeErrorKind::TooLong {
                limit,
                declared: Some(declared),
            } = kind
            else {
                panic!("{kind:?}")
            };
            assert_eq!(limit, 1024 * 1024);
            assert!(declared > u64::from(u32::MAX));
        }
    }
    // What containers declare together counts, too: 3 + 200 of 200.
    let nested = [&[0xdc, 0, 100][..], &[0xc0; 50], &[0xdc, 0, 200]].concat();
    let too_long = DecodeErrorKind::TooLong {
        limit: 300,
        declared: Some(3 + 50 + 3 + 200 + 49),
    };
    assert_eq!(
        kind(MsgpackFraming::new().max_frame(300), &nested),
        too_long
    );
}

// C13
#[test]
fn a_declared_count_allocates_next_to_nothing() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is large, which is all it is for")]
    struct Large([u64; 32]);

    for (msgpack, cbor) in LIARS {
        let (msgpack, cbor) = (Bytes::from_static(msgpack), Bytes::from_static(cbor));
        let bytes = asked(|| {
            MsgpackFraming::new()
                .decode(&mut BytesMut::from(&msgpack[..]))
                .unwrap_err();
            CborFraming::new()
                .decode(&mut BytesMut::from(&cbor[..]))
                .unwrap_err();
            Msgpack::<Vec<Large>>::new().decode(&msgpack).unwrap_err();
            Cbor::<Vec<Large>>::new().decode(&cbor).unwrap_err();
            Msgpack::<BTreeMap<u64, String>>::new()
                .decode(&msgpack)
                .unwrap_err();
            Cbor::<BTreeMap<u64, String>>::new()
                .decode(&cbor)
                .unwrap_err();
            Msgpack::<String>::new().decode(&msgpack).unwrap_err();
            Cbor::<String>::new().decode(&cbor).unwrap_err();
        });
        assert!(
            bytes <= 16 * 1024,
            "{bytes} bytes for heads of {msgpack:?} and {cbor:?}"
        );
    }
    // The finding of a boundary allocates nothing of its own, however deep; the one allocation is
    // that of a `BytesMut` that is split.
    let mut framing = MsgpackFraming::new();
    let mut src = BytesMut::from(&[[0x91; 128], [0xc0; 128]].concat()[..]);
    let bytes = asked(|| assert!(framing.decode(&mut src).unwrap().is_some()));
    assert!(bytes <= 64, "{bytes} bytes to find a boundary");
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only its depth matters")]
struct Nest(Vec<Nest>);

// C13
#[test]
fn nesting_ends_at_128() {
    let depth = DecodeErrorKind::Depth { limit: 128 };
    for (msgpack, cbor) in [(&[0x91][..], &[0x81][..]), (&[0x81, 0xc0], &[0xa1, 0xf6])] {
        for (deep, scalar, is_too_deep) in [(128, 0xc0, false), (129, 0xc0, true)] {
            let input = [&msgpack.repeat(deep)[..], &[scalar]].concat();
            let decoded = MsgpackFraming::new().decode(&mut BytesMut::from(&input[..]));
            assert_eq!(decoded.is_err(), is_too_deep);
            if is_too_deep {
                assert_eq!(decoded.unwrap_err().kind(), depth);
            }
            let input = [&cbor.repeat(deep)[..], &[0xf6]].concat();
            let decoded = CborFraming::new().decode(&mut BytesMut::from(&input[..]));
            assert_eq!(decoded.is_err(), is_too_deep);
        }
    }
    // Tags and endless containers are nesting as well.
    assert_eq!(kind(CborFraming::new(), &[0xc1; 200]), depth);
    assert_eq!(kind(CborFraming::new(), &[0x9f; 200]), depth);
    let far = 100_000;
    let frame = Bytes::from(vec![0x91; far]);
    assert_eq!(
        Msgpack::<Nest>::new().decode(&frame).unwrap_err().kind(),
        depth
    );
    for byte in [0x81, 0x9f] {
        let frame = Bytes::from(vec![byte; far]);
        assert_eq!(
            Cbor::<Nest>::new().decode(&frame).unwrap_err().kind(),
            depth
        );
    }
}

// C13
#[test]
fn a_break_ends_an_endless_value_and_nothing_else() {
    let framing = CborFraming::new();
    let wire = b"\x9f\x01\x5f\x41a\x41b\xff\xbf\x01\x02\xff\x82\x01\x02\xff\x07";
    let mut src = BytesMut::from(&wire[..]);
    let mut decoder = framing.clone();
    assert_eq!(decoder.decode(&mut src).unwrap().unwrap(), wire[..16]);
    assert_eq!(decoder.decode(&mut src).unwrap().unwrap(), "\x07");
    for bad in [
        &b"\xff"[..],
        b"\x81\xff",
        b"\x9f\x81\xff",
        b"\x1f",
        b"\xdf",
        b"\x1c",
    ] {
        assert_eq!(
            kind(framing.clone(), bad),
            DecodeErrorKind::BadFrame,
            "{bad:?}"
        );
    }
    assert_eq!(
        kind(MsgpackFraming::new(), b"\xc1"),
        DecodeErrorKind::BadFrame
    );
}

#[test]
fn what_is_not_one_value_is_not_sent() {
    let sent = |payload: &[u8]| {
        let mut batch = OutputBatch::new();
        let result = MsgpackFraming::new()
            .max_frame(8)
            .encode(payload, &mut batch);
        result.map_err(|error| error.kind())
    };
    assert_eq!(sent(b"\x92\x01\xa2ab"), Ok(()));
    for bad in [&b""[..], b"\x92\x01", b"\x01\x02", b"\xc1", b"\xa3ab"] {
        assert_eq!(sent(bad), Err(EncodeErrorKind::Value), "{bad:?}");
    }
    let long = EncodeErrorKind::TooLong {
        limit: 8,
        actual: 9,
    };
    assert_eq!(sent(&[0xc0; 9]), Err(long));
}
