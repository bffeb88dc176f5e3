//! Allocations, counted: a declared length is not one, and steady traffic makes none.
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to count allocations"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bowline_codec::{Codec, Decode, Encode, Framing, LengthDelimited, OutputBatch, Raw, Text};
use bytes::{Bytes, BytesMut};

struct Counting;

thread_local! {
    /// Allocations of this thread, and the bytes they asked for in total.
    static COUNTED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// Bytes that this thread has and did not give back.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn hold(bytes: isize) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

fn count(size: usize) {
    hold(size.cast_signed());
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
        hold(-layout.size().cast_signed());
        count(size);
        // SAFETY: as our caller promised.
        unsafe { System.realloc(start, layout, size) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        hold(-layout.size().cast_signed());
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

/// Frames of `message` as they come from a busy peer: a read brings as many as it has room for.
fn read_full_of(message: &[u8]) -> BytesMut {
    let mut read = BytesMut::with_capacity(16 * 1024);
    while read.len() + 4 + message.len() <= 16 * 1024 {
        read.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        read.extend_from_slice(message);
    }
    read
}

// C11
#[test]
fn a_small_message_that_is_kept_keeps_little() {
    for size in [0_usize, 1, 16, 500, 2000] {
        let mut decoder = LengthDelimited::u32().with(Raw::new()).split().1;
        let message = vec![7; size];
        let mut kept = Vec::with_capacity(100);
        let before = HELD.get();
        for _ in 0..100 {
            let mut read = read_full_of(&message);
            let mut number = 0;
            while let Some(message) = decoder.decode(&mut read).unwrap() {
                if number == 3 {
                    kept.push(message);
                }
                number += 1;
            }
            assert!(number > 3);
        }
        assert!(kept.iter().all(|kept| *kept == message));
        let held = (HELD.get() - before).unsigned_abs();
        // At most eight times what it is, and what the allocator of `bytes` has to count.
        assert!(held <= 100 * (8 * size + 64), "{size}: {held} bytes");
    }
}

// C11
#[test]
fn what_keeps_no_frame_is_not_copied_and_nor_is_a_large_one() {
    let mut decoder = LengthDelimited::u32().with(Text::new()).split().1;
    let mut read = read_full_of(b"sixteen  letters");
    let mut texts = 0;
    let (made, _) = allocated(|| {
        while let Some(text) = decoder.decode(&mut read).unwrap() {
            assert_eq!(text, "sixteen  letters");
            texts += 1;
        }
    });
    // The text itself, and once that the buffer is shared.
    assert!(texts > 500 && made <= texts + 1, "{texts}: {made}");

    // One of 4 KiB stays in what is read at once, and not in what was made for one much longer.
    for (room, stays) in [(64 * 1024, true), (1 << 20, false)] {
        let mut decoder = LengthDelimited::u32().with(Raw::new()).split().1;
        let mut read = BytesMut::with_capacity(room);
        read.extend_from_slice(&4096_u32.to_be_bytes());
        read.extend_from_slice(&[7; 4096]);
        let own = read.as_ptr_range();
        let frame = decoder.decode(&mut read).unwrap().unwrap();
        assert_eq!(own.contains(&frame.as_ptr()), stays, "{room}");
    }
}

// C11
#[test]
fn a_small_message_that_came_alone_is_not_copied() {
    let mut decoder = LengthDelimited::u32().with(Raw::new()).split().1;
    // After much that shared a buffer, which was then given up.
    let mut busy = read_full_of(&[7; 16]);
    while decoder.decode(&mut busy).unwrap().is_some() {}
    for round in 0..3 {
        let mut alone = BytesMut::with_capacity(20);
        alone.extend_from_slice(b"\0\0\0\x10sixteen  letters");
        let own = alone.as_ptr_range();
        let frame = decoder.decode(&mut alone).unwrap().unwrap();
        assert!(round == 0 || own.contains(&frame.as_ptr()), "{round}");
    }
}
