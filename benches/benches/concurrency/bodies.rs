//! Where everything runs, and what it runs.

use bowline::backend::Backend;
use bowline::backend::task::{RunOptions, Threads};
use bowline::concurrency::{Root, task_group};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// Runs `work` in a task of ours, not in the root's own future: a runtime polls that by a way of
/// its own.
pub(crate) fn in_task<F>(work: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    in_task_among(1, work)
}

/// The same in a runtime with so many workers, at least one.
pub(crate) fn in_task_among<F>(workers: usize, work: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let threads = match NonZeroUsize::new(workers) {
        Some(several) if workers > 1 => Threads::Fixed(several),
        _ => Threads::One,
    };
    let options = RunOptions::default().threads(threads);
    let root = Root::new().backend(Backend::Tokio).options(options);
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        Ok(group.spawn_ok(work).join().await.expect("it does not fail"))
    }));
    result.expect("it does not fail")
}

/// Nanoseconds since `start`, shared out to `count`.
pub(crate) fn each(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

/// Children of one scope or group.
pub(crate) const BURST: usize = 1000;
pub(crate) const BURSTS: usize = 3;
/// The sum of what the children of one burst return.
pub(crate) const SUM: usize = BURST * (BURST - 1) / 2;

/// Nanoseconds per child, where `$burst` runs a [`BURST`] of them.
macro_rules! per_child {
    ($burst:expr) => {
        $crate::bodies::per_child!(1, $burst)
    };
    ($workers:expr, $burst:expr) => {
        $crate::bodies::in_task_among($workers, async {
            let start = std::time::Instant::now();
            for _ in 0..$crate::bodies::BURSTS {
                $burst.await;
            }
            $crate::bodies::each(start, $crate::bodies::BURSTS * $crate::bodies::BURST)
        })
    };
}
pub(crate) use per_child;

/// Never ready, and wakes nobody.
pub(crate) struct Idle;

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Pending once, without a wake: for whoever polls by hand.
#[derive(Default)]
pub(crate) struct PendingOnce(bool);

impl Future for PendingOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Pending once; its task goes on after the others.
#[derive(Default)]
pub(crate) struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
