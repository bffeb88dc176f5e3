//! What it costs to cancel very many tasks that wait.

use crate::bodies::{Idle, Yield, each, in_task};
use bowline::concurrency::task_group;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MANY: usize = 100_000;
const FEW: usize = 1000;

/// Nanoseconds per child: of the call that cancels, and until all have ended.
struct Cancelled {
    call: f64,
    ended: f64,
}

pub(crate) fn group() -> f64 {
    cancel_group(MANY).call
}

pub(crate) fn group_ended() -> f64 {
    cancel_group(MANY).ended
}

pub(crate) fn small_group_ended() -> f64 {
    cancel_group(FEW).ended
}

pub(crate) fn tokens() -> f64 {
    cancel_tokens(MANY).call
}

pub(crate) fn tokens_ended() -> f64 {
    cancel_tokens(MANY).ended
}

pub(crate) fn few_tokens_ended() -> f64 {
    cancel_tokens(FEW).ended
}

fn cancel_group(children: usize) -> Cancelled {
    in_task(async move {
        let result = task_group::<_, (), _, _>(|group| async move {
            let waiting = Arc::new(AtomicUsize::new(0));
            for _ in 0..children {
                group.spawn_ok(wait(waiting.clone()));
            }
            all(&waiting, children).await;
            let start = Instant::now();
            group.cancel("that was all");
            Ok((start, each(start, children)))
        });
        let (start, call) = result.await.expect("the body is done");
        let ended = each(start, children);
        Cancelled { call, ended }
    })
}

fn cancel_tokens(children: usize) -> Cancelled {
    in_task(async move {
        let waiting = Arc::new(AtomicUsize::new(0));
        let outer = CancellationToken::new();
        let tracker = TaskTracker::new();
        for _ in 0..children {
            let token = outer.child_token();
            tracker.spawn(token.run_until_cancelled_owned(wait(waiting.clone())));
        }
        all(&waiting, children).await;
        let start = Instant::now();
        outer.cancel();
        let call = each(start, children);
        tracker.close();
        tracker.wait().await;
        let ended = each(start, children);
        Cancelled { call, ended }
    })
}

/// Counts itself and waits for ever.
async fn wait(waiting: Arc<AtomicUsize>) {
    waiting.fetch_add(1, Ordering::Relaxed);
    Idle.await;
}

async fn all(waiting: &AtomicUsize, children: usize) {
    while waiting.load(Ordering::Relaxed) < children {
        Yield::default().await;
    }
}
