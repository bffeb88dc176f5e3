//! The sync primitives: one file per primitive, on every backend where a runtime matters.

#[path = "../suite/every_backend.rs"]
mod every_backend;

mod barrier;
mod capacity_limiter;
mod condition;
mod event;
mod lock;
mod lock_owner;
mod misuse;
mod queue;
mod queue_closing;
mod schedules;
mod semaphore;

use futures_util::future::poll_immediate;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls once in the current task; the output if it is there.
async fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_immediate(future).await
}

/// The output of a poll that must have one.
fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it need not wait"),
    }
}

/// A waker that counts, for futures that are polled outside of any task.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Polls once with this waker.
    fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        let waker = Waker::from(self.clone());
        std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
    }
}
