//! The end of an executor: every caller gets an answer.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bowline_concurrency::timeout;

use super::places::Places;
use crate::Code;

/// What became of the jobs of an executor that shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Handlers that ended by themselves within the timeout.
    pub finished: usize,
    /// Jobs that waited for a place, answered [`Draining`](crate::Code::Draining) and never run.
    pub refused: usize,
    /// Handlers that were cancelled, and ended within the grace.
    pub cancelled: usize,
    /// Handlers that go on, their callers answered: those that hold a thread and do not look at
    /// [`is_cancelled`](crate::Context::is_cancelled).
    pub abandoned: usize,
}

/// Shuts down; `grace` is what handlers get to end once they are cancelled.
///
/// Every job is answered when it returns: those that wait at once, those that run when they end or
/// when the grace is over.
pub(super) async fn shut_down(places: &Places, wait: Duration, grace: Duration) -> ShutdownReport {
    let finish = FinishOnDrop(places);
    let (waiting, running) = places.close();
    let refused = waiting.len();
    for job in waiting {
        job.refuse(Code::Draining);
    }
    let mut report = ShutdownReport {
        refused,
        ..ShutdownReport::default()
    };
    let left = until_none_runs(places, wait).await;
    report.finished = running.saturating_sub(left);
    if left > 0 {
        places.cancel();
        report.abandoned = until_none_runs(places, grace).await;
        report.cancelled = left.saturating_sub(report.abandoned);
    }
    if report.abandoned > 0 {
        places.give_up();
        let answered = until(places, |(_, unanswered)| unanswered == 0);
        let _ = timeout(ANSWERS, answered).await;
    }
    drop(finish);
    report
}

/// How long tasks whose handlers go on may take to answer for them: one poll, where threads are free.
const ANSWERS: Duration = Duration::from_secs(1);

/// Waits at most `within` until none runs; how many run then.
async fn until_none_runs(places: &Places, within: Duration) -> usize {
    let mut running = 0;
    let none = until(places, |(left, _)| {
        running = left;
        left == 0
    });
    let _ = timeout(within, none).await;
    running
}

async fn until(places: &Places, mut enough: impl FnMut((usize, usize)) -> bool) {
    poll_fn(|cx| {
        if enough(places.running(cx.waker().clone())) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Whoever stops waiting for a shutdown has it end there.
struct FinishOnDrop<'a>(&'a Places);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}
