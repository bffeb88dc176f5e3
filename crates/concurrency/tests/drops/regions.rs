//! Scopes, shields and timers: the body goes with them, and the place is what it was.

use super::alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    Backoff, CancelScope, Deadline, Retry, Root, after, cancel_scope, cancelled, checkpoint,
    checkpoint_if_cancelled, current_effective_deadline, drain, is_cancelled, move_on_after,
    move_on_at, now, propagate, scope_local, shield, shield_for, sleep, sleep_until, tick, timeout,
    timeout_at, yield_now,
};
use bowline_sim::explore_drops;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

scope_local! { static NAME: &'static str; }

type Body = BoxFuture<'static, ()>;

/// What runs a body.
type Region = fn(Body) -> Body;

// CP8
#[test]
fn regions() {
    let regions: [Region; 12] = [
        |body| Box::pin(async { _ = cancel_scope(|_| body).await }),
        |body| Box::pin(async { _ = CancelScope::new().run(body).await }),
        |body| Box::pin(async { _ = CancelScope::new().shielded().run(body).await }),
        |body| Box::pin(async { _ = timeout(9 * SECOND, body).await }),
        |body| Box::pin(async { _ = timeout_at(now() + 9 * SECOND, body).await }),
        |body| Box::pin(async { _ = move_on_after(9 * SECOND, body).await }),
        |body| Box::pin(async { _ = move_on_at(now() + 9 * SECOND, body).await }),
        |body| Box::pin(shield(body)),
        |body| Box::pin(async { _ = shield_for(9 * SECOND, body).await }),
        |body| Box::pin(async { _ = propagate(body).await }),
        |body| Box::pin(NAME.scope("inside", body)),
        |body| {
            Box::pin(async {
                let mut body = Some(body);
                let once = Retry::<()>::attempts(1).run(|_| {
                    let body = body.take().expect("there is one attempt");
                    async {
                        body.await;
                        Ok(())
                    }
                });
                assert!(once.await.is_ok());
            })
        },
    ];
    for region in regions {
        let awaits = explore_drops(|| {
            let alive = Arc::new(AtomicUsize::new(0));
            let probe = Alive::new(&alive);
            let work = region(Box::pin(async move {
                let _probe = probe;
                checkpoint().await;
                sleep(SECOND).await;
            }));
            let check = move || {
                assert_eq!(alive.load(Ordering::SeqCst), 0, "the body is gone");
                assert!(!is_cancelled());
                assert_eq!(current_effective_deadline(), Deadline::Never);
                assert!(NAME.with(|_| ()).is_err());
            };
            (work, check)
        });
        assert_eq!(awaits, 2);
    }
}

// CP8
#[test]
fn waits_for_time_and_turns() {
    let awaits = explore_drops(|| {
        let work = async {
            sleep(Duration::ZERO).await;
            sleep(SECOND).await;
            sleep_until(now() + SECOND).await;
            assert!(after(SECOND).await <= now());
            checkpoint().await;
            checkpoint_if_cancelled().await;
            yield_now().await;
            // Told of the deadline, it completes in its last poll.
            assert!(timeout(SECOND, cancelled()).await.is_ok());
            assert!(drain(SECOND).await.is_empty());
        };
        (work, || {})
    });
    assert_eq!(awaits, 7);
}

// CP8
#[test]
fn a_tick_whose_wait_is_dropped_comes_again() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let mut tick = tick(SECOND);
        for millis in [100, 400, 300] {
            let early = timeout(Duration::from_millis(millis), tick.recv());
            assert!(early.await.is_err());
        }
        assert_eq!((tick.recv().await - start).as_millis(), 1000);
        assert_eq!((tick.recv().await - start).as_millis(), 2000);
    });
}

// CP8
#[test]
fn a_dropped_retry_makes_no_further_attempt() {
    let awaits = explore_drops(|| {
        let begun = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicUsize::new(0));
        let (begins, ends) = (begun.clone(), ended.clone());
        let work = async move {
            let backoff = Backoff::exponential(SECOND);
            let retry = Retry::<()>::attempts(3).backoff(backoff);
            let result = retry.per_attempt(SECOND).run(|_| {
                begins.fetch_add(1, Ordering::SeqCst);
                let ends = ends.clone();
                async move {
                    yield_now().await;
                    ends.fetch_add(1, Ordering::SeqCst);
                    Err::<(), ()>(())
                }
            });
            assert!(result.await.is_err());
        };
        let check = move || {
            let (begun, ended) = (begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
            assert!(begun - ended <= 1 && begun <= 3);
        };
        (work, check)
    });
    assert_eq!(awaits, 5, "three attempts and two pauses");
}
