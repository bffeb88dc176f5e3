//! `Condition`.

use crate::every_backend::every_backend;
use crate::{Wakes, poll};
use bowline_concurrency::sync::{Condition, Lock};
use bowline_concurrency::{CancelScope, Root, checkpoint, task_group, yield_now};
use bowline_sim::explore_drops;
use futures_util::future::join;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

every_backend!(
    waiting_releases_and_returns_with_the_lock,
    a_waiter_cancelled_while_it_locks_passes_on,
    a_bounded_buffer_loses_nothing,
);

fn condition() -> Condition<u32> {
    Condition::new(Arc::new(Lock::new(0)))
}

// SY14
fn waiting_releases_and_returns_with_the_lock(root: Root) {
    root.block_on(async {
        let condition = condition();
        let mut waiters = Vec::new();
        for _ in 0..3 {
            let guard = condition.lock().await;
            let mut waiter = condition.wait(guard);
            assert!(poll(&mut waiter).await.is_none());
            waiters.push(waiter);
        }
        assert_eq!(condition.statistics().waiting, 3);
        let mut guard = condition.lock().await;
        *guard = 1;
        condition.notify(&guard, 0);
        assert_eq!(condition.statistics().waiting, 3);
        condition.notify(&guard, 2);
        assert_eq!(condition.statistics().waiting, 1);
        // Notified, but the lock is not free yet.
        for waiter in &mut waiters {
            assert!(poll(waiter).await.is_none());
        }
        drop(guard);
        let first = poll(&mut waiters[0]).await.expect("notified first");
        assert_eq!(*first, 1);
        assert!(poll(&mut waiters[1]).await.is_none(), "the lock is held");
        drop(first);
        let second = poll(&mut waiters[1]).await.expect("notified second");
        drop(second);
        assert!(poll(&mut waiters[2]).await.is_none(), "not notified");
        // More than wait: all are notified, nothing is kept for those who come later.
        let guard = condition.lock().await;
        condition.notify(&guard, 9);
        drop(guard);
        drop(poll(&mut waiters[2]).await.expect("notified third"));
        let guard = condition.lock().await;
        let mut late = condition.wait(guard);
        for _ in 0..3 {
            assert!(poll(&mut late).await.is_none());
        }
    });
}

// SY15
#[test]
fn a_notified_waiter_that_leaves_passes_on() {
    let condition = condition();
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let lock = || match Arc::new(Wakes::default()).poll(&mut condition.lock()) {
        Poll::Ready(guard) => guard,
        Poll::Pending => panic!("the lock is free"),
    };
    let mut waiters = Vec::new();
    for wakes in &wakes[..2] {
        let mut waiter = condition.wait(lock());
        assert!(wakes.poll(&mut waiter).is_pending());
        waiters.push(waiter);
    }
    let guard = lock();
    condition.notify(&guard, 1);
    drop(guard);
    // A third comes after the notification: it is not for this one.
    let mut late = condition.wait(lock());
    assert!(wakes[2].poll(&mut late).is_pending());
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    assert_eq!(counts(), [1, 0, 0]);
    drop(waiters.remove(0));
    assert_eq!(counts(), [1, 1, 0]);
    drop(waiters.remove(0));
    assert_eq!(counts(), [1, 1, 0]);
    assert_eq!(condition.statistics().waiting, 1);
    drop(lock());
}

// SY16
fn a_waiter_cancelled_while_it_locks_passes_on(root: Root) {
    root.block_on(async {
        let condition = condition();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let guard = condition.lock().await;
        let mut first = pin!(scope.run(condition.wait(guard)));
        assert!(poll(&mut first).await.is_none());
        let guard = condition.lock().await;
        let mut second = condition.wait(guard);
        assert!(poll(&mut second).await.is_none());
        let guard = condition.lock().await;
        condition.notify(&guard, 1);
        // It is notified and waits for the lock, when it is cancelled.
        assert!(poll(&mut first).await.is_none());
        handle.cancel("test");
        assert!(first.await.cause().is_some());
        assert!(poll(&mut second).await.is_none());
        assert_eq!(condition.statistics().waiting, 0, "the second was notified");
        drop(guard);
        drop(poll(&mut second).await.expect("and has the lock"));
        drop(poll(&mut condition.lock()).await.expect("not held"));
    });
}

// SY16
#[test]
fn a_waiter_dropped_with_the_lock_handed_to_it_frees_it() {
    let condition = condition();
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut waiters = Vec::new();
    for wakes in &wakes {
        let Poll::Ready(guard) = wakes.poll(&mut condition.lock()) else {
            panic!("the lock is free");
        };
        let mut waiter = condition.wait(guard);
        assert!(wakes.poll(&mut waiter).is_pending());
        waiters.push(waiter);
    }
    let Poll::Ready(guard) = wakes[0].poll(&mut condition.lock()) else {
        panic!("the lock is free");
    };
    condition.notify(&guard, 1);
    assert!(wakes[0].poll(&mut waiters[0]).is_pending());
    drop(guard);
    drop(waiters.remove(0));
    assert_eq!(condition.statistics().waiting, 0, "passed on");
    assert!(wakes[1].poll(&mut waiters[0]).is_ready());
    assert!(wakes[0].poll(&mut condition.lock()).is_ready());
}

// SY17
#[test]
fn the_guard_of_another_lock_is_refused() {
    let (one, other) = (condition(), condition());
    let foreign = || match Arc::new(Wakes::default()).poll(&mut other.lock()) {
        Poll::Ready(guard) => guard,
        Poll::Pending => panic!("the lock is free"),
    };
    let refused: [Box<dyn FnOnce()>; 3] = [
        Box::new(|| one.notify(&foreign(), 1)),
        Box::new(|| one.notify_all(&foreign())),
        Box::new(|| drop(one.wait(foreign()))),
    ];
    for call in refused {
        let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it is refused");
        let text = panic.downcast_ref::<&str>().expect("a text");
        assert!(text.contains("another lock"), "{text}");
    }
    // Two conditions of one lock are no others.
    let shared = Arc::new(Lock::new(0));
    let (one, other) = (Condition::new(shared.clone()), Condition::new(shared));
    let Poll::Ready(guard) = Arc::new(Wakes::default()).poll(&mut one.lock()) else {
        panic!("the lock is free");
    };
    other.notify_all(&guard);
}

fn a_bounded_buffer_loses_nothing(root: Root) {
    const ROOM: usize = 2;
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let lock = Arc::new(Lock::new(VecDeque::new()));
        let filled = Arc::new(Condition::new(lock.clone()));
        let drained = Arc::new(Condition::new(lock));
        for producer in 0..3 {
            let (filled, drained) = (filled.clone(), drained.clone());
            group.spawn_ok(async move {
                for n in 0..30 {
                    let guard = drained.lock().await;
                    let mut buffer = drained.wait_until(guard, |b| b.len() < ROOM).await;
                    buffer.push_back(producer * 30 + n);
                    assert!(buffer.len() <= ROOM);
                    filled.notify(&buffer, 1);
                }
            });
        }
        let mut sum = 0;
        for _ in 0..90 {
            let guard = filled.lock().await;
            let mut buffer = filled.wait_until(guard, |b| !b.is_empty()).await;
            sum += buffer.pop_front().expect("it is not empty");
            drained.notify(&buffer, 1);
            drop(buffer);
            yield_now().await;
        }
        Ok(sum)
    }));
    assert_eq!(result.ok(), Some((0..90).sum::<u32>()));
}

// A part of CP8.
#[test]
fn dropped_at_any_await_nothing_stays_locked() {
    let awaits = explore_drops(|| {
        let shared = Arc::new(condition());
        let state = shared.clone();
        let future = async move {
            let waits = async {
                let guard = state.lock().await;
                let guard = state.wait_until(guard, |n| *n == 1).await;
                drop(guard);
                checkpoint().await;
            };
            let notifies = async {
                checkpoint().await;
                let mut guard = state.lock().await;
                *guard = 1;
                state.notify_all(&guard);
                checkpoint().await;
                drop(guard);
                checkpoint().await;
            };
            join(waits, notifies).await;
        };
        (future, move || {
            assert_eq!(shared.statistics().waiting, 0);
            let free = Arc::new(Wakes::default()).poll(&mut shared.lock());
            assert!(free.is_ready());
        })
    });
    assert!(awaits >= 3, "{awaits}");
}
