//! `Pool::close`: every item is closed exactly once.

use crate::cut_after;
use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CancelScope, Pool, PoolBuilder, PoolError, Root, checkpoint, now, sleep, task_group, yield_now,
};
use bowline_sim::explore_drops;
use futures_util::future::{join, poll_immediate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

every_backend!(
    waiters_are_told_and_leases_awaited,
    who_makes_an_item_gets_it_and_is_awaited,
    two_who_close_wait_for_each_other,
    frozen_waiters_are_told_when_they_thaw,
    in_a_cancelled_scope_nothing_is_closed,
    closing_a_pool_of_dropped_items_needs_no_closer,
    a_panic_of_a_closing_leaves_the_rest_to_the_next,
    a_closing_with_tasks_ends_though_its_holder_was_dropped,
);

/// Counts what happens to the items of a pool.
#[derive(Clone, Default)]
struct Ledger {
    made: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Ledger {
    /// A pool whose closings take a few polls.
    fn pool(&self) -> PoolBuilder<usize, ()> {
        let (makes, closes) = (self.clone(), self.clone());
        let factory = Pool::builder(move || {
            let made = makes.made.clone();
            async move {
                yield_now().await;
                Ok(made.fetch_add(1, Ordering::SeqCst))
            }
        });
        factory.close_with(move |_| {
            let ledger = closes.clone();
            ledger.begun.fetch_add(1, Ordering::SeqCst);
            async move {
                for _ in 0..3 {
                    checkpoint().await;
                }
                ledger.closed.fetch_add(1, Ordering::SeqCst);
            }
        })
    }

    /// How many were made, began to be closed, were closed.
    fn counts(&self) -> (usize, usize, usize) {
        let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (read(&self.made), read(&self.begun), read(&self.closed))
    }
}

fn build<T, E>(builder: PoolBuilder<T, E>) -> Pool<T, E> {
    builder.build().expect("it has places")
}

// PT6
fn waiters_are_told_and_leases_awaited(root: Root) {
    root.block_on(async {
        let ledger = Ledger::default();
        let pool = build(ledger.pool().max(3));
        let leases = [
            pool.acquire().await,
            pool.acquire().await,
            pool.acquire().await,
        ];
        let [idle, discarded, lent] = leases.map(|lease| lease.expect("it is open"));
        let mut waiter = pin!(pool.acquire());
        assert!(poll_immediate(waiter.as_mut()).await.is_none());
        // Not begun before it is awaited.
        let mut close = pin!(pool.close());
        assert!(!pool.statistics().closed);
        assert!(poll_immediate(close.as_mut()).await.is_none());
        assert!(pool.statistics().closed);
        let told = waiter.await.map(|lease| *lease);
        assert_eq!(told, Err(PoolError::Closed));
        let late = pool.acquire().await.map(|lease| *lease);
        assert_eq!(late, Err(PoolError::Closed));
        drop(idle);
        discarded.discard();
        for _ in 0..20 {
            assert!(poll_immediate(close.as_mut()).await.is_none());
        }
        assert_eq!(ledger.counts(), (3, 2, 2), "it waits for one lease");
        drop(lent);
        close.await;
        assert_eq!(ledger.counts(), (3, 3, 3));
        let end = pool.statistics();
        assert_eq!((end.held, end.idle, end.retired), (0, 0, 0));
        // Closing again is nothing.
        pool.close().await;
        assert_eq!(ledger.counts(), (3, 3, 3));
    });
}

// PT6
fn who_makes_an_item_gets_it_and_is_awaited(root: Root) {
    root.block_on(async {
        let ledger = Ledger::default();
        let pool = build(ledger.pool());
        let mut makes = pin!(pool.acquire());
        assert!(poll_immediate(makes.as_mut()).await.is_none());
        let mut close = pin!(pool.close());
        assert!(poll_immediate(close.as_mut()).await.is_none());
        let lease = makes.await.expect("it had its place before");
        for _ in 0..20 {
            assert!(poll_immediate(close.as_mut()).await.is_none());
        }
        drop(lease);
        close.await;
        assert_eq!(ledger.counts(), (1, 1, 1));
    });
}

// PT6
fn two_who_close_wait_for_each_other(root: Root) {
    let ledger = Ledger::default();
    let all = ledger.clone();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let pool = build(all.pool().max(40));
        let mut leases = Vec::new();
        for _ in 0..40 {
            leases.push(pool.acquire().await.expect("it is open"));
        }
        drop(leases);
        for _ in 0..2 {
            let (pool, ledger) = (pool.clone(), all.clone());
            group.spawn_ok(async move {
                pool.close().await;
                assert_eq!(ledger.counts(), (40, 40, 40), "all are closed for both");
            });
        }
        Ok(())
    }));
    assert!(result.is_ok());
    assert_eq!(ledger.counts(), (40, 40, 40));
}

// PT6
fn frozen_waiters_are_told_when_they_thaw(root: Root) {
    root.block_on(async {
        let ledger = Ledger::default();
        let pool = build(ledger.pool().max(1));
        let lease = pool.acquire().await.expect("it is open");
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (cancels, shields) = (outer.handle(), inner.handle());
        let mut waiter = pin!(outer.run(inner.run(pool.acquire())));
        assert!(poll_immediate(waiter.as_mut()).await.is_none());
        cancels.cancel("enough");
        let mut close = pin!(pool.close());
        assert!(poll_immediate(close.as_mut()).await.is_none());
        assert_eq!(pool.statistics().waiting, 1, "it was passed over");
        shields.raise_shield();
        let told = waiter.await.done().and_then(|inner| inner.done());
        let told = told.expect("it is shielded").map(|lease| *lease);
        assert_eq!(told, Err(PoolError::Closed));
        drop(lease);
        close.await;
        assert_eq!(ledger.counts(), (1, 1, 1));
    });
}

// PT6
fn in_a_cancelled_scope_nothing_is_closed(root: Root) {
    root.block_on(async {
        let pool = build(Ledger::default().pool());
        let cancelled = CancelScope::new();
        cancelled.handle().cancel("enough");
        assert!(cancelled.run(pool.close()).await.cause().is_some());
        assert!(!pool.statistics().closed);
        assert!(pool.acquire().await.is_ok());
    });
}

fn closing_a_pool_of_dropped_items_needs_no_closer(root: Root) {
    root.block_on(async {
        let item = Arc::new(());
        let kept = item.clone();
        let pool = build(Pool::builder(move || {
            let item = kept.clone();
            async move { Ok::<_, ()>(item) }
        }));
        let lease = pool.acquire().await.expect("it is open");
        drop(pool.acquire().await);
        assert_eq!(Arc::strong_count(&item), 4);
        let gate = Event::new();
        let (_, ()) = join(
            async {
                gate.wait().await;
                drop(lease);
            },
            async {
                let mut close = pin!(pool.close());
                assert!(poll_immediate(close.as_mut()).await.is_none());
                assert_eq!(Arc::strong_count(&item), 3, "the idle one is gone");
                gate.set();
                close.await;
            },
        )
        .await;
        assert_eq!(Arc::strong_count(&item), 2);
    });
}

fn a_panic_of_a_closing_leaves_the_rest_to_the_next(root: Root) {
    let ledger = Ledger::default();
    let closes = ledger.clone();
    let pool = build(ledger.pool().close_with(move |number: usize| {
        let ledger = closes.clone();
        ledger.begun.fetch_add(1, Ordering::SeqCst);
        async move {
            checkpoint().await;
            assert!(number != 1, "one");
            ledger.closed.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let inner = pool.clone();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        Root::new().backend(Backend::Smol).block_on(async {
            let leases = [
                inner.acquire().await,
                inner.acquire().await,
                inner.acquire().await,
            ];
            drop(leases);
            inner.close().await;
        });
    }));
    assert!(caught.is_err());
    root.block_on(pool.close());
    assert_eq!(ledger.counts(), (3, 3, 2));
    let end = pool.statistics();
    assert_eq!((end.held, end.idle, end.retired), (0, 0, 0));
}

// PT6
fn a_closing_with_tasks_ends_though_its_holder_was_dropped(root: Root) {
    const ROUNDS: usize = 20;
    let ended = Arc::new(AtomicUsize::new(0));
    let ends = ended.clone();
    root.block_on(async {
        let pool = Pool::builder(|| async { Ok::<_, ()>(()) }).max(1);
        let pool = build(pool.close_with(move |()| {
            let ends = ends.clone();
            async move {
                let child = ends.clone();
                let group = task_group::<(), (), _, _>(|group| async move {
                    group.spawn_ok(async move {
                        for _ in 0..ROUNDS {
                            yield_now().await;
                        }
                        child.fetch_add(1, Ordering::SeqCst);
                    });
                    Ok(())
                });
                assert!(group.await.is_ok(), "nobody cancels it");
                // What comes behind it too.
                yield_now().await;
                ends.fetch_add(1, Ordering::SeqCst);
            }
        }));
        for n in 1..3 {
            pool.acquire().await.expect("it is open").discard();
            assert!(poll_immediate(pin!(pool.close_retired())).await.is_none());
            let seen = pool.statistics();
            assert_eq!((seen.held, seen.retired), (1, 0), "its place is taken");
            // The next one gets the place when the closing is over.
            drop(pool.acquire().await);
            assert_eq!(ended.load(Ordering::SeqCst), 2 * n);
        }
        pool.acquire().await.expect("it is open").discard();
        assert!(poll_immediate(pin!(pool.close())).await.is_none());
        drop(pool);
    });
    assert_eq!(ended.load(Ordering::SeqCst), 6, "the root waits for it");
}

// PT6
#[test]
fn sixteen_are_closed_at_a_time() {
    const SECOND: Duration = Duration::from_secs(1);
    Root::new().backend(Backend::Sim).block_on(async {
        let pool = Pool::builder(|| async { Ok::<_, ()>(()) }).max(40);
        let pool = build(pool.close_with(|()| sleep(SECOND)));
        let mut leases = Vec::new();
        for _ in 0..40 {
            leases.push(pool.acquire().await.expect("it is open"));
        }
        drop(leases);
        let start = now();
        pool.close().await;
        assert_eq!((now() - start).as_millis(), 3000);
    });
}

// PT6
#[test]
fn dropped_at_any_poll_every_item_is_closed_once() {
    let mut polls = 1;
    loop {
        let ledger = Ledger::default();
        let whole = Root::new().backend(Backend::Sim).block_on(async {
            let pool = build(ledger.pool().max(2));
            drop([pool.acquire().await, pool.acquire().await]);
            let whole = cut_after(polls, pool.close()).await.is_some();
            assert_eq!(pool.statistics().held, 0);
            pool.close().await;
            whole
        });
        assert_eq!(ledger.counts(), (2, 2, 2), "dropped at poll {polls}");
        if whole {
            break;
        }
        polls += 1;
    }
    assert!(polls >= 3, "{polls}");
}

// PT3, PT6. A part of CP8.
#[test]
fn dropped_at_any_await_no_place_is_lost() {
    let awaits = explore_drops(|| {
        let ledger = Ledger::default();
        let pool = build(ledger.pool().max(2).check_with(|number| {
            Box::pin(async move {
                yield_now().await;
                *number != 0
            })
        }));
        let shared = pool.clone();
        let future = async move {
            let first = shared.acquire().await.expect("it is open");
            let users = async {
                for _ in 0..2 {
                    let lease = shared.acquire().await.expect("it is open");
                    yield_now().await;
                    lease.discard();
                }
            };
            let gives_back = async {
                yield_now().await;
                drop(first);
                drop(shared.acquire().await);
            };
            join(users, gives_back).await;
            shared.close_retired().await;
            shared.close().await;
        };
        (future, move || {
            let end = pool.statistics();
            assert_eq!((end.held, end.waiting), (0, 0));
            let (made, begun, closed) = ledger.counts();
            // What was made is idle, waits to be closed or was closed; a closing that was dropped
            // half-way waits, begun.
            assert_eq!(made, end.idle + end.retired + closed, "{end:?}");
            assert!(begun >= closed && begun <= closed + end.retired);
            assert!(end.idle + end.retired <= 2);
        })
    });
    assert!(awaits >= 8, "{awaits}");
}
