//! Runs a waiting operation to its end on a plain thread.

use crate::ambient;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Wakes a parked thread; the flag tells our wakes from foreign unparks.
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

/// Polls `operation` to completion, parking the thread in between.
///
/// # Panics
///
/// Inside a poll of a task: parking would stop every task of that thread.
#[track_caller]
pub(super) fn wait_for<F: Future>(name: &str, operation: F) -> F::Output {
    let (place, in_task) = ambient::place();
    assert!(
        place == 0 && !in_task,
        "`{name}` parks the thread and was called inside a task; await there instead"
    );
    parked(operation)
}

/// The same wherever it is called: the caller knows that what it waits for does not need this
/// thread. `operation` belongs to no scope, so no cancel freezes it.
pub(crate) fn parked<F: Future>(operation: F) -> F::Output {
    let mut operation = pin!(operation);
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    loop {
        let polled = ambient::inside(None, true, || operation.as_mut().poll(&mut context));
        if let Poll::Ready(output) = polled {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
