//! Single children: how often they are polled, who waits for them, whose place they take.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_backend::Backend;
use bowline_backend::task::Threads;
use bowline_concurrency::{
    JoinError, Root, TaskGroup, TaskStatus, sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_immediate;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

every_backend!(
    a_child_of_a_cancelled_group_is_polled_once,
    a_dropped_join_or_cancel_cancels,
    a_place_that_was_granted_and_left_is_free,
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

/// Says that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// TG14
fn a_place_that_was_granted_and_left_is_free(root: Root) {
    let group = TaskGroup::builder().max_children(1);
    let result = root.block_on(group.run::<_, (), _, _>(|group| async move {
        for others_wait in [false, true] {
            let child = group.spawn_ok(sleep_forever());
            let woken = Arc::new(Woken::default());
            let mut leaves = Box::pin(group.admit());
            let waker = Waker::from(woken.clone());
            let first = leaves.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(first.is_pending(), "the group is full");
            let mut next = Box::pin(group.admit());
            if others_wait {
                assert!(poll_immediate(&mut next).await.is_none());
            }
            child.cancel("make room");
            // The place is the one's who waits from here on, whether it takes it or not.
            while !woken.0.load(Ordering::SeqCst) {
                yield_now().await;
            }
            drop(leaves);
            let came_in = if others_wait {
                assert!(
                    group.try_spawn(async { Ok(()) }).is_err(),
                    "it was passed on"
                );
                let slot = poll_immediate(&mut next).await.expect("it is the next");
                slot.expect("the group is open").spawn_ok(async {})
            } else {
                group.try_spawn(async { Ok(()) }).expect("it is free")
            };
            came_in.wait().await;
            while group.statistics().live > 0 {
                yield_now().await;
            }
        }
        Ok(group.statistics().done)
    }));
    assert_eq!(result.ok(), Some(2));
}
