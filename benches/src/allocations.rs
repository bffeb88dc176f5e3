//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
static ASKED: AtomicBool = AtomicBool::new(false);

/// The system's allocator, counting. Make it the global allocator of a benchmark.
#[derive(Debug)]
pub struct CountingAllocator;

/// Allocations and growths of this process so far.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Bytes that this process holds now.
pub fn live_bytes() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// A size as a change of what is held; no layout is larger than `isize::MAX`.
fn bytes(size: usize) -> i64 {
    size as i64
}

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(bytes(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(bytes(size) - bytes(layout.size()), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System` with `layout`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(bytes(layout.size()), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System` with `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The system's allocator, counting only during a [`Counting`]: what is timed with it pays for no
/// counting.
#[derive(Debug)]
pub struct CountingWhenAsked;

/// Counts the allocations and growths of the process until it is finished.
#[derive(Debug)]
#[must_use = "it counts until it is finished"]
pub struct Counting {
    before: u64,
}

impl Counting {
    /// Asks for counting. One at a time.
    pub fn start() -> Counting {
        ASKED.store(true, Ordering::Relaxed);
        Counting { before: count() }
    }

    /// How many there were since.
    pub fn finish(self) -> u64 {
        ASKED.store(false, Ordering::Relaxed);
        count() - self.before
    }
}

fn count_if_asked() {
    if ASKED.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingWhenAsked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_if_asked();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_if_asked();
        // SAFETY: `pointer` came from `System` with `layout`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
