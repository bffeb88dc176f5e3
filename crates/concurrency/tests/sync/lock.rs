//! `Lock`.

use crate::every_backend::every_backend;
use crate::{Wakes, poll};
use bowline_concurrency::sync::{Busy, Event, Lock, LockGuard};
use bowline_concurrency::{CancelScope, Root, checkpoint, shield, task_group, yield_now};
use bowline_sim::explore_drops;
use futures_util::future::join;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

every_backend!(
    a_hundred_tasks_count_to_ten_thousand,
    waiters_get_it_in_order,
    a_frozen_waiter_is_passed_over,
    a_thawed_waiter_gets_what_it_was_passed_over_for,
    a_granted_waiter_completes_although_cancelled,
    a_cancelled_task_takes_no_free_lock,
    a_panic_releases,
    a_loop_that_never_waits_lets_others_run,
);

fn busy<T>(lock: &Lock<T>) -> bool {
    let refused: Option<Busy> = lock.try_lock().err();
    refused.is_some()
}

// SY1
fn a_hundred_tasks_count_to_ten_thousand(root: Root) {
    let count_with = |lock: Lock<u32>| async move {
        let lock = Arc::new(lock);
        let shared = lock.clone();
        let result = task_group::<_, (), _, _>(|group| async move {
            for _ in 0..100 {
                let lock = shared.clone();
                group.spawn_ok(async move {
                    for _ in 0..100 {
                        let mut count = lock.lock().await;
                        let before = *count;
                        yield_now().await;
                        *count = before + 1;
                    }
                });
            }
            Ok(())
        });
        assert!(result.await.is_ok());
        let lock = Arc::into_inner(lock).expect("the tasks have ended");
        assert_eq!(lock.statistics().waiting, 0);
        lock.into_inner()
    };
    let counts = root.block_on(async {
        (
            count_with(Lock::new(0)).await,
            count_with(Lock::barging(0)).await,
        )
    });
    assert_eq!(counts, (10_000, 10_000));
}

// SY2
fn waiters_get_it_in_order(root: Root) {
    root.block_on(async {
        let lock = Lock::new(Vec::new());
        let guard = lock.lock().await;
        let mut waiters: Vec<_> = (0..5).map(|_| lock.lock()).collect();
        for waiter in &mut waiters {
            assert!(poll(waiter).await.is_none());
        }
        drop(guard);
        // Polled in the opposite order: only the first has it, then the next.
        for turn in 0..5 {
            for (n, waiter) in waiters.iter_mut().enumerate().skip(turn).rev() {
                let taken = poll(waiter).await;
                assert_eq!(taken.is_some(), n == turn);
                if let Some(mut order) = taken {
                    order.push(n);
                }
                if n == turn + 1 && turn < 4 {
                    assert_eq!(lock.statistics().waiting, 4 - turn);
                }
            }
        }
        drop(waiters);
        assert_eq!(lock.into_inner(), [0, 1, 2, 3, 4]);
    });
}

// SY3
#[test]
fn between_release_and_poll_nobody_gets_in() {
    let lock = Lock::new(());
    let guard = lock.try_lock().expect("it is free");
    let (wakes, mut waiter) = (Arc::new(Wakes::default()), lock.lock());
    assert!(wakes.poll(&mut waiter).is_pending());
    drop(guard);
    assert_eq!(wakes.count(), 1);
    assert!(busy(&lock), "it is the waiter's already");
    assert!(wakes.poll(&mut lock.lock()).is_pending());
    assert!(wakes.poll(&mut waiter).is_ready());
    assert!(!busy(&lock));
}

// SY4
#[test]
fn a_barging_lock_is_free_in_that_window() {
    let lock = Lock::barging(());
    let guard = lock.try_lock().expect("it is free");
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let (mut first, mut second) = (lock.lock(), lock.lock());
    assert!(wakes[0].poll(&mut first).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    assert!(busy(&lock));
    drop(guard);
    for round in 1..=3 {
        assert_eq!([wakes[0].count(), wakes[1].count()], [round, 0]);
        let barger = lock.try_lock().expect("anybody may have it");
        assert!(wakes[0].poll(&mut first).is_pending(), "it waits on");
        drop(barger);
    }
    assert!(wakes[0].poll(&mut first).is_ready(), "not lost");
    // Released once more: only now is it the second one's turn.
    assert_eq!([wakes[0].count(), wakes[1].count()], [4, 1]);
    // Woken, it leaves instead of trying: nobody is left, the lock is free.
    drop(second);
    assert!(!busy(&lock));
}

// SY4
#[test]
fn a_barging_waiter_that_leaves_has_the_next_woken() {
    let lock = Lock::barging(());
    let guard = lock.try_lock().expect("it is free");
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let (mut first, mut second) = (lock.lock(), lock.lock());
    assert!(wakes[0].poll(&mut first).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    drop(guard);
    drop(first);
    assert_eq!([wakes[0].count(), wakes[1].count()], [1, 1]);
    assert!(wakes[1].poll(&mut second).is_ready());
}

// SY5
#[test]
fn a_waiter_that_leaves_passes_its_turn_on() {
    let lock = Lock::new(());
    let guard = lock.try_lock().expect("it is free");
    let wakes: [Arc<Wakes>; 4] = Default::default();
    let mut waiters: Vec<_> = (0..4).map(|_| Some(lock.lock())).collect();
    for (waiter, wakes) in waiters.iter_mut().flatten().zip(&wakes) {
        assert!(wakes.poll(waiter).is_pending());
    }
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    // The second leaves while it waits; the first leaves when it has been granted.
    waiters[1] = None;
    drop(guard);
    assert_eq!(counts(), [1, 0, 0, 0]);
    waiters[0] = None;
    assert_eq!(counts(), [1, 0, 1, 0]);
    waiters[2] = None;
    assert_eq!(counts(), [1, 0, 1, 1]);
    assert!(busy(&lock));
    waiters[3] = None;
    assert!(!busy(&lock), "nobody is left");
    assert_eq!(lock.statistics().waiting, 0);
}

// SY6
fn a_frozen_waiter_is_passed_over(root: Root) {
    root.block_on(async {
        for lock in [Lock::new(()), Lock::barging(())] {
            let guard = lock.lock().await;
            let scope = CancelScope::new();
            let handle = scope.handle();
            let mut cancelled = pin!(scope.run(async {
                let _guard = lock.lock().await;
                unreachable!("it was cancelled first");
            }));
            let mut second = lock.lock();
            assert!(poll(&mut cancelled).await.is_none());
            assert!(poll(&mut second).await.is_none());
            handle.cancel("test");
            drop(guard);
            let guard = poll(&mut second).await;
            assert!(guard.is_some(), "the next live one has it");
            drop(guard);
            // Only the frozen one is left: it does not keep the lock.
            assert!(!busy(&lock));
            assert!(cancelled.await.cause().is_some());
            assert_eq!(lock.statistics().waiting, 0);
        }
    });
}

// SY6
fn a_thawed_waiter_gets_what_it_was_passed_over_for(root: Root) {
    root.block_on(async {
        for lock in [Lock::new(()), Lock::barging(())] {
            let guard = lock.lock().await;
            let event = Event::new();
            let (outer, inner) = (CancelScope::new(), CancelScope::new());
            let (cancels, thaws) = (outer.handle(), inner.handle());
            // The shield keeps the body alive, and with it the frozen waiter beside it.
            let mut held = pin!(outer.run(inner.run(async {
                let waits = async {
                    let _guard = lock.lock().await;
                };
                join(waits, shield(event.wait())).await;
            })));
            assert!(poll(&mut held).await.is_none());
            cancels.cancel("test");
            assert!(poll(&mut held).await.is_none());
            drop(guard);
            assert!(!busy(&lock), "its waiter is frozen");
            assert!(poll(&mut held).await.is_none());
            assert_eq!(lock.statistics().waiting, 1, "it kept its place");
            thaws.raise_shield();
            assert!(poll(&mut held).await.is_none());
            assert_eq!(lock.statistics().waiting, 0, "it had its turn");
            assert!(!busy(&lock));
            event.set();
            assert!(poll(&mut held).await.is_some());
        }
    });
}

// CP5
fn a_granted_waiter_completes_although_cancelled(root: Root) {
    root.block_on(async {
        let lock = Lock::new(7);
        let guard = lock.lock().await;
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut granted = pin!(scope.run(async {
            let guard = lock.lock().await;
            *guard
        }));
        assert!(poll(&mut granted).await.is_none());
        drop(guard);
        handle.cancel("test");
        assert_eq!(granted.await.done(), Some(7));
        assert!(!busy(&lock));
    });
}

fn a_cancelled_task_takes_no_free_lock(root: Root) {
    root.block_on(async {
        let lock = Lock::new(());
        let scope = CancelScope::new();
        scope.handle().cancel("test");
        let outcome = scope.run(async {
            let _guard = lock.lock().await;
            unreachable!("a leaf makes no progress here");
        });
        assert!(outcome.await.cause().is_some());
        assert!(!busy(&lock));
    });
}

// SY8
fn a_panic_releases(root: Root) {
    root.block_on(async {
        let lock = Lock::new(1);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = lock.try_lock().expect("it is free");
            *guard = 2;
            panic!("test");
        }));
        assert!(caught.is_err());
        assert_eq!(*lock.lock().await, 2);
    });
}

// SY11
#[test]
fn a_lock_can_be_static_and_taken_without_a_runtime() {
    static FAIR: Lock<u32> = Lock::new(1);
    static BARGING: Lock<u32> = Lock::barging(2);
    let sum = *FAIR.lock_blocking() + *BARGING.lock_blocking();
    assert_eq!(sum, 3);
}

// CP6
fn a_loop_that_never_waits_lets_others_run(root: Root) {
    let lock = Lock::new(());
    let (locked, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    root.block_on(async {
        let busy_loop = async {
            for _ in 0..1000 {
                drop::<LockGuard<'_, ()>>(lock.lock().await);
                most.fetch_max(locked.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            }
        };
        let mut busy_loop = pin!(busy_loop);
        // Each return to this poll is a chance for the other tasks of the thread.
        let mut turns = 0;
        while poll(&mut busy_loop).await.is_none() {
            turns += 1;
            locked.store(0, Ordering::SeqCst);
            yield_now().await;
        }
        assert!(turns >= 7, "{turns} turns for 1000 operations");
    });
    assert!(most.load(Ordering::SeqCst) <= 128);
}

// A part of CP8.
#[test]
fn dropped_at_any_await_it_is_free_again() {
    for make in [Lock::new, Lock::barging] {
        let awaits = explore_drops(|| {
            let lock = Arc::new(make(0));
            let shared = lock.clone();
            let future = async move {
                let held = shared.lock().await;
                let waits = async {
                    *shared.lock().await += 1;
                    checkpoint().await;
                    *shared.clone().lock_owned().await += 1;
                    checkpoint().await;
                };
                let releases = async {
                    checkpoint().await;
                    checkpoint().await;
                    drop(held);
                };
                join(waits, releases).await;
            };
            (future, move || {
                assert_eq!(lock.statistics().waiting, 0);
                assert!(!busy(&lock));
            })
        });
        assert!(awaits >= 4, "{awaits}");
    }
}
