//! `Pool` and time: items that were idle for too long, items that are too old, timeouts.

use super::pool::{build, counts, numbers};
use bowline_backend::Backend;
use bowline_concurrency::{Root, sleep, timeout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

// PT5
#[test]
fn items_that_were_idle_for_too_long_are_not_used_again() {
    Root::new().backend(Backend::Sim).block_on(async {
        let pool = build(numbers().idle_timeout(10 * SECOND));
        let (first, second) = (pool.acquire().await, pool.acquire().await);
        drop(first);
        sleep(6 * SECOND).await;
        drop(second);
        sleep(6 * SECOND).await;
        // The first was idle for 12 s, the second for 6.
        let lease = pool.acquire().await.expect("it is open");
        assert_eq!((*lease, counts(&pool)), (1, (1, 0, 0)));
        // In use, nothing gets old.
        sleep(20 * SECOND).await;
        drop(lease);
        assert_eq!(counts(&pool), (0, 1, 0));
        sleep(9 * SECOND).await;
        assert_eq!(*pool.acquire().await.expect("it is open"), 1);
        sleep(10 * SECOND).await;
        assert_eq!(*pool.acquire().await.expect("it is open"), 2);
    });
}

// PT5
#[test]
fn items_that_are_too_old_are_not_used_again() {
    Root::new().backend(Backend::Sim).block_on(async {
        let pool = build(numbers().max_age(10 * SECOND));
        for (expected, wait) in [(0, 4), (0, 4), (0, 4), (1, 9), (1, 1), (2, 0)] {
            assert_eq!(*pool.acquire().await.expect("it is open"), expected);
            sleep(wait * SECOND).await;
        }
        // Too old when it comes back.
        let lease = pool.acquire().await.expect("it is open");
        sleep(10 * SECOND).await;
        drop(lease);
        assert_eq!(counts(&pool), (0, 0, 0));
    });
}

// PT5
#[test]
fn what_is_over_can_be_closed_without_using_the_pool() {
    Root::new().backend(Backend::Sim).block_on(async {
        let closed = Arc::new(AtomicUsize::new(0));
        let counter = closed.clone();
        let pool = numbers().idle_timeout(10 * SECOND).max_age(15 * SECOND);
        let pool = build(pool.close_with(move |_| {
            let closed = counter.clone();
            async move {
                sleep(SECOND).await;
                closed.fetch_add(1, Ordering::SeqCst);
            }
        }));
        let leases = [
            pool.acquire().await,
            pool.acquire().await,
            pool.acquire().await,
        ];
        let [first, second, third] = leases;
        drop(first);
        sleep(8 * SECOND).await;
        drop(second);
        drop(third);
        sleep(3 * SECOND).await;
        assert_eq!((pool.close_retired().await, counts(&pool)), (1, (0, 2, 0)));
        sleep(3 * SECOND).await;
        // Nobody was idle for 10 s; both are 15 s old.
        assert_eq!((pool.close_retired().await, counts(&pool)), (2, (0, 0, 0)));
        assert_eq!(closed.load(Ordering::SeqCst), 3);
    });
}

// PT5
#[test]
fn an_item_that_comes_back_where_there_is_no_clock_is_not_used_again() {
    let (lease, pool) = Root::new().backend(Backend::Sim).block_on(async {
        let pool = build(numbers().max_age(15 * SECOND));
        (pool.acquire().await.expect("it is open"), pool)
    });
    drop(lease);
    assert_eq!(counts(&pool), (0, 0, 0));
}

// PT1
#[test]
fn whoever_waits_can_have_a_timeout() {
    Root::new().backend(Backend::Sim).block_on(async {
        let pool = build(numbers().max(1));
        let lease = pool.acquire().await.expect("it is open");
        assert!(timeout(SECOND, pool.acquire()).await.is_err());
        assert_eq!(pool.statistics().waiting, 0);
        drop(lease);
        assert!(timeout(SECOND, pool.acquire()).await.is_ok());
    });
}
