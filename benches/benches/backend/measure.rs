//! What every scenario shares: its signature and a latch that costs little.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;

/// One entrant: its scenarios by name.
pub(crate) struct Scenarios {
    /// Latencies of so many round trips.
    pub(crate) echo: fn(usize) -> Vec<Duration>,
    /// Allocations of so many round trips.
    pub(crate) echo_allocations: fn(usize) -> u64,
    /// Time to move so many bytes one way.
    pub(crate) stream: fn(usize) -> Duration,
    /// Time to spawn and run so many empty tasks.
    pub(crate) spawned: fn(usize) -> Duration,
    /// Time to arm and drop so many sleeps.
    pub(crate) timers: fn(usize) -> Duration,
    /// Time of so many polls of a stream with nothing to read.
    pub(crate) idle_polls: fn(usize) -> Duration,
    /// Heap bytes of an idle connection with its task, over so many pairs of them.
    pub(crate) idle_heap: fn(usize) -> i64,
}

/// Completes when so many have said that they are done.
pub(crate) struct AllDone {
    left: AtomicUsize,
    waker: AtomicWaker,
}

impl AllDone {
    pub(crate) fn new(count: usize) -> AllDone {
        AllDone {
            left: AtomicUsize::new(count),
            waker: AtomicWaker::new(),
        }
    }

    pub(crate) fn one(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }

    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            match self.left.load(Ordering::Acquire) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }
}
