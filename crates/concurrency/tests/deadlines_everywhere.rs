//! Deadlines beside cancels, shields and each other on every backend: who returns, and why. When
//! exactly, the simulator's clock says in the other files.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, JoinError, Outcome, Root, cancel_scope, checkpoint,
    current_effective_deadline, is_cancelled, move_on_after, move_on_at, now, shield, shield_for,
    sleep, sleep_forever, sleep_until, task_group, timeout, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_immediate;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

every_backend!(
    a_bounded_shield_outlives_the_cancel_but_not_its_bound,
    the_earlier_outer_deadline_returns,
    of_equal_deadlines_the_outer_returns,
    a_cancel_before_the_deadline_is_the_cause,
    a_deadline_before_the_cancel_is_the_cause,
    a_deadline_that_is_said_to_lie_ahead_fires_and_one_that_does_not_lets_the_body_go_on_until_it_waits,
    a_deadline_moved_by_another_task_fires_earlier,
    a_deadline_moved_by_another_task_fires_later_or_never,
    a_relative_deadline_counts_from_the_first_poll,
    a_scope_follows_the_task_it_is_moved_to,
    a_deadline_inside_a_shield_still_counts,
    the_effective_deadline_stops_at_shields;
    // The clock of a simulated world stands still in a poll.
    real: a_poll_that_overruns_the_deadline_and_completes_is_done,
);

fn kind<T>(outcome: &Outcome<T>) -> Option<CauseKind> {
    outcome.cause().map(|cause| cause.kind())
}

// CS17, CS18
fn a_bounded_shield_outlives_the_cancel_but_not_its_bound(root: Root) {
    let outcome = root.block_on(cancel_scope(|scope| async move {
        scope.cancel("before");
        let start = now();
        assert_eq!(shield_for(HOUR, sleep(2 * MS)).await, Ok(()));
        assert!(now() - start >= 2 * MS);
        let start = now();
        assert!(shield_for(3 * MS, sleep_forever()).await.is_err());
        assert!(now() - start >= 3 * MS);
        assert!(is_cancelled());
        checkpoint().await;
    }));
    assert_eq!(outcome.cause().map(|c| c.reason()), Some("before"));
}

// CS26
fn the_earlier_outer_deadline_returns(root: Root) {
    let outcome = root.block_on(move_on_after(3 * MS, async {
        let _ = move_on_after(HOUR, sleep_forever()).await;
        unreachable!("the inner one returned");
    }));
    assert_eq!(kind(&outcome), Some(CauseKind::Deadline));
}

// CS27
fn of_equal_deadlines_the_outer_returns(root: Root) {
    let outcome = root.block_on(async {
        let at = now() + 3 * MS;
        let outer = move_on_at(at, async {
            let _ = move_on_at(at, sleep_forever()).await;
            unreachable!("the inner one returned");
        });
        outer.await
    });
    assert_eq!(kind(&outcome), Some(CauseKind::Deadline));
}

// CS28
fn a_cancel_before_the_deadline_is_the_cause(root: Root) {
    let scope = CancelScope::new().timeout(3 * MS);
    let handle = scope.handle();
    let outcome = root.block_on(scope.run(async move {
        let begun = now();
        assert!(handle.cancel("by hand"));
        shield(async {
            sleep(6 * MS).await;
            assert!(now() - begun >= 3 * MS, "the deadline has passed");
        })
        .await;
        sleep_forever().await
    }));
    assert_eq!(kind(&outcome), Some(CauseKind::Explicit));
}

// CS29
fn a_deadline_before_the_cancel_is_the_cause(root: Root) {
    let scope = CancelScope::new().timeout(3 * MS);
    let handle = scope.handle();
    let outcome = root.block_on(scope.run(async move {
        shield(async {
            while !handle.cancel_called() {
                sleep(MS).await;
            }
            assert!(!handle.cancel("by hand"), "it is not the first");
        })
        .await;
        sleep_forever().await
    }));
    assert_eq!(kind(&outcome), Some(CauseKind::Deadline));
}

// CS30
fn a_deadline_moved_by_another_task_fires_earlier(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let scope = CancelScope::new().timeout(HOUR);
        let handle = scope.handle();
        let outcome = scope.run(async move {
            group.spawn_ok(async move { handle.set_deadline(Deadline::At(now() + 3 * MS)) });
            sleep_forever().await
        });
        Ok(kind(&outcome.await))
    }));
    assert_eq!(result.ok(), Some(Some(CauseKind::Deadline)));
}

/// Whether a scope that is moved away from its deadline goes on past that; none if the other task
/// came too late to move it.
async fn goes_on(first: Duration, moved: Deadline) -> Option<bool> {
    let result = task_group::<_, (), _, _>(|group| async move {
        let scope = CancelScope::new().timeout(first);
        let handle = scope.handle();
        let outcome = scope.run(async move {
            let Deadline::At(old) = current_effective_deadline() else {
                panic!("it has one");
            };
            let moves = group.spawn_ok(async move {
                handle.set_deadline(moved);
                now() < old
            });
            let in_time = moves.join().await.expect("it ends");
            sleep_until(old + MS).await;
            in_time
        });
        match outcome.await {
            Outcome::Done(in_time) => Ok(in_time.then_some(true)),
            Outcome::Cancelled(_) => Ok(None),
        }
    });
    result.await.expect("no child fails")
}

// CS30
fn a_deadline_moved_by_another_task_fires_later_or_never(root: Root) {
    root.block_on(async {
        for moved in [Deadline::At(now() + HOUR), Deadline::Never] {
            let mut first = 8 * MS;
            // On a busy machine the deadline may be there before the other task is.
            while goes_on(first, moved).await.is_none() {
                first *= 2;
                assert!(first < HOUR / 360, "it fires although it was moved");
            }
        }
    });
}

// CS31
fn a_relative_deadline_counts_from_the_first_poll(root: Root) {
    root.block_on(async {
        let scope = CancelScope::new().timeout(5 * MS);
        let built = now();
        let late = scope.run(async {
            let seen = current_effective_deadline();
            sleep_forever().await;
            seen
        });
        sleep(10 * MS).await;
        let polled = now();
        let outcome = late.await;
        assert!(polled - built >= 10 * MS);
        assert!(now() - polled >= 5 * MS, "it has all of its time");
        assert_eq!(kind(&outcome), Some(CauseKind::Deadline));
    });
}

// CS31
fn a_scope_follows_the_task_it_is_moved_to(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let probe = Alive::new(&alive);
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let mut moved = Box::pin(CancelScope::new().timeout(HOUR).run(async move {
            let _probe = probe;
            sleep_forever().await
        }));
        assert!(poll_immediate(&mut moved).await.is_none());
        let polled = Arc::new(AtomicUsize::new(0));
        let polls = polled.clone();
        let child = group.spawn_ok(async move {
            assert!(poll_immediate(&mut moved).await.is_none());
            polls.fetch_add(1, Ordering::SeqCst);
            moved.await.done()
        });
        while polled.load(Ordering::SeqCst) == 0 {
            yield_now().await;
        }
        child.cancel("the task");
        let end = child.join().await;
        assert!(!is_cancelled(), "who polled it first is not concerned");
        let Err(JoinError::Cancelled(cause)) = end else {
            panic!("{end:?}");
        };
        Ok(cause.reason().to_owned())
    }));
    assert_eq!(result.ok().as_deref(), Some("the task"));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

fn a_deadline_that_is_said_to_lie_ahead_fires_and_one_that_does_not_lets_the_body_go_on_until_it_waits(
    root: Root,
) {
    root.block_on(async {
        let ahead = CancelScope::new().deadline_ahead(now() + 5 * MS);
        let outcome = ahead.run(sleep_forever()).await;
        let cause = outcome.into_result().unwrap_err();
        assert_eq!(cause.kind(), CauseKind::Deadline);
        let scope = CancelScope::new().deadline_ahead(now());
        let outcome = scope.run(async {
            assert!(!is_cancelled());
            sleep_forever().await
        });
        let cause = outcome.await.into_result().unwrap_err();
        assert_eq!(cause.kind(), CauseKind::Deadline);
    });
}

// CS32
fn a_poll_that_overruns_the_deadline_and_completes_is_done(root: Root) {
    root.block_on(async {
        for yields in [false, true] {
            let late = timeout(2 * MS, async {
                if yields {
                    yield_now().await;
                }
                let Deadline::At(deadline) = current_effective_deadline() else {
                    return 7;
                };
                while now() <= deadline + MS {
                    std::hint::spin_loop();
                }
                7
            });
            assert_eq!(late.await, Ok(7));
        }
    });
}

// CS33
fn a_deadline_inside_a_shield_still_counts(root: Root) {
    let outcome = root.block_on(cancel_scope(|scope| async move {
        scope.cancel("at once");
        let start = now();
        let late = shield(timeout(3 * MS, sleep_forever())).await;
        assert!(late.is_err());
        assert!(now() - start >= 3 * MS);
        sleep_forever().await
    }));
    assert_eq!(kind(&outcome), Some(CauseKind::Explicit));
}

// CS34
fn the_effective_deadline_stops_at_shields(root: Root) {
    root.block_on(async {
        assert_eq!(current_effective_deadline(), Deadline::Never);
        let start = now();
        let deadline = |n: u32| start + n * HOUR;
        let scope = |n| CancelScope::new().deadline(deadline(n));
        let outcome = scope(3).run(scope(1).run(scope(2).run(async {
            assert_eq!(current_effective_deadline(), Deadline::At(deadline(1)));
            shield(async {
                assert_eq!(current_effective_deadline(), Deadline::Never);
            })
            .await;
            let begun = now();
            let bound = shield_for(5 * HOUR, async { current_effective_deadline() }).await;
            let Ok(Deadline::At(bound)) = bound else {
                panic!("{bound:?}");
            };
            assert!(bound >= begun + 5 * HOUR && bound <= now() + 5 * HOUR);
        })));
        let done = outcome.await.done().and_then(|o| o.done());
        assert_eq!(done.and_then(|o| o.done()), Some(()));
    });
}
