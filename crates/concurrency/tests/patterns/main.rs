//! Parallel calls, workers and pools: one file per pattern, on every backend where a runtime
//! matters.

#[path = "../suite/alive.rs"]
mod alive;
#[path = "../suite/every_backend.rs"]
mod every_backend;

mod parallel;
mod pool;
mod pool_closing;
mod pool_schedules;
mod pool_times;
mod workers;
mod workers_failing;

use std::pin::pin;
use std::task::Poll;

/// Drops a future when it was pending `polls` times; its output if it ended before.
async fn cut_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    let cut = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    });
    cut.await
}
