//! Deadlines that are moved, meet cancels or shields, or travel between tasks.

use bowline_backend::Backend;
use bowline_backend::time::Instant;
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, Outcome, Root, cancel_scope, checkpoint, is_cancelled,
    move_on_after, move_on_at, now, shield, sleep, sleep_forever, task_group, timeout, yield_now,
};
use futures_util::future::{join, poll_fn};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn in_sim<F: Future>(body: F) -> F::Output {
    Root::new().backend(Backend::Sim).block_on(body)
}

fn since(start: Instant) -> u128 {
    (now() - start).as_millis()
}

fn kind<T>(outcome: &Outcome<T>) -> Option<CauseKind> {
    outcome.cause().map(|cause| cause.kind())
}

// CS26
#[test]
fn the_earlier_outer_deadline_returns() {
    in_sim(async {
        let start = now();
        let outcome = move_on_after(SECOND, async {
            let _ = move_on_after(2 * SECOND, sleep_forever()).await;
            unreachable!("the inner one returned");
        });
        assert_eq!(kind(&outcome.await), Some(CauseKind::Deadline));
        assert_eq!(since(start), 1000);
    });
}

// CS27
#[test]
fn of_equal_deadlines_the_outer_returns() {
    in_sim(async {
        let at = now() + SECOND;
        let outcome = move_on_at(at, async {
            let _ = move_on_at(at, sleep_forever()).await;
            unreachable!("the inner one returned");
        });
        assert_eq!(kind(&outcome.await), Some(CauseKind::Deadline));
    });
}

/// A scope of 1 s that a shield holds for 2 s, cancelled by hand after `after`.
fn cause_of_the_first(after: Duration) -> Option<CauseKind> {
    in_sim(async {
        let start = now();
        let scope = CancelScope::new().timeout(SECOND);
        let handle = scope.handle();
        let by_hand = async {
            sleep(after).await;
            handle.cancel("by hand");
        };
        let held = scope.run(async {
            shield(sleep(2 * SECOND)).await;
            sleep_forever().await
        });
        let (outcome, ()) = join(held, by_hand).await;
        assert_eq!(since(start), 2000);
        kind(&outcome)
    })
}

// CS28
#[test]
fn a_cancel_before_the_deadline_is_the_cause() {
    assert_eq!(cause_of_the_first(500 * MS), Some(CauseKind::Explicit));
}

// CS29
#[test]
fn a_deadline_before_the_cancel_is_the_cause() {
    assert_eq!(cause_of_the_first(1500 * MS), Some(CauseKind::Deadline));
}

/// When a scope of 2 s ends whose deadline another task sets after 1 s.
fn ends_at(deadline: impl FnOnce(Instant) -> Deadline + Send + 'static) -> (u128, CauseKind) {
    in_sim(async {
        let start = now();
        let result = task_group::<_, (), _, _>(|group| async move {
            let scope = CancelScope::new().timeout(2 * SECOND);
            let handle = scope.handle();
            assert_eq!(handle.deadline(), Deadline::Never);
            group.spawn_ok(async move {
                sleep(SECOND).await;
                assert!(matches!(handle.deadline(), Deadline::At(_)));
                handle.set_deadline(deadline(start));
                sleep(9 * SECOND).await;
                handle.cancel("late");
                assert_eq!(handle.deadline(), Deadline::Cancelled);
            });
            let outcome = scope.run(sleep_forever()).await;
            Ok((since(start), kind(&outcome).expect("it was cancelled")))
        });
        result.await.expect("no child fails")
    })
}

// CS30
#[test]
fn a_moved_deadline_fires_at_the_new_time_only() {
    let at = |n: u32| move |start: Instant| Deadline::At(start + n * SECOND);
    assert_eq!(ends_at(at(5)), (5000, CauseKind::Deadline));
    assert_eq!(ends_at(at(0)), (1000, CauseKind::Deadline));
    let nearer = |start: Instant| Deadline::At(start + 1500 * MS);
    assert_eq!(ends_at(nearer), (1500, CauseKind::Deadline));
    assert_eq!(ends_at(|_| Deadline::Never), (10_000, CauseKind::Explicit));
    assert_eq!(
        ends_at(|_| Deadline::Cancelled),
        (1000, CauseKind::Deadline)
    );
}

// CS30
#[test]
fn a_deadline_set_before_the_scope_runs_counts_instead_of_its_own() {
    in_sim(async {
        let start = now();
        for (own, set, ends) in [(1, 3, 3000), (9, 4, 4000)] {
            let scope = CancelScope::new().timeout(own * SECOND);
            let deadline = start + set * SECOND;
            scope.handle().set_deadline(Deadline::At(deadline));
            let outcome = scope.run(sleep_forever()).await;
            assert_eq!(
                (since(start), kind(&outcome)),
                (ends, Some(CauseKind::Deadline))
            );
        }
        let past = CancelScope::new().timeout(9 * SECOND);
        past.handle().set_deadline(Deadline::At(start));
        assert_eq!(
            kind(&past.run(sleep_forever()).await),
            Some(CauseKind::Deadline)
        );
        assert_eq!(since(start), 4000);
    });
}

// CS30
#[test]
fn a_moved_deadline_needs_no_root() {
    Backend::Tokio.block_on(async {
        let scope = CancelScope::new().timeout(3600 * SECOND);
        let handle = scope.handle();
        let mut run = Box::pin(scope.run(sleep_forever()));
        poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        handle.set_deadline(Deadline::At(now() + MS));
        assert_eq!(kind(&run.await), Some(CauseKind::Deadline));
    });
}

// CS31
#[test]
fn a_relative_deadline_counts_from_the_first_poll() {
    in_sim(async {
        let start = now();
        let scope = CancelScope::new().timeout(SECOND);
        sleep(5 * SECOND).await;
        assert!(scope.run(sleep_forever()).await.cause().is_some());
        assert_eq!(since(start), 6000);
    });
}

// CS31
#[test]
fn a_scope_follows_the_task_it_is_moved_to() {
    in_sim(async {
        let start = now();
        let mut moved: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
            let _ = timeout(2 * SECOND, sleep_forever()).await;
            unreachable!("its task is cancelled before");
        });
        let outcome = cancel_scope(|first| async move {
            poll_fn(|cx| {
                assert!(moved.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            let result = task_group::<_, (), _, _>(|group| async move {
                let child = group.spawn_ok(shield(async move {
                    // Here the cancel of the first place is invisible.
                    let inner = move_on_after(SECOND, moved).await;
                    kind(&inner)
                }));
                yield_now().await;
                first.cancel("the first place");
                shield(child.wait()).await;
                Ok(child.join().await)
            });
            result.await
        });
        assert_eq!(kind(&outcome.await), Some(CauseKind::Explicit));
        assert_eq!(since(start), 1000);
    });
}

// CS31
#[test]
fn a_deadline_moves_with_its_scope() {
    in_sim(async {
        let start = now();
        let mut moved = Box::pin(timeout(2 * SECOND, sleep_forever()));
        poll_fn(|cx| {
            assert!(moved.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        sleep(SECOND).await;
        let result = task_group::<_, (), _, _>(|group| async move {
            let child = group.spawn_ok(moved);
            Ok(child.join().await)
        });
        assert!(matches!(result.await, Ok(Ok(Err(_)))));
        assert_eq!(since(start), 2000);
    });
}

// CS32
#[test]
fn a_poll_that_overruns_the_deadline_and_completes_is_done() {
    // The one clock that goes on during a poll is a real one.
    Root::new().backend(Backend::Tokio).block_on(async {
        let deadline = now() + 5 * MS;
        let outcome = move_on_at(deadline, async {
            yield_now().await;
            while now() <= deadline {
                std::hint::spin_loop();
            }
            7
        });
        assert_eq!(outcome.await.done(), Some(7));
    });
}

// CS42
#[test]
fn a_refused_nested_root_leaves_everything_intact() {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        Root::new().backend(backend).block_on(async move {
            let outcome = cancel_scope(|scope| async move {
                let late = timeout(20 * MS, async move {
                    let nested = catch_unwind(AssertUnwindSafe(|| {
                        Root::new().backend(backend).block_on(async {});
                    }));
                    let panic = nested.expect_err("a runtime runs here");
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or(panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                    assert!(text.is_some_and(|text| text.contains("block_on")));
                    assert!(!is_cancelled());
                    sleep_forever().await
                });
                assert!(late.await.is_err());
                scope.cancel("still ours");
                checkpoint().await;
            });
            let cause = outcome.await.into_result().expect_err("it was cancelled");
            assert_eq!(cause.reason(), "still ours");
        });
    }
}
