//! `Pool`: places, reuse, what is not used again.

use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_concurrency::{
    CancelScope, Pool, PoolBuilder, PoolError, PoolStatistics, Root, checkpoint, sleep_forever,
    task_group, yield_now,
};
use futures_util::future::{join, poll_immediate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

every_backend!(
    a_second_user_waits_until_the_first_is_done,
    never_more_than_max_at_once,
    what_came_back_last_is_used_first,
    a_factory_that_fails_frees_the_place,
    a_factory_that_is_dropped_frees_the_place,
    a_factory_that_panics_frees_the_place,
    discarded_items_are_not_used_again,
    items_that_fail_the_check_are_not_used_again,
    an_item_is_not_used_again_after_a_panic,
    max_idle_bounds_what_is_kept,
    granted_places_go_on_to_the_next,
    a_place_is_not_free_before_its_item_is_closed,
);

/// Makes numbers, from zero on.
pub(crate) fn numbers() -> PoolBuilder<usize, &'static str> {
    let made = AtomicUsize::new(0);
    Pool::builder(move || {
        let number = made.fetch_add(1, Ordering::SeqCst);
        async move {
            yield_now().await;
            Ok(number)
        }
    })
}

pub(crate) fn build<T, E>(builder: PoolBuilder<T, E>) -> Pool<T, E> {
    builder.build().expect("it has places")
}

/// Places held, items idle, items retired.
pub(crate) fn counts<T, E>(pool: &Pool<T, E>) -> (usize, usize, usize) {
    let PoolStatistics {
        held,
        idle,
        retired,
        ..
    } = pool.statistics();
    (held, idle, retired)
}

// PT1
fn a_second_user_waits_until_the_first_is_done(root: Root) {
    root.block_on(async {
        let pool = build(numbers().max(1));
        let first = pool.acquire().await.expect("it is open");
        let mut second = pin!(pool.acquire());
        assert!(poll_immediate(second.as_mut()).await.is_none());
        let mut third = pin!(pool.acquire());
        assert!(poll_immediate(third.as_mut()).await.is_none());
        assert_eq!((counts(&pool), pool.statistics().waiting), ((1, 0, 0), 2));
        drop(first);
        // It has the place before it runs: nobody comes between.
        assert_eq!(pool.statistics().waiting, 1);
        assert!(poll_immediate(third.as_mut()).await.is_none());
        let second = second.await.expect("it is open");
        assert_eq!(*second, 0);
        drop(second);
        assert_eq!(*third.await.expect("it is open"), 0);
        assert_eq!(counts(&pool), (0, 1, 0));
    });
}

// PT1
fn never_more_than_max_at_once(root: Root) {
    let most = Arc::new(AtomicUsize::new(0));
    let high = most.clone();
    let result = root.block_on(task_group::<_, PoolError<&str>, _, _>(|group| async move {
        let pool = build(numbers().max(3));
        let running = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let (pool, running, most) = (pool.clone(), running.clone(), high.clone());
            group.spawn(async move {
                for _ in 0..5 {
                    let lease = pool.acquire().await?;
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    assert!(*lease < 3, "three are enough");
                    yield_now().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }
                Ok(())
            });
        }
        Ok(pool)
    }));
    let end = result.expect("nothing fails").statistics();
    assert!(most.load(Ordering::SeqCst) <= 3);
    assert_eq!((end.held, end.waiting, end.retired), (0, 0, 0));
    assert!((1..=3).contains(&end.idle));
}

// PT2
fn what_came_back_last_is_used_first(root: Root) {
    root.block_on(async {
        let pool = build(numbers());
        let mut leases = Vec::new();
        for n in 0..3 {
            leases.push(pool.acquire().await.expect("it is open"));
            assert_eq!(*leases[n], n);
        }
        let [zero, one, two] = <[_; 3]>::try_from(leases).expect("there are three");
        drop(one);
        drop(two);
        drop(zero);
        assert_eq!(counts(&pool), (0, 3, 0));
        let leases = [
            pool.acquire().await,
            pool.acquire().await,
            pool.acquire().await,
        ];
        let again = leases
            .each_ref()
            .map(|lease| **lease.as_ref().expect("it is open"));
        assert_eq!(again, [0, 2, 1]);
        // They came back in the order of the array.
        drop(leases);
        assert_eq!(*pool.acquire().await.expect("it is open"), 1);
    });
}

// PT3
fn a_factory_that_fails_frees_the_place(root: Root) {
    root.block_on(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let factory = Pool::builder(move || {
            let call = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                checkpoint().await;
                if call == 0 { Err("no route") } else { Ok(call) }
            }
        });
        let pool = build(factory.max(1));
        let failed = pool.acquire().await.map(|lease| *lease);
        assert_eq!(failed, Err(PoolError::Failed("no route")));
        assert_eq!(counts(&pool), (0, 0, 0));
        assert_eq!(*pool.acquire().await.expect("it works now"), 1);
    });
}

// PT3
fn a_factory_that_is_dropped_frees_the_place(root: Root) {
    root.block_on(async {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let factory = Pool::builder(move || {
            let made = counter.clone();
            async move {
                if made.fetch_add(1, Ordering::SeqCst) < 2 {
                    sleep_forever().await;
                }
                Ok::<_, ()>(())
            }
        });
        let pool = build(factory.max(1));
        {
            let mut first = pin!(pool.acquire());
            assert!(poll_immediate(first.as_mut()).await.is_none());
            let mut second = pin!(pool.acquire());
            assert!(poll_immediate(second.as_mut()).await.is_none());
            assert_eq!((counts(&pool), pool.statistics().waiting), ((1, 0, 0), 1));
        }
        assert_eq!(counts(&pool), (0, 0, 0));
        // By a cancel as well; the next in the queue goes on.
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cancelled = scope.run(pool.acquire());
        let next = async {
            let mut next = pin!(pool.acquire());
            assert!(poll_immediate(next.as_mut()).await.is_none());
            handle.cancel("enough");
            drop(next.await.expect("it is open"));
        };
        let (cancelled, ()) = join(cancelled, next).await;
        assert!(cancelled.cause().is_some());
        assert_eq!(counts(&pool), (0, 1, 0));
        assert_eq!(made.load(Ordering::SeqCst), 3);
    });
}

// PT3
fn a_factory_that_panics_frees_the_place(root: Root) {
    let calls = Arc::new(AtomicUsize::new(0));
    let pool = build(
        Pool::builder(move || {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(call > 0, "no route");
                Ok::<_, ()>(call)
            }
        })
        .max(1),
    );
    let inner = pool.clone();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let root = Root::new().backend(Backend::Smol);
        root.block_on(async { inner.acquire().await.is_ok() })
    }));
    assert!(caught.is_err());
    assert_eq!(counts(&pool), (0, 0, 0));
    root.block_on(async {
        assert_eq!(*pool.acquire().await.expect("it works now"), 1);
    });
}

// PT4
fn discarded_items_are_not_used_again(root: Root) {
    root.block_on(async {
        let pool = build(numbers().max(1));
        let lease = pool.acquire().await.expect("it is open");
        lease.discard();
        assert_eq!(counts(&pool), (0, 0, 0));
        let lease = pool.acquire().await.expect("it is open");
        assert_eq!(*lease, 1);
        // One that waits gets a new one, too.
        let mut waiter = pin!(pool.acquire());
        assert!(poll_immediate(waiter.as_mut()).await.is_none());
        lease.discard();
        assert_eq!(*waiter.await.expect("it is open"), 2);
    });
}

// PT4
fn items_that_fail_the_check_are_not_used_again(root: Root) {
    root.block_on(async {
        let pool = build(numbers().check(|number| *number != 0));
        for expected in [0, 1, 1] {
            let lease = pool.acquire().await.expect("it is open");
            assert_eq!(*lease, expected);
        }
        // With an answer that takes a while.
        let pool = build(numbers().max(1).check_with(|number| {
            Box::pin(async move {
                checkpoint().await;
                *number += 10;
                *number < 15
            })
        }));
        for expected in [0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 5, 6, 7] {
            let lease = pool.acquire().await.expect("it is open");
            assert_eq!(*lease, expected);
        }
        // Half-way dropped, it has no answer.
        let pool = build(numbers().max(1).check_with(|_| {
            Box::pin(async {
                checkpoint().await;
                true
            })
        }));
        drop(pool.acquire().await);
        {
            let mut dropped = pin!(pool.acquire());
            assert!(poll_immediate(dropped.as_mut()).await.is_none());
        }
        assert_eq!(counts(&pool), (0, 0, 0));
        for _ in 0..2 {
            assert_eq!(*pool.acquire().await.expect("it is open"), 1);
        }
    });
}

fn an_item_is_not_used_again_after_a_panic(root: Root) {
    root.block_on(async {
        let pool = build(numbers().max(1));
        let lease = pool.acquire().await.expect("it is open");
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _lease = lease;
            panic!("in the middle of a request");
        }));
        assert!(caught.is_err());
        assert_eq!(counts(&pool), (0, 0, 0));
        assert_eq!(*pool.acquire().await.expect("it is open"), 1);
    });
}

fn max_idle_bounds_what_is_kept(root: Root) {
    root.block_on(async {
        let pool = build(numbers().max(3).max_idle(1));
        let leases = [
            pool.acquire().await,
            pool.acquire().await,
            pool.acquire().await,
        ];
        let mut waiter = pin!(pool.acquire());
        assert!(poll_immediate(waiter.as_mut()).await.is_none());
        drop(leases);
        // One went to who waited for it, one is kept, one is gone.
        assert_eq!(counts(&pool), (1, 1, 0));
        drop(waiter.await);
        assert_eq!(counts(&pool), (0, 1, 0));
        let once = build(numbers().max_idle(0));
        for expected in 0..3 {
            assert_eq!(*once.acquire().await.expect("it is open"), expected);
            assert_eq!(counts(&once), (0, 0, 0));
        }
    });
}

fn granted_places_go_on_to_the_next(root: Root) {
    root.block_on(async {
        let pool = build(numbers().max(1));
        let lease = pool.acquire().await.expect("it is open");
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut frozen = pin!(scope.run(pool.acquire()));
        assert!(poll_immediate(frozen.as_mut()).await.is_none());
        let mut last = pin!(pool.acquire());
        {
            let mut granted = pin!(pool.acquire());
            assert!(poll_immediate(granted.as_mut()).await.is_none());
            assert!(poll_immediate(last.as_mut()).await.is_none());
            handle.cancel("enough");
            // Past the one that is cancelled, to the one that is dropped now.
            drop(lease);
            assert_eq!(counts(&pool), (1, 0, 0));
        }
        assert_eq!(counts(&pool), (1, 0, 0));
        assert_eq!(*last.await.expect("it is open"), 0);
        assert!(frozen.await.cause().is_some());
        assert_eq!(counts(&pool), (0, 1, 0));
    });
}

fn a_place_is_not_free_before_its_item_is_closed(root: Root) {
    root.block_on(async {
        let (there, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (makes, closes, ends) = (there.clone(), there.clone(), closed.clone());
        let factory = Pool::builder(move || {
            let there = makes.fetch_add(1, Ordering::SeqCst);
            async move {
                assert_eq!(there, 0, "there is one place");
                Ok::<_, ()>(())
            }
        });
        let pool = build(factory.max(1).close_with(move |()| {
            let (there, closed) = (closes.clone(), ends.clone());
            async move {
                for _ in 0..3 {
                    checkpoint().await;
                }
                there.fetch_sub(1, Ordering::SeqCst);
                closed.fetch_add(1, Ordering::SeqCst);
            }
        }));
        pool.acquire().await.expect("it is open").discard();
        assert_eq!(counts(&pool), (0, 0, 1));
        // Half-way dropped, the closing goes on with the next.
        for _ in 0..2 {
            let mut dropped = pin!(pool.acquire());
            assert!(poll_immediate(dropped.as_mut()).await.is_none());
            assert_eq!(counts(&pool), (1, 0, 0));
        }
        assert_eq!(counts(&pool), (0, 0, 1));
        drop(pool.acquire().await);
        assert_eq!(closed.load(Ordering::SeqCst), 1);
        pool.acquire().await.expect("it is open").discard();
        assert_eq!((pool.close_retired().await, counts(&pool)), (1, (0, 0, 0)));
        assert_eq!(
            (closed.load(Ordering::SeqCst), there.load(Ordering::SeqCst)),
            (2, 0)
        );
    });
}

// SY37
#[test]
fn a_pool_without_a_place_is_refused() {
    let refused = numbers().max(0).build().expect_err("nobody could have one");
    let allowed = refused.allowed();
    assert_eq!(refused.what(), "the number of items of a pool");
    assert_eq!((refused.given(), *allowed.start()), (0, 1));
}
