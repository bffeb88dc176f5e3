//! Clean-up that awaits after a cancel.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, Defer, Root, cancel_scope, checkpoint,
    current_effective_deadline, gather, is_cancelled, now, on_cancel, sleep, sleep_forever,
    task_group,
};
use every_backend::every_backend;
use futures_util::future::{FutureExt, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    finalisers_run_in_reverse_behind_the_bodys_drop,
    stuck_finalisers_do_not_keep_a_scope,
    in_normal_flow_nothing_runs,
    behind_a_panic_the_others_run,
    a_finaliser_works_behind_a_shield,
    the_root_runs_what_a_foreign_drop_left,
    the_root_goes_on_with_finalisers_that_a_foreign_drop_found_running,
    a_deferred_value_is_closed,
    the_sixty_fifth_is_given_back,
    tasks_and_groups_finalise_too,
);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Body(Log);

impl Drop for Body {
    fn drop(&mut self) {
        self.0.add("body dropped");
    }
}

/// Registers a finaliser that yields and then says `name`.
macro_rules! says {
    ($log:expr, $name:expr) => {{
        let (log, name) = ($log.clone(), $name);
        on_cancel(move |cause| async move {
            checkpoint().await;
            log.add(format!("{name}: {}", cause.reason()));
        })
    }};
}

// CS45
fn finalisers_run_in_reverse_behind_the_bodys_drop(root: Root) {
    let log = Log::default();
    let inside = log.clone();
    let outcome = root.block_on(async {
        let outcome = cancel_scope(|scope| async move {
            // In a list they are dropped first in, first out.
            let names = ["first", "second"].into_iter();
            let _guards: Vec<_> = names.map(|name| says!(inside, name)).collect();
            cancel_scope(|_| async move {
                let _inner = says!(inside, "inner");
                let _body = Body(inside);
                scope.cancel("now");
                sleep_forever().await
            })
            .await
            .done()
        })
        .await;
        log.add("returned");
        outcome
    });
    assert!(outcome.cause().is_some());
    let expected = [
        "body dropped",
        "inner: now",
        "second: now",
        "first: now",
        "returned",
    ];
    assert_eq!(log.lines(), expected);
}

// CS46
fn in_normal_flow_nothing_runs(root: Root) {
    let log = Log::default();
    let outcome = root.block_on(cancel_scope(|scope| {
        let log = log.clone();
        async move {
            drop(says!(log, "before"));
            scope.cancel("too late for it");
            drop(says!(log, "in the last poll"));
            let _held = says!(log, "completed");
        }
    }));
    assert!(outcome.done().is_some());
    assert!(log.lines().is_empty());
}

// CS47
#[test]
fn finalisers_over_their_bound_are_cut_off() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let log = Log::default();
        let scope = CancelScope::new().finalise_within(2 * SECOND);
        let handle = scope.handle();
        let (inside, cancel) = (log.clone(), handle.clone());
        let outcome = scope.run(async move {
            let _never = says!(inside, "behind the stuck one");
            let _stuck = on_cancel(|_| async {
                sleep_forever().await;
            });
            let _quick = says!(inside, "quick");
            cancel.cancel("go");
            sleep_forever().await
        });
        assert!(outcome.await.cause().is_some());
        assert_eq!((now() - start).as_millis(), 2000);
        assert_eq!(log.lines(), ["quick: go"]);
        assert_eq!(handle.finalisers_cut_off(), 2);
    });
}

// CS47
fn stuck_finalisers_do_not_keep_a_scope(root: Root) {
    let log = Log::default();
    let scope = CancelScope::new().finalise_within(2 * MS);
    let handle = scope.handle();
    let (inside, cancel) = (log.clone(), handle.clone());
    let outcome = root.block_on(scope.run(async move {
        let _never = says!(inside, "behind the stuck one");
        let body = Body(inside.clone());
        let _stuck = on_cancel(move |_| async move {
            // It is dropped, not forgotten.
            let _held = body;
            sleep_forever().await;
        });
        let _at_once = on_cancel(move |cause| async move { inside.add(cause.reason()) });
        cancel.cancel("go");
        sleep_forever().await
    }));
    assert_eq!(outcome.cause().map(|c| c.reason()), Some("go"));
    assert_eq!(log.lines(), ["go", "body dropped"]);
    assert_eq!(handle.finalisers_cut_off(), 2);
}

/// Waits for ever when it is cancelled.
async fn stuck() {
    let _stuck = on_cancel(|_| async {
        sleep_forever().await;
    });
    sleep_forever().await;
}

// CS47
#[test]
fn the_bound_is_five_seconds_unless_told_otherwise() {
    Root::new().backend(Backend::Sim).block_on(async {
        let in_scope = cancel_scope(|scope| async move {
            scope.cancel("go");
            stuck().await;
        });
        let host = task_group::<(), (), _, _>(|group| async move {
            group.cancel("go");
            stuck().await;
            Ok(())
        });
        let child = task_group::<(), (), _, _>(|group| async move {
            let child = group.spawn_ok(stuck());
            checkpoint().await;
            child.cancel("go");
            child.wait().await;
            Ok(())
        });
        let branch = cancel_scope(|scope| {
            scope.cancel("go");
            gather([stuck().map(Ok::<_, ()>), stuck().map(Ok::<_, ()>)])
        });
        let all = [
            in_scope.map(|outcome| outcome.cause().is_some()).boxed(),
            host.map(|result| result.is_err()).boxed(),
            child.map(|result| result.is_ok()).boxed(),
            branch.map(|outcome| outcome.cause().is_some()).boxed(),
        ];
        for (which, one) in all.into_iter().enumerate() {
            let start = now();
            assert!(one.await);
            assert_eq!((now() - start).as_millis(), 5000, "of the {which}th");
        }
    });
}

// CS48
fn behind_a_panic_the_others_run(root: Root) {
    let log = Log::default();
    let inside = log.clone();
    root.block_on(async move {
        let mut run = Box::pin(cancel_scope(|scope| async move {
            let _last = says!(inside, "last");
            let _panics = on_cancel(|_| async { panic!("in a finaliser") });
            scope.cancel("go");
            sleep_forever().await
        }));
        let panic = poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(_)) => panic!("the panic is lost"),
                Err(panic) => Poll::Ready(panic),
            },
        );
        assert_eq!(panic.await.downcast_ref::<&str>(), Some(&"in a finaliser"));
    });
    assert_eq!(log.lines(), ["last: go"]);
}

// CS49
fn a_finaliser_works_behind_a_shield(root: Root) {
    let log = Log::default();
    let inside = log.clone();
    let outcome = root.block_on(cancel_scope(|outer| {
        let scope = CancelScope::new().finalise_within(3600 * SECOND);
        scope.run(async move {
            let _guard = on_cancel(move |_| async move {
                assert!(!is_cancelled());
                let begun = now();
                sleep(MS).await;
                assert!(now() - begun >= MS);
                let Deadline::At(bound) = current_effective_deadline() else {
                    panic!("it has a bound");
                };
                assert!(bound - begun > 3000 * SECOND);
                inside.add("done");
            });
            outer.cancel("the outer one");
            sleep_forever().await
        })
    }));
    let cause = outcome.into_result().expect_err("it was cancelled");
    assert_eq!(cause.reason(), "the outer one");
    assert_eq!(log.lines(), ["done"]);
}

// CS50
fn the_root_runs_what_a_foreign_drop_left(root: Root) {
    let log = Log::default();
    let inside = log.clone();
    root.block_on(async move {
        let mut run = Box::pin(CancelScope::new().run(async move {
            let kinds = inside.clone();
            let _guard = on_cancel(move |cause| async move {
                sleep(MS).await;
                assert_eq!(cause.kind(), CauseKind::Dropped);
                kinds.add("finalised");
            });
            let _body = Body(inside);
            sleep_forever().await
        }));
        poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    });
    assert_eq!(log.lines(), ["body dropped", "finalised"]);
}

// CS50
fn the_root_goes_on_with_finalisers_that_a_foreign_drop_found_running(root: Root) {
    let log = Log::default();
    let (in_branch, in_scope) = (log.clone(), log.clone());
    let outcome = root.block_on(cancel_scope(|scope| async move {
        let waits = |log: Log, name: &'static str| async move {
            let _guard = on_cancel(move |_| async move {
                sleep(MS).await;
                log.add(name);
            });
            sleep_forever().await
        };
        let mut branches = Box::pin(gather([waits(in_branch, "of a branch").map(Ok::<_, ()>)]));
        let inner = CancelScope::new();
        let cancels = inner.handle();
        let mut inner = Box::pin(inner.run(waits(in_scope, "of a scope")));
        poll_fn(|cx| {
            assert!(branches.as_mut().poll(cx).is_pending());
            assert!(inner.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        scope.cancel("stop");
        cancels.cancel("stop");
        poll_fn(|cx| {
            assert!(branches.as_mut().poll(cx).is_pending());
            assert!(inner.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }));
    assert!(outcome.done().is_some());
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["of a branch", "of a scope"]);
}

// CS51
fn a_deferred_value_is_closed(root: Root) {
    let log = Log::default();
    let inside = log.clone();
    let close = move |value: String| {
        let log = inside.clone();
        async move {
            checkpoint().await;
            log.add(value);
        }
    };
    let outcome = root.block_on(cancel_scope(|scope| async move {
        let taken = Defer::new("taken out".to_owned(), close.clone());
        assert_eq!(taken.into_inner(), "taken out");
        drop(Defer::new("dropped".to_owned(), close.clone()));
        let mut kept = Defer::new("closed".to_owned(), close);
        kept.push('!');
        scope.cancel("close it");
        sleep_forever().await
    }));
    assert!(outcome.cause().is_some());
    assert_eq!(log.lines(), ["closed!"]);
}

// CS45
fn the_sixty_fifth_is_given_back(root: Root) {
    let log = Log::default();
    let inside = log.clone();
    let outcome = root.block_on(cancel_scope(|scope| async move {
        let guard = |n: usize| says!(inside, n);
        let mut guards: Vec<_> = (0..65).map(guard).collect();
        assert!(
            guards
                .iter_mut()
                .take(64)
                .all(|guard| guard.refused().is_none())
        );
        assert!(guards[64].refused().is_some());
        guards.pop();
        guards.pop();
        guards.push(guard(70));
        assert!(guards[63].refused().is_none());
        scope.cancel("go");
        sleep_forever().await
    }));
    assert!(outcome.cause().is_some());
    assert_eq!((log.lines().len(), log.lines()[0].as_str()), (64, "70: go"));
}

// CS45
fn tasks_and_groups_finalise_too(root: Root) {
    let log = Log::default();
    let inside = log.clone();
    let result = root.block_on(async {
        let result = task_group::<(), (), _, _>(|group| async move {
            let child = inside.clone();
            group.spawn_ok(async move {
                let _guard = says!(child, "child");
                sleep_forever().await;
            });
            let _guard = says!(inside, "host");
            checkpoint().await;
            while group.statistics().live == 0 {
                checkpoint().await;
            }
            sleep(MS).await;
            group.cancel("all");
            sleep_forever().await;
            Ok(())
        })
        .await;
        log.add("returned");
        result
    });
    assert!(result.is_err_and(|error| error.is_cancelled()));
    let mut lines = log.lines();
    assert_eq!(lines.pop().as_deref(), Some("returned"));
    lines.sort();
    assert_eq!(lines, ["child: all", "host: all"]);
}
