//! What a shield hides and what it holds.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_backend::time::Instant;
use bowline_concurrency::{
    CancelScope, Elapsed, Root, TaskInfo, cancel_scope, checkpoint, current_task, is_cancelled,
    now, shield, shield_for, sleep, sleep_forever, task_group, timeout, yield_now,
};
use bowline_sim::{Choice, Sim};
use every_backend::every_backend;
use futures_util::future::{BoxFuture, FutureExt, join, pending, poll_fn, poll_immediate, select};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    a_scope_beside_a_shield_is_dropped_at_once,
    code_behind_a_shield_runs_to_its_first_pending,
    a_shielded_scope_can_be_cancelled_itself,
    the_outermost_of_three_shields_counts,
    the_second_of_two_shields_needs_to_be_reached,
    a_lowered_shield_lets_the_cancel_in,
    a_raised_shield_takes_the_cancel_out,
    a_dropped_shield_is_told_of,
    a_shield_dropped_by_another_task_lets_the_scope_end,
    a_shield_runs_in_the_callers_task,
    a_childs_shield_does_not_keep_the_body_of_its_host,
    a_panic_in_a_shield_gives_its_hold_back,
);

fn in_sim<F: Future>(body: F) -> F::Output {
    Root::new().backend(Backend::Sim).block_on(body)
}

fn since(start: Instant) -> u128 {
    (now() - start).as_millis()
}

struct Flag<'a>(&'a AtomicBool);

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// CS10
fn a_scope_beside_a_shield_is_dropped_at_once(root: Root) {
    let (gone, finished) = (AtomicBool::new(false), AtomicBool::new(false));
    let outcome = root.block_on(cancel_scope(|outer| {
        let (gone, finished) = (&gone, &finished);
        async move {
            let beside = cancel_scope(|_| async move {
                let _flag = Flag(gone);
                sleep_forever().await
            });
            let shielded = shield(async {
                yield_now().await;
                outer.cancel("now");
                yield_now().await;
                assert!(
                    gone.load(Ordering::SeqCst),
                    "the scope beside is still there"
                );
                sleep(MS).await;
                finished.store(true, Ordering::SeqCst);
            });
            let _ = join(shielded, beside).await;
        }
    }));
    assert!(finished.load(Ordering::SeqCst));
    let cause = outcome.into_result().expect_err("it was cancelled");
    assert_eq!(cause.reason(), "now");
}

// CS11
fn code_behind_a_shield_runs_to_its_first_pending(root: Root) {
    let reached = AtomicUsize::new(0);
    let outcome = root.block_on(cancel_scope(|scope| {
        let reached = &reached;
        async move {
            let value = shield(async {
                scope.cancel("inside");
                assert!(!is_cancelled());
                sleep(MS).await;
                7
            })
            .await;
            assert!(is_cancelled());
            reached.store(value, Ordering::SeqCst);
            checkpoint().await;
            reached.store(8, Ordering::SeqCst);
        }
    }));
    assert!(outcome.cause().is_some());
    assert_eq!(reached.load(Ordering::SeqCst), 7);
}

// CS12
fn a_shielded_scope_can_be_cancelled_itself(root: Root) {
    let outcome = root.block_on(cancel_scope(|outer| async move {
        let scope = CancelScope::new().shielded();
        let handle = scope.handle();
        let inner = scope.run(async move {
            handle.cancel("itself");
            sleep_forever().await
        });
        let inner = inner.await;
        assert!(!outer.cancel_called());
        checkpoint().await;
        inner.cause().map(|cause| cause.reason().to_owned())
    }));
    assert_eq!(outcome.done(), Some(Some("itself".to_owned())));
}

// CS13
fn the_outermost_of_three_shields_counts(root: Root) {
    let reached = AtomicUsize::new(0);
    let outcome = root.block_on(cancel_scope(|scope| {
        let reached = &reached;
        async move {
            shield(async {
                shield(async {
                    shield(async {
                        scope.cancel("in the innermost");
                        checkpoint().await;
                    })
                    .await;
                    checkpoint().await;
                    reached.fetch_add(1, Ordering::SeqCst);
                })
                .await;
                checkpoint().await;
                reached.fetch_add(1, Ordering::SeqCst);
            })
            .await;
            checkpoint().await;
            reached.fetch_add(10, Ordering::SeqCst);
        }
    }));
    assert!(outcome.cause().is_some());
    assert_eq!(reached.load(Ordering::SeqCst), 2);
}

// CS14
fn the_second_of_two_shields_needs_to_be_reached(root: Root) {
    fn run(root: Root, between: bool) -> usize {
        let ran = AtomicUsize::new(0);
        let outcome = root.block_on(cancel_scope(|scope| {
            let ran = &ran;
            async move {
                scope.cancel("before");
                for turn in 0..2 {
                    shield(async {
                        checkpoint().await;
                        ran.fetch_add(1, Ordering::SeqCst);
                    })
                    .await;
                    if between && turn == 0 {
                        yield_now().await;
                    }
                }
                checkpoint().await;
            }
        }));
        assert!(outcome.cause().is_some());
        ran.load(Ordering::SeqCst)
    }
    assert_eq!(run(root, false), 2);
    assert_eq!(run(Root::new().backend(Backend::Sim), true), 1);
}

// CS15
fn a_lowered_shield_lets_the_cancel_in(root: Root) {
    let gone = AtomicBool::new(false);
    let result = root.block_on(task_group::<_, (), _, _>(|group| {
        let gone = &gone;
        async move {
            let scope = CancelScope::new().shielded();
            let shielded = scope.handle();
            let outcome = cancel_scope(|outer| async move {
                group.spawn_ok(async move {
                    outer.cancel("from a sibling");
                    checkpoint().await;
                    shielded.lower_shield();
                });
                scope
                    .run(async {
                        let _flag = Flag(gone);
                        sleep_forever().await
                    })
                    .await
                    .done();
                unreachable!("the outer scope returns");
            })
            .await;
            assert!(outcome.cause().is_some());
            assert!(gone.load(Ordering::SeqCst));
            Ok(())
        }
    }));
    assert!(result.is_ok());
}

// CS16
fn a_raised_shield_takes_the_cancel_out(root: Root) {
    let outcome = root.block_on(cancel_scope(|outer| async move {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let inner = scope.run(async move {
            shield(async {
                outer.cancel("outer");
                yield_now().await;
            })
            .await;
            assert!(is_cancelled());
            handle.raise_shield();
            assert!(!is_cancelled());
            sleep(MS).await;
            checkpoint().await;
            "went on"
        });
        let inner = inner.await.done();
        assert_eq!(inner, Some("went on"));
        assert!(is_cancelled());
        inner
    }));
    // The body completes in the poll in which the shield ends.
    assert_eq!(outcome.done(), Some(Some("went on")));
}

// CS17, CS18
#[test]
fn a_bounded_shield_outlives_the_cancel_but_not_its_bound() {
    in_sim(async {
        let start = now();
        let outcome = cancel_scope(|scope| async move {
            scope.cancel("before");
            let done = shield_for(5 * SECOND, async { sleep(SECOND).await }).await;
            assert_eq!(done, Ok(()));
            assert_eq!(since(start), 1000);
            let late: Result<_, Elapsed> = shield_for(SECOND, sleep_forever()).await;
            assert!(late.is_err());
            assert_eq!(since(start), 2000);
            checkpoint().await;
        });
        assert!(outcome.await.cause().is_some());
        assert_eq!(since(start), 2000);
    });
}

static DROPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn tell(task: &TaskInfo) {
    DROPPED.lock().unwrap().push(task.name().to_owned());
}

// CS19
fn a_dropped_shield_is_told_of(root: Root) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("dropper {}", NUMBER.fetch_add(1, Ordering::SeqCst));
    let spawned = name.clone();
    let root = root.on_shield_dropped(tell);
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let child = group
            .named(spawned)
            .spawn_ok(cancel_scope(|scope| async move {
                scope.cancel("held by the shield");
                {
                    // Foreign code that drops the loser.
                    let lost = pin!(shield(sleep_forever()));
                    let won = pin!(shield(sleep(MS)));
                    select(lost, won).await;
                }
                sleep_forever().await
            }));
        let outcome = child.join().await.expect("the child ends");
        assert!(outcome.cause().is_some());
        Ok(())
    }));
    assert!(result.is_ok());
    let told = DROPPED.lock().unwrap();
    assert_eq!(told.iter().filter(|told| **told == name).count(), 1);
}

// CS19
fn a_shield_dropped_by_another_task_lets_the_scope_end(root: Root) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("held {}", NUMBER.fetch_add(1, Ordering::SeqCst));
    let spawned = name.clone();
    let root = root.on_shield_dropped(tell);
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        type Taken = Arc<Mutex<Option<BoxFuture<'static, ()>>>>;
        let (taken, dropped) = (Taken::default(), Arc::new(AtomicBool::new(false)));
        let (kept, seen) = (taken.clone(), dropped.clone());
        let late = Arc::new(AtomicUsize::new(0));
        let polls = late.clone();
        let child = group
            .named(spawned)
            .spawn_ok(cancel_scope(|scope| async move {
                let mut held = shield(pending::<()>()).boxed();
                assert!(poll_immediate(&mut held).await.is_none());
                scope.cancel("held by the shield");
                *kept.lock().unwrap() = Some(held);
                // Nothing of the body's wakes the scope any more.
                poll_fn(move |_| {
                    if seen.load(Ordering::SeqCst) {
                        polls.fetch_add(1, Ordering::SeqCst);
                    }
                    Poll::<()>::Pending
                })
                .await
            }));
        let held = loop {
            if let Some(held) = taken.lock().unwrap().take() {
                break held;
            }
            yield_now().await;
        };
        for _ in 0..20 {
            yield_now().await;
        }
        assert!(!child.status().has_ended(), "the shield holds it");
        dropped.store(true, Ordering::SeqCst);
        drop(held);
        let outcome = child.join().await.expect("the child ends");
        assert!(outcome.cause().is_some());
        Ok(late.load(Ordering::SeqCst))
    }));
    assert!(result.expect("nothing fails") <= 1, "one wake");
    let told = DROPPED.lock().unwrap();
    assert_eq!(told.iter().filter(|told| **told == name).count(), 1);
}

/// How often a scope is polled behind the poll that cancels it, while a shield holds it for ten
/// seconds.
async fn polls_of_a_held_scope() -> usize {
    let polls = AtomicUsize::new(0);
    let start = now();
    let mut scope = pin!(cancel_scope(|scope| {
        let polls = &polls;
        async move {
            let held = shield(async move {
                checkpoint().await;
                scope.cancel("wait for me");
                polls.store(0, Ordering::SeqCst);
                sleep(10 * SECOND).await;
            });
            join(held, pending::<()>()).await;
        }
    }));
    let counted = poll_fn(|cx| {
        polls.fetch_add(1, Ordering::SeqCst);
        scope.as_mut().poll(cx)
    });
    assert!(counted.await.cause().is_some());
    assert_eq!(since(start), 10_000);
    polls.load(Ordering::SeqCst)
}

// CS20
#[test]
fn a_held_scope_does_not_spin() {
    // One for the cancel, one for the shield's end.
    let polls = in_sim(polls_of_a_held_scope());
    assert!((1..=2).contains(&polls), "{polls}");
}

// CS20
#[test]
fn a_held_scope_arms_no_timer() {
    let world = Sim::builder().ignore_leaks().record_choices(10_000);
    let world = world.client("main", || {
        let root = Root::new().backend(Backend::Sim);
        root.entered(async { _ = polls_of_a_held_scope().await })
    });
    let report = world.run().expect("the world runs to its end");
    assert!(report.choices().is_complete());
    // The world chooses how a timer stands to others of its time whenever one is armed.
    let armed = |choice: &&Choice| choice.label() == "timer tie";
    let armed = report.choices().as_slice().iter().filter(armed).count();
    assert_eq!(armed, 2, "the sleep in the shield, and the root's watch");
}

// CS21
fn a_shield_runs_in_the_callers_task(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let host = current_task().expect("the root is a task");
        let child = group.named("child").spawn_ok(async move {
            let outside = current_task().expect("a child is a task");
            assert_eq!(
                (outside.name(), outside.parent()),
                ("child", Some(host.id()))
            );
            assert_eq!(shield(async { current_task() }).await, Some(outside));
        });
        child.join().await.map_err(|_| ())
    }));
    assert!(result.is_ok());
    assert_eq!(current_task(), None);
}

// CS33
#[test]
fn a_deadline_inside_a_shield_still_counts() {
    in_sim(async {
        let start = now();
        let outcome = cancel_scope(|scope| async move {
            scope.cancel("at once");
            let late = shield(timeout(SECOND, sleep_forever())).await;
            assert!(late.is_err());
            assert_eq!(since(start), 1000);
            sleep_forever().await
        });
        assert!(outcome.await.cause().is_some());
    });
}

fn a_childs_shield_does_not_keep_the_body_of_its_host(root: Root) {
    let gone = AtomicBool::new(false);
    let result = root.block_on(cancel_scope(|scope| {
        let gone = &gone;
        task_group::<(), (), _, _>(move |group| async move {
            let _flag = Flag(gone);
            group.spawn_ok(shield(async move {
                scope.cancel("while the child is shielded");
                for _ in 0..100 {
                    yield_now().await;
                }
            }));
            sleep_forever().await;
            Ok(())
        })
    }));
    assert!(result.cause().is_some());
    assert!(gone.load(Ordering::SeqCst));
}

// CS39
fn a_panic_in_a_shield_gives_its_hold_back(root: Root) {
    let outcome = root.block_on(cancel_scope(|scope| async move {
        scope.cancel("outer");
        let mut run = Box::pin(shield(async {
            assert!(!is_cancelled());
            checkpoint().await;
            panic!("in the shield");
        }));
        poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
            assert!(is_cancelled(), "the outer place is back");
            match polled {
                Ok(_) => Poll::Pending,
                Err(_) => Poll::Ready(()),
            }
        })
        .await;
        drop(run);
        // Were the hold still counted, this would wait for ever.
        sleep_forever().await
    }));
    assert!(outcome.cause().is_some());
}
