//! Bytes that a thread holds, counted by the allocator. A simulated world runs in the thread of its test.
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to count what is held"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Bytes that this thread has and did not give back.
pub(crate) fn held() -> isize {
    HELD.get()
}

fn hold(bytes: isize) {
    // Fails while the thread is torn down, when nothing is measured.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call is passed on unchanged to the system allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size().cast_signed());
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        hold(size.cast_signed() - layout.size().cast_signed());
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
