//! Who has a `Lock`: owners in statistics and checks, plain threads, guards that keep the lock.

use crate::every_backend::every_backend;
use crate::{Wakes, poll};
use bowline_backend::Backend;
use bowline_concurrency::sync::{Lock, LockGuard, WouldDeadlock};
use bowline_concurrency::{Root, task_group, timeout, yield_now};
use futures_util::future::join;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

every_backend!(
    only_a_checked_lock_is_refused_to_its_owner,
    statistics_name_the_owner,
);

// SY7
fn only_a_checked_lock_is_refused_to_its_owner(root: Root) {
    root.block_on(async {
        let shared = Arc::new(Lock::new(0));
        let lock = &*shared;
        let guard = lock.lock_checked().await.expect("it is free");
        assert_eq!(lock.lock_checked().await.err(), Some(WouldDeadlock));
        let shared = shared.clone();
        let result = task_group::<_, (), _, _>(|group| async move {
            let other = group.spawn_ok(async move {
                *shared.lock_checked().await.expect("another task has it") += 1;
            });
            while lock.statistics().waiting == 0 {
                yield_now().await;
            }
            drop(guard);
            assert!(other.join().await.is_ok());
            let branch = || async {
                let mut count = lock.lock().await;
                yield_now().await;
                *count += 1;
            };
            join(branch(), branch()).await;
            assert_eq!(*lock.lock().await, 3);
            Ok(())
        });
        assert!(result.await.is_ok());
    });
}

// SY9
fn statistics_name_the_owner(root: Root) {
    let lock = Arc::new(Lock::new(()));
    let shared = lock.clone();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let free = shared.statistics();
        assert_eq!((free.locked, free.owner, free.waiting), (false, None, 0));
        let guard = shared.lock().await;
        let there = shared.clone();
        let child = group.named("clerk").spawn_ok(async move {
            let guard = there.lock().await;
            let seen = there.statistics();
            drop(guard);
            seen
        });
        while shared.statistics().waiting == 0 {
            yield_now().await;
        }
        assert_ne!(
            shared.statistics().owner.map(|owner| owner.task),
            Some(child.id())
        );
        drop(guard);
        let id = child.id();
        let seen = child.join().await.expect("it ends");
        assert!(seen.locked);
        let owner = seen.owner.expect("a task has it");
        assert_eq!((owner.task, owner.name.as_str()), (id, "clerk"));
        assert_eq!(shared.statistics().owner, None);
        Ok(())
    }));
    assert!(result.is_ok());
    let _outside = lock.try_lock();
    assert!(lock.statistics().locked);
    assert_eq!(lock.statistics().owner, None);
}

// SY9
#[test]
fn the_next_owner_is_named_before_it_runs() {
    Root::new().backend(Backend::Sim).block_on(async {
        let lock = Lock::new(());
        let guard = lock.lock().await;
        let mut next = lock.lock();
        assert!(poll(&mut next).await.is_none());
        drop(guard);
        let seen = lock.statistics();
        assert!(seen.locked && seen.owner.is_some());
        assert_eq!(seen.waiting, 0);
    });
}

/// A child that gets the lock by `wait` is its owner, and nobody is afterwards. `guard` goes when
/// somebody waits.
async fn is_owned_by_a_child<G: Send>(
    lock: &Arc<Lock<()>>,
    guard: LockGuard<'_, ()>,
    wait: impl Future<Output = G> + Send + 'static,
) {
    let result = task_group::<_, (), _, _>(|group| async move {
        let there = lock.clone();
        let child = group.spawn_ok(async move {
            let guard = wait.await;
            let owner = there.statistics().owner;
            drop(guard);
            owner.map(|owner| owner.task)
        });
        while lock.statistics().waiting == 0 {
            yield_now().await;
        }
        drop(guard);
        let id = child.id();
        assert_eq!(child.join().await.ok(), Some(Some(id)));
        Ok(())
    });
    assert!(result.await.is_ok());
    assert_eq!(lock.statistics().owner, None);
}

// SY9
#[test]
fn who_waits_in_a_scope_owns_as_its_task() {
    for make in [Lock::new, Lock::barging] {
        Root::new().backend(Backend::Sim).block_on(async {
            let lock = Arc::new(make(()));
            let guard = lock.lock().await;
            let waits = timeout(Duration::MAX, lock.clone().lock_owned());
            is_owned_by_a_child(&lock, guard, waits).await;
        });
    }
}

// SY9
#[test]
fn a_wait_that_moves_to_another_task_owns_as_that() {
    for make in [Lock::new, Lock::barging] {
        Root::new().backend(Backend::Sim).block_on(async {
            let lock = Arc::new(make(()));
            let guard = lock.lock().await;
            let mut waits = lock.clone().lock_owned();
            assert!(poll(&mut waits).await.is_none());
            is_owned_by_a_child(&lock, guard, waits).await;
        });
    }
}

// SY10
#[test]
fn a_plain_thread_parks_for_it() {
    let lock = Lock::new(0);
    let guard = lock.lock_blocking();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..100 {
                    *lock.lock_blocking() += 1;
                }
            });
        }
        while lock.statistics().waiting < 4 {
            std::thread::yield_now();
        }
        drop(guard);
    });
    assert_eq!(*lock.lock_blocking(), 400);
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let inside = catch_unwind(AssertUnwindSafe(|| {
            Root::new()
                .backend(backend)
                .block_on(async { drop(lock.lock_blocking()) });
        }));
        let panic = inside.expect_err("it is refused in a task");
        let text = panic.downcast_ref::<String>().expect("a text");
        assert!(text.contains("lock_blocking"), "{text}");
    }
}

#[test]
fn an_owned_guard_keeps_the_lock() {
    let lock = Arc::new(Lock::new(1));
    let wakes = Arc::new(Wakes::default());
    let Poll::Ready(mut guard) = wakes.poll(&mut lock.clone().lock_owned()) else {
        panic!("it is free");
    };
    *guard += 1;
    std::thread::scope(|threads| {
        threads.spawn(move || *guard += 1);
    });
    let lock = Arc::into_inner(lock).expect("the guard is gone");
    assert_eq!(lock.into_inner(), 3);
}
