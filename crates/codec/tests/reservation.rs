//! Allocations, counted: a declared length is not one, and steady traffic makes none.
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to count allocations"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bowline_codec::{Codec, Decode, Encode, Framing, LengthDelimited, OutputBatch, Raw};
use bytes::{Bytes, BytesMut};

struct Counting;

thread_local! {
    /// Allocations of this thread, and the bytes they asked for in total.
    static COUNTED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn count(size: usize) {
    // Fails while the thread is torn down, when nothing is measured.
    let _ = COUNTED.try_with(|counted| {
        let (number, bytes) = counted.get();
        counted.set((number + 1, bytes + size));
    });
}

// SAFETY: every call is passed on unchanged to the system allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as our caller promised.
        unsafe { System.alloc_zeroed(layout) }
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

/// Allocations made by `body`, and their bytes in total.
fn allocated(body: impl FnOnce()) -> (usize, usize) {
    let before = COUNTED.get();
    body();
    let after = COUNTED.get();
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn the_counter_counts() {
    let (number, bytes) = allocated(|| drop(std::hint::black_box(vec![0u8; 12_345])));
    assert_eq!((number, bytes), (1, 12_345));
}

// C11
#[test]
fn a_header_alone_allocates_next_to_nothing() {
    const MAX: usize = 1 << 30;
    type New = fn() -> LengthDelimited;
    let headers: [(New, Vec<u8>); 5] = [
        (LengthDelimited::u16, u16::MAX.to_be_bytes().to_vec()),
        (LengthDelimited::u32, (MAX as u32).to_be_bytes().to_vec()),
        (LengthDelimited::u64, (MAX as u64).to_be_bytes().to_vec()),
        (LengthDelimited::varint, vec![0x80, 0x80, 0x80, 0x80, 0x04]),
        (
            || LengthDelimited::u32().le(),
            (MAX as u32).to_le_bytes().to_vec(),
        ),
    ];
    for (new, header) in headers {
        let mut bare = new().max_frame(MAX);
        let mut framed = new().max_frame(MAX).with(Raw::new()).split().1;
        for decoder in [&mut bare as &mut dyn Decode<Item = Bytes>, &mut framed] {
            let (_, bytes) = allocated(|| {
                let mut src = BytesMut::from(&header[..]);
                assert_eq!(decoder.decode(&mut src).unwrap(), None);
                assert!(
                    decoder.need() >= usize::from(u16::MAX),
                    "the declared length was read"
                );
                assert_eq!(decoder.decode(&mut src).unwrap(), None);
            });
            assert!(
                bytes <= 16 * 1024,
                "{bytes} bytes for a header of {}",
                header.len()
            );
        }
    }
}

// C11
#[test]
fn an_oversized_frame_is_discarded_in_constant_memory() {
    let mut decoder = LengthDelimited::u32().max_frame(100).skip_oversized();
    let mut src = BytesMut::from(&1_000_000u32.to_be_bytes()[..]);
    let (_, bytes) = allocated(|| {
        let mut left = 1_000_000;
        while left > 0 {
            assert_eq!(decoder.decode(&mut src).unwrap(), None);
            let piece = left.min(1000);
            src.extend_from_slice(&[0; 1000][..piece]);
            left -= piece;
        }
        decoder.decode(&mut src).unwrap_err();
    });
    assert!(bytes <= 16 * 1024, "{bytes} bytes to discard a frame");
}

#[test]
fn small_frames_are_encoded_without_allocating() {
    let mut encoder = LengthDelimited::u32().with(Raw::new()).split().0;
    let mut batch = OutputBatch::new();
    let message = Bytes::from(vec![7; 64]);
    let mut round = || {
        for _ in 0..100 {
            encoder.encode(&message, &mut batch).unwrap();
        }
        while !batch.is_empty() {
            batch.advance(batch.len().min(1000));
        }
    };
    round();
    round();
    assert_eq!(allocated(|| (0..10).for_each(|_| round())).0, 0);
}
