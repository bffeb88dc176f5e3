//! Single children: how often they are polled, who waits for them, what a million of them leave.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_backend::Backend;
use bowline_backend::task::Threads;
use bowline_concurrency::{
    JoinError, Root, TaskGroup, TaskStatus, checkpoint, sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_immediate;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

every_backend!(
    a_child_of_a_cancelled_group_is_polled_once,
    a_dropped_join_or_cancel_cancels,
);

/// Never ready; counts its polls.
struct Polls(Arc<AtomicUsize>);

impl Future for Polls {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Pending
    }
}

// TG10
fn a_child_of_a_cancelled_group_is_polled_once(root: Root) {
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = polls.clone();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        group.cancel("x");
        Ok(group.spawn_ok(Polls(counter)))
    }));
    let handle = result.expect("the body finished");
    assert_eq!(handle.status(), TaskStatus::Cancelled);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

// TG10
#[test]
fn a_child_cancelled_before_it_ran_is_polled_once() {
    // Not async-std, whose threads belong to the process: the child may run before its cancel.
    for backend in [Backend::Tokio, Backend::Smol, Backend::Sim] {
        let polls = Arc::new(AtomicUsize::new(0));
        let counter = polls.clone();
        // On one thread the child cannot run before the body parks.
        let root = every_backend::root(backend, Threads::One);
        let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
            let child = group.spawn_ok(Polls(counter));
            assert!(child.cancel("x"));
            Ok(matches!(child.join().await, Err(JoinError::Cancelled(_))))
        }));
        assert_eq!(result.ok(), Some(true));
        assert_eq!(polls.load(Ordering::SeqCst), 1, "{backend:?}");
    }
}

// TG51
fn a_dropped_join_or_cancel_cancels(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let probe = Alive::new(&alive);
    let result = root.block_on(async {
        let result = task_group::<_, (), _, _>(|group| async move {
            let child = group.spawn_ok(async move {
                let _probe = probe;
                sleep_forever().await
            });
            let mut join = Box::pin(child.join_or_cancel());
            assert!(poll_immediate(&mut join).await.is_none());
            yield_now().await;
            drop(join);
            // One that has ended is not harmed any more, and its value comes.
            let child = group.spawn_ok(async { 7 });
            while group.statistics().done == 0 {
                yield_now().await;
            }
            child.wait().await;
            Ok((child.join_or_cancel().await.ok(), group))
        });
        let (value, group) = result.await.expect("a cancelled child is no error");
        (
            value,
            group.statistics().cancelled,
            alive.load(Ordering::SeqCst),
        )
    });
    assert_eq!(result, (Some(7), 1, 0));
}

// TG37
#[test]
fn a_million_children_leave_nothing() {
    const ROUNDS: usize = 1_000;
    let alive = Arc::new(AtomicUsize::new(0));
    let counter = alive.clone();
    let (before, after) = Root::new().backend(Backend::Sim).block_on(async {
        let group = TaskGroup::builder().run::<_, (), _, _>(|group| async move {
            let mut before = 0;
            for round in 0..ROUNDS {
                for _ in 0..1_000 {
                    let probe = Alive::new(&counter);
                    drop(group.spawn_ok(async move { drop(probe) }));
                }
                while group.statistics().live > 0 {
                    checkpoint().await;
                }
                if round == ROUNDS / 10 {
                    before = resident_pages();
                }
            }
            assert_eq!(group.statistics().done, 1_000 * ROUNDS);
            Ok((before, resident_pages()))
        });
        group.await.expect("no child fails")
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    // One byte kept of each of the last 900 000 would be 220 pages, a node a hundred times that.
    assert!(after < before + 2_000, "{before} pages became {after}");
}

/// The memory of this process, in pages.
fn resident_pages() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = statm.split(' ').nth(1);
    resident.and_then(|n| n.parse().ok()).unwrap_or(0)
}
