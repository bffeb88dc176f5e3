//! A closing that changes hands: whoever began it was cancelled, the next one goes on.

use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_concurrency::{
    CancelScope, Deadline, Pool, Root, current_effective_deadline, gather, move_on_after, now,
    scope, sleep, sleep_forever, task_group, timeout, yield_now,
};
use futures_util::future::poll_immediate;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

every_backend!(
    cancelled_at_any_await_a_closing_goes_on_in_the_same_task,
    cancelled_at_any_await_a_closing_goes_on_in_another_task,
);

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Who closes.
#[derive(Copy, Clone, Debug)]
enum Closer {
    Acquires,
    Sweeps,
    Closes,
}

impl Closer {
    async fn run(self, pool: &Pool<usize, ()>) {
        match self {
            Closer::Acquires => drop(pool.acquire().await.expect("it is open")),
            Closer::Sweeps => drop(pool.close_retired().await),
            Closer::Closes => pool.close().await,
        }
    }
}

/// A goodbye with a scope of each kind in it.
async fn goodbye() {
    let bounded = timeout(MINUTE, async {
        yield_now().await;
        sleep(MILLISECOND).await;
    });
    bounded.await.expect("a minute is enough");
    let parts = [1, 2, 3].map(|n| async move {
        sleep(n * MILLISECOND).await;
        yield_now().await;
        Ok::<_, ()>(n)
    });
    assert_eq!(gather(parts).await.ok(), Some(vec![1, 2, 3]));
    let both = scope::<_, (), _, _>(|scope| async move {
        scope.spawn_ok(sleep(MILLISECOND));
        yield_now().await;
        Ok(7)
    });
    let both = move_on_after(MINUTE, both).await.done();
    assert!(matches!(both, Some(Ok(7))));
}

/// A pool of one place, and how many items were begun to be closed, and closed.
fn pool_of_one() -> (Pool<usize, ()>, Arc<[AtomicUsize; 3]>) {
    let counts = Arc::new([0, 0, 0].map(AtomicUsize::new));
    let (makes, closes) = (counts.clone(), counts.clone());
    let pool = Pool::builder(move || {
        let counts = makes.clone();
        async move { Ok(counts[0].fetch_add(1, Ordering::SeqCst)) }
    });
    let pool = pool.max(1).close_with(move |_| {
        let counts = closes.clone();
        counts[1].fetch_add(1, Ordering::SeqCst);
        async move {
            goodbye().await;
            counts[2].fetch_add(1, Ordering::SeqCst);
        }
    });
    (pool.build().expect("it has a place"), counts)
}

/// Cancels a future, by a scope around it, when it was pending `awaits` times; whether it was cut.
async fn cancel_after<F: Future>(awaits: usize, future: F) -> bool {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(future));
    let mut left = awaits;
    let outcome = std::future::poll_fn(|cx| {
        let polled = running.as_mut().poll(cx);
        if polled.is_pending() && left > 0 {
            left -= 1;
            if left == 0 {
                handle.cancel("meanwhile");
            }
        }
        polled
    });
    outcome.await.cause().is_some()
}

/// Lets somebody begin to close an item, cancels that at each of its awaits in turn, and asks
/// `next` to use and close the pool.
async fn at_every_await<N, Fut>(next: N)
where
    N: Fn(Pool<usize, ()>, Closer) -> Fut,
    Fut: Future<Output = ()>,
{
    for closer in [Closer::Acquires, Closer::Sweeps, Closer::Closes] {
        let mut awaits = 1;
        loop {
            let (pool, counts) = pool_of_one();
            pool.acquire().await.expect("it is open").discard();
            let cut = cancel_after(awaits, closer.run(&pool)).await;
            let place = format!("{closer:?}, cancelled at await {awaits}");
            assert_eq!(pool.statistics().held, 0, "{place}");
            let ends = timeout(MINUTE, next(pool.clone(), closer)).await;
            assert!(ends.is_ok(), "{place}: nobody can go on, {pool:?}");
            let end = pool.statistics();
            assert_eq!((end.held, end.idle, end.retired), (0, 0, 0), "{place}");
            let [made, begun, closed] = [0, 1, 2].map(|n: usize| counts[n].load(Ordering::SeqCst));
            assert_eq!((begun, closed), (made, made), "{place}");
            if !cut {
                break;
            }
            awaits += 1;
        }
        assert!(awaits > 4, "{awaits}");
    }
}

async fn use_and_close(pool: Pool<usize, ()>, closer: Closer) {
    if !matches!(closer, Closer::Closes) {
        drop(pool.acquire().await.expect("it is open"));
    }
    pool.close().await;
}

// PT3, PT6
fn cancelled_at_any_await_a_closing_goes_on_in_the_same_task(root: Root) {
    root.block_on(at_every_await(use_and_close));
}

// PT3, PT6
fn cancelled_at_any_await_a_closing_goes_on_in_another_task(root: Root) {
    root.block_on(at_every_await(|pool, closer| async move {
        let result = task_group::<_, (), _, _>(|group| async move {
            group.spawn_ok(use_and_close(pool, closer));
            Ok(())
        });
        assert!(result.await.is_ok());
    }));
}

/// In a simulated world: a pool of one place with one item that waits to be closed so.
async fn retired<F, Fut>(close_with: F) -> Pool<(), ()>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let pool = Pool::builder(|| async { Ok(()) }).max(1);
    let pool = pool.close_with(move |()| close_with()).build();
    let pool = pool.expect("it has a place");
    pool.acquire().await.expect("it is open").discard();
    pool
}

// PT3
#[test]
fn a_deadline_in_a_closing_holds_for_the_next_one_too() {
    for pause in [Duration::ZERO, SECOND, 7 * SECOND] {
        Root::new().backend(Backend::Sim).block_on(async {
            let pool = retired(|| async {
                assert!(timeout(3 * SECOND, sleep_forever()).await.is_err());
            });
            let pool = pool.await;
            let start = now();
            let (first, second) = (pool.clone(), pool.clone());
            let result = task_group::<_, (), _, _>(|group| async move {
                let began = group.spawn_ok(async move {
                    assert!(timeout(SECOND, first.acquire()).await.is_err());
                    assert_eq!((now() - start).as_secs(), 1, "nobody waits for the closing");
                });
                assert!(began.join().await.is_ok());
                sleep(pause).await;
                let goes_on = group.spawn_ok(async move {
                    assert!(second.acquire().await.is_ok());
                });
                assert!(goes_on.join().await.is_ok());
                Ok(())
            });
            assert!(result.await.is_ok());
            let end = (3 * SECOND).max(SECOND + pause);
            assert_eq!((now() - start).as_secs(), end.as_secs());
        });
    }
}

// PT3
#[test]
fn a_closing_sees_no_deadline_of_who_closes() {
    Root::new().backend(Backend::Sim).block_on(async {
        let pool = retired(|| async {
            assert_eq!(current_effective_deadline(), Deadline::Never);
            yield_now().await;
            assert_eq!(current_effective_deadline(), Deadline::Never);
        });
        let pool = pool.await;
        assert!(timeout(SECOND, pool.acquire()).await.is_ok());
    });
}

// PT3
#[test]
fn children_of_a_closing_do_not_outlive_who_closes() {
    Root::new().backend(Backend::Sim).block_on(async {
        let ended = Arc::new(AtomicUsize::new(0));
        let counts = ended.clone();
        let pool = retired(move || {
            let ended = counts.clone();
            async move {
                let group = task_group::<_, (), _, _>(|group| async move {
                    group.spawn_ok(async move {
                        sleep(3 * SECOND).await;
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                    Ok(())
                });
                assert!(group.await.is_ok());
                sleep(SECOND).await;
            }
        });
        let (pool, start) = (pool.await, now());
        assert!(timeout(SECOND, pool.acquire()).await.is_err());
        assert_eq!(
            (now() - start).as_secs(),
            3,
            "the group was awaited, no more"
        );
        assert_eq!(ended.load(Ordering::SeqCst), 1);
        assert!(timeout(SECOND * 2, pool.acquire()).await.is_ok());
    });
}

// PT3
#[test]
fn a_closing_between_two_holders_holds_nobody() {
    Root::new().backend(Backend::Sim).block_on(async {
        let pool = retired(|| async {
            let group = task_group::<_, (), _, _>(|group| async move {
                group.spawn_ok(sleep(30 * SECOND));
                Ok(())
            });
            assert!(group.await.is_ok());
        });
        let (pool, start) = (pool.await, now());
        let left = timeout(SECOND, async {
            {
                let mut acquires = pin!(pool.acquire());
                assert!(poll_immediate(acquires.as_mut()).await.is_none());
            }
            std::future::poll_fn(|_| Poll::<()>::Pending).await;
        });
        assert!(left.await.is_err());
        assert_eq!((now() - start).as_secs(), 1);
        assert!(timeout(MINUTE, pool.acquire()).await.is_ok());
        assert_eq!((now() - start).as_secs(), 30);
    });
}
