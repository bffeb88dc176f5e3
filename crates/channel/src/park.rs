//! Runs one channel operation to its end on the calling thread.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Wakes a parked thread. The flag tells our wakes from foreign unparks, and
/// keeps ours if the thread's own token is consumed by somebody else.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Unparks this thread.
struct Parker {
    unpark: Arc<Unpark>,
    waker: Waker,
}

impl Parker {
    fn new() -> Self {
        let unpark = Arc::new(Unpark {
            thread: thread::current(),
            woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&unpark));
        Self { unpark, waker }
    }
}

thread_local! {
    /// Of the operations before, so that waiting allocates once per thread. A
    /// wake that was meant for one of them only makes the next poll early.
    static KEPT: Cell<Option<Parker>> = const { Cell::new(None) };
}

/// Polls `operation` to completion, parking the thread in between.
pub(crate) fn wait_for<F: Future>(operation: F) -> F::Output {
    let mut operation = pin!(operation);
    // Taken out, since a waker that is woken meanwhile may wait, too.
    let kept = KEPT.try_with(Cell::take).ok().flatten();
    let parker = kept.unwrap_or_else(Parker::new);
    let mut context = Context::from_waker(&parker.waker);
    loop {
        if let Poll::Ready(output) = operation.as_mut().poll(&mut context) {
            // Where the thread is ending there is nothing to keep it in.
            let _ = KEPT.try_with(|kept| kept.set(Some(parker)));
            return output;
        }
        while !parker.unpark.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
