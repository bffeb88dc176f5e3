//! Cancels in two phases.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_backend::time::Instant;
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, Policy, Root, TaskGroup, TaskStatus, cancelled,
    check_cancelled, checkpoint, current_effective_deadline, is_cancelled, now, sleep,
    sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::{join, poll_immediate};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    without_a_grace_code_behind_cancelled_runs_to_its_first_pending,
    a_shutdown_is_noticed_by_children_at_once,
);

fn in_sim<F: Future>(body: F) -> F::Output {
    Root::new().backend(Backend::Sim).block_on(body)
}

fn since(start: Instant) -> u128 {
    (now() - start).as_millis()
}

// CS43
#[test]
fn a_grace_ends_after_its_time() {
    in_sim(async {
        let start = now();
        let scope = CancelScope::new().grace(2 * SECOND);
        let handle = scope.handle();
        let canceller = async {
            sleep(SECOND).await;
            assert!(handle.cancel("softly"));
            assert!(!handle.cancel("again"));
        };
        let body = scope.run(async {
            let leaf = async {
                // Started before the cancel, granted in the grace.
                sleep(1500 * SECOND / 1000).await;
                assert_eq!(since(start), 1500);
                assert!(is_cancelled());
                sleep(SECOND).await;
                assert_eq!(since(start), 2500);
            };
            let notice = async {
                assert_eq!(cancelled().await.reason(), "softly");
                assert_eq!(since(start), 1000);
                assert!(check_cancelled().is_err());
                let Deadline::At(end) = current_effective_deadline() else {
                    panic!("the end of the grace counts");
                };
                assert_eq!((end - start).as_millis(), 3000);
            };
            join(leaf, notice).await;
            sleep_forever().await
        });
        let (outcome, ()) = join(body, canceller).await;
        let cause = outcome.into_result().expect_err("it was cancelled");
        assert_eq!(
            (cause.kind(), cause.reason()),
            (CauseKind::Explicit, "softly")
        );
        assert_eq!(since(start), 3000);
    });
}

// CS43, CS46
#[test]
fn a_second_shutdown_before_the_start_only_shortens_the_grace() {
    in_sim(async {
        for (first, second, ends) in [(1, 60, 1), (60, 1, 1), (2, 2, 2)] {
            let start = now();
            let scope = CancelScope::new();
            let handle = scope.handle();
            assert!(handle.shutdown(first * SECOND));
            assert!(!handle.shutdown(second * SECOND));
            let outcome = scope.run(sleep_forever()).await;
            assert_eq!(outcome.cause().unwrap().kind(), CauseKind::Shutdown);
            assert_eq!(since(start), ends * 1000);
        }
    });
}

// CS43
#[test]
fn a_child_in_its_grace_is_being_cancelled() {
    in_sim(async {
        let group = TaskGroup::builder().grace(5 * SECOND);
        let result = group.run::<(), &str, _, _>(|group| async move {
            let child = group.spawn_ok(sleep(3 * SECOND));
            checkpoint().await;
            assert_eq!(child.status(), TaskStatus::Running);
            group.cancel("softly");
            checkpoint().await;
            assert_eq!(child.status(), TaskStatus::Cancelling);
            child.wait().await;
            assert_eq!(child.status(), TaskStatus::Done);
            Ok(())
        });
        drop(result.await);
        let scope = CancelScope::new().grace(5 * SECOND);
        let handle = scope.handle();
        let body = scope.run(bowline_concurrency::scope(|children| async move {
            let child = children.spawn_ok(sleep(3 * SECOND));
            yield_now().await;
            assert_eq!(child.status(), TaskStatus::Running);
            handle.cancel("softly");
            assert_eq!(child.status(), TaskStatus::Cancelling);
            Ok::<_, ()>(())
        }));
        drop(body.await);
    });
}

// CS43
#[test]
fn a_body_that_ends_in_its_grace_is_done() {
    in_sim(async {
        let start = now();
        let scope = CancelScope::new().grace(2 * SECOND).timeout(SECOND);
        let outcome = scope.run(async {
            let cause = cancelled().await;
            sleep(SECOND).await;
            cause.kind()
        });
        assert_eq!(outcome.await.done(), Some(CauseKind::Deadline));
        assert_eq!(since(start), 2000);
    });
}

// CS43
#[test]
fn a_later_cancel_can_only_shorten_the_grace() {
    in_sim(async {
        for (first, second, ends) in [(5, 1, 2000), (2, 9, 2000), (5, 0, 1000)] {
            let start = now();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let calls = async {
                assert!(handle.shutdown(first * SECOND));
                sleep(SECOND).await;
                assert!(!handle.shutdown(second * SECOND));
            };
            let (outcome, ()) = join(scope.run(sleep_forever()), calls).await;
            let kind = outcome.cause().map(|cause| cause.kind());
            assert_eq!((kind, since(start)), (Some(CauseKind::Shutdown), ends));
        }
    });
}

// CS43
#[test]
fn a_grace_of_an_earlier_cancel_begins_with_the_scope() {
    in_sim(async {
        let start = now();
        let scope = CancelScope::new().grace(2 * SECOND);
        scope.handle().cancel("before it runs");
        sleep(5 * SECOND).await;
        let outcome = scope.run(async {
            assert!(is_cancelled());
            sleep_forever().await
        });
        assert!(outcome.await.cause().is_some());
        assert_eq!(since(start), 7000);
    });
}

// CS44
fn without_a_grace_code_behind_cancelled_runs_to_its_first_pending(root: Root) {
    let reached = AtomicUsize::new(0);
    let result = root.block_on(task_group::<_, (), _, _>(|group| {
        let reached = &reached;
        async move {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let parks = scope.run(async {
                let cause = cancelled().await;
                assert_eq!(cause.reason(), "hard");
                reached.store(1, Ordering::SeqCst);
                checkpoint().await;
                reached.store(2, Ordering::SeqCst);
            });
            // Started when the body has parked: a cancel during its poll drops it at the end of that.
            let cancels = async {
                group
                    .spawn_ok(async move { handle.cancel("hard") })
                    .wait()
                    .await
            };
            let (outcome, _) = join(parks, cancels).await;
            assert!(outcome.cause().is_some());
            Ok(())
        }
    }));
    assert!(result.is_ok());
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

// CS43
fn a_shutdown_is_noticed_by_children_at_once(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let children: Vec<_> = (0..8)
            .map(|n| {
                group.spawn_ok(async move {
                    let cause = cancelled().await;
                    // Leaves go on: each child ends by itself.
                    sleep(Duration::from_millis(1)).await;
                    (n, cause.kind())
                })
            })
            .collect();
        yield_now().await;
        assert!(group.handle().shutdown(3600 * SECOND));
        for (n, child) in children.into_iter().enumerate() {
            let ended = child.join().await.expect("it was not cut");
            assert_eq!(ended, (n, CauseKind::Shutdown));
        }
        Ok(())
    }));
    assert!(result.is_ok());
}

// CS43
#[test]
fn a_group_cancels_in_two_phases() {
    in_sim(async {
        let start = now();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let kept = ends.clone();
        let group = TaskGroup::builder().grace(2 * SECOND);
        let result = group.run::<(), _, _, _>(|group| async move {
            for seconds in [2, 4] {
                let kept = kept.clone();
                group.spawn_ok(async move {
                    sleep(seconds * SECOND).await;
                    kept.lock().unwrap().push(since(start));
                });
            }
            group.spawn(async {
                sleep(SECOND).await;
                Err::<(), _>("no")
            });
            assert_eq!(cancelled().await.kind(), CauseKind::SiblingFailed);
            assert_eq!(since(start), 1000);
            sleep_forever().await;
            Ok(())
        });
        let error = result.await.expect_err("a child failed");
        assert_eq!(error.into_single().ok(), Some("no"));
        assert_eq!(since(start), 3000, "the grace of the failure");
        assert_eq!(*ends.lock().unwrap(), [2000]);
    });
}

// CS43
#[test]
fn a_group_whose_body_is_over_keeps_the_grace_of_its_children() {
    in_sim(async {
        for (own, given, ends) in [(9, 2, 3500), (3, 9, 4000)] {
            let start = now();
            let group = TaskGroup::builder().grace(own * SECOND).timeout(SECOND);
            let result = group.run::<_, (), _, _>(|group| async move {
                group.spawn_ok(sleep_forever());
                let inner = group.clone();
                group.spawn_ok(async move {
                    // Behind the deadline: it can only shorten the grace.
                    sleep(1500 * SECOND / 1000).await;
                    assert!(!inner.shutdown(given * SECOND));
                });
                Ok(())
            });
            assert!(result.await.is_ok());
            assert_eq!(since(start), ends);
        }
    });
}

// CS43
#[test]
fn enough_results_leave_the_other_children_their_grace() {
    in_sim(async {
        let start = now();
        let group = TaskGroup::builder().policy(Policy::Quorum(1));
        let result = group
            .grace(2 * SECOND)
            .run::<_, (), _, _>(|group| async move {
                group.spawn_ok(sleep(SECOND));
                let late = group.spawn_ok(sleep(2 * SECOND));
                let later = group.spawn_ok(sleep_forever());
                let late = late.join().await.is_ok();
                Ok((late, later.wait().await))
            });
        assert_eq!(result.await.ok(), Some((true, TaskStatus::Cancelled)));
        assert_eq!(since(start), 3000);
    });
}

/// Says when it was dropped.
struct Gone(Instant, Arc<Mutex<Option<u128>>>);

impl Drop for Gone {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = Some(since(self.0));
    }
}

// TG31
#[test]
fn a_group_that_foreign_code_drops_has_no_grace() {
    for softly_before in [false, true] {
        let gone = Arc::new(Mutex::new(None));
        let kept = gone.clone();
        in_sim(async {
            let start = now();
            let group = TaskGroup::builder().grace(3600 * SECOND);
            let mut group = Box::pin(group.run::<(), (), _, _>(|group| async move {
                let gone = Gone(start, kept);
                group.spawn_ok(async move {
                    let _gone = gone;
                    sleep_forever().await;
                });
                if softly_before {
                    group.cancel("softly");
                }
                sleep_forever().await;
                Ok(())
            }));
            assert!(poll_immediate(&mut group).await.is_none());
            sleep(SECOND).await;
            drop(group);
        });
        assert_eq!(*gone.lock().unwrap(), Some(1000));
    }
}
