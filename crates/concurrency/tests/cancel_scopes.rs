//! What a cancel does to a scope and to those around it.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_concurrency::{
    CancelHandle, CancelScope, CauseKind, Deadline, Outcome, Root, cancel_scope, cancelled,
    check_cancelled, checkpoint, current_effective_deadline, is_cancelled, now, sleep,
    sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::{join, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

every_backend!(
    done_scope_is_not_cancelled,
    cancelled_body_is_dropped_at_its_next_pending,
    completion_wins_over_an_earlier_cancel,
    cancelled_body_gets_exactly_one_poll,
    first_cause_stays,
    outer_wins,
    inner_cancel_stays_inside,
    nothing_of_ours_proceeds_after_the_cancel,
    cancelled_wakes_through_a_foreign_waker,
    cancel_from_a_sibling_task_wakes_the_scope,
    the_place_is_restored_after_a_panic,
    a_name_given_late_keeps_the_handles,
    a_dropped_body_sees_its_scope,
    one_cancel_reaches_a_hundred_thousand_children,
);

// CS1
fn done_scope_is_not_cancelled(root: Root) {
    let mut kept = None;
    let outcome = root.block_on(cancel_scope(|scope| {
        kept = Some(scope);
        async { 7 }
    }));
    assert_eq!(outcome.done(), Some(7));
    let handle = kept.expect("the body was made");
    assert!(!handle.cancel_called());
    assert!(!handle.cancelled_caught());
}

// CS2
fn cancelled_body_is_dropped_at_its_next_pending(root: Root) {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let inner = handle.clone();
    let outcome = root.block_on(scope.run(async move {
        assert!(inner.cancel("x"));
        sleep_forever().await
    }));
    let cause = outcome.into_result().expect_err("it was cancelled");
    assert_eq!(cause.kind(), CauseKind::Explicit);
    assert_eq!(cause.reason(), "x");
    assert!(cause.at().file().ends_with("cancel_scopes.rs"));
    assert!(handle.cancelled_caught());
}

// CS3
fn completion_wins_over_an_earlier_cancel(root: Root) {
    let scope = CancelScope::new();
    let handle = scope.handle();
    assert!(handle.cancel("too late"));
    let outcome = root.block_on(scope.run(async { 1 }));
    assert_eq!(outcome.done(), Some(1));
    assert!(handle.cancel_called());
    assert!(!handle.cancelled_caught());
}

// CS4
fn cancelled_body_gets_exactly_one_poll(root: Root) {
    let scope = CancelScope::new();
    scope.handle().cancel("before");
    let polls = AtomicUsize::new(0);
    let outcome = root.block_on(scope.run(poll_fn(|cx| {
        polls.fetch_add(1, Ordering::SeqCst);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    })));
    let cause = outcome.into_result().expect_err("it was cancelled");
    assert_eq!(cause.kind(), CauseKind::Explicit);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

// CS5
fn first_cause_stays(root: Root) {
    let outcome = root.block_on(async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let before = now();
        assert!(handle.cancel("first"));
        let (line, after) = (line!() - 1, now());
        sleep(Duration::from_millis(2)).await;
        assert!(!handle.cancel("second"));
        let cause = scope.run(sleep_forever()).await.into_result();
        let cause = cause.expect_err("it was cancelled");
        assert!(before <= cause.when() && cause.when() <= after);
        (cause, line)
    });
    let (cause, line) = outcome;
    assert_eq!(cause.reason(), "first");
    assert_eq!(cause.at().line(), line);
}

// CS8
fn outer_wins(root: Root) {
    let between = AtomicBool::new(false);
    let outcome = root.block_on(cancel_scope(|outer| async {
        cancel_scope(|inner| async move {
            inner.cancel("inner");
            outer.cancel("outer");
            sleep_forever().await
        })
        .await
        .done();
        between.store(true, Ordering::SeqCst);
    }));
    let cause = outcome.into_result().expect_err("the outer was cancelled");
    assert_eq!(cause.reason(), "outer");
    assert!(!between.load(Ordering::SeqCst), "the inner scope returned");
}

// CS9
fn inner_cancel_stays_inside(root: Root) {
    let outcome = root.block_on(cancel_scope(|outer| async move {
        let inner = cancel_scope(|inner| async move {
            inner.cancel("inner");
            assert!(is_cancelled());
            sleep_forever().await
        })
        .await;
        assert_eq!(inner.cause().map(|c| c.reason()), Some("inner"));
        assert!(!is_cancelled());
        checkpoint().await;
        assert!(!outer.cancel_called());
        "went on"
    }));
    assert_eq!(outcome.done(), Some("went on"));
}

fn nothing_of_ours_proceeds_after_the_cancel(root: Root) {
    let reached = AtomicUsize::new(0);
    let outcome = root.block_on(cancel_scope(|scope| {
        let reached = &reached;
        async move {
            assert_eq!(current_effective_deadline(), Deadline::Never);
            scope.cancel("stop");
            assert_eq!(current_effective_deadline(), Deadline::Cancelled);
            assert_eq!(
                check_cancelled().map_err(|c| c.kind()),
                Err(CauseKind::Explicit)
            );
            let cause = cancelled().await;
            assert_eq!(cause.reason(), "stop");
            reached.store(1, Ordering::SeqCst);
            join(
                async {
                    sleep(Duration::ZERO).await;
                    reached.store(2, Ordering::SeqCst);
                },
                async {
                    checkpoint().await;
                    reached.store(3, Ordering::SeqCst);
                },
            )
            .await;
        }
    }));
    assert!(outcome.cause().is_some());
    assert_eq!(reached.load(Ordering::SeqCst), 1);
    // Outside of any scope nothing is cancelled.
    assert!(!is_cancelled());
    assert!(check_cancelled().is_ok());
}

fn cancelled_wakes_through_a_foreign_waker(root: Root) {
    use futures_util::stream::{FuturesUnordered, StreamExt};
    let seen = AtomicBool::new(false);
    root.block_on(async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut run = Box::pin(scope.run(async {
            let mut set = FuturesUnordered::new();
            set.push(async {
                cancelled().await;
                seen.store(true, Ordering::SeqCst);
            });
            set.next().await;
            sleep_forever().await
        }));
        // Parked first: a cancel in the middle of a poll cuts the body at the end of that poll.
        poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        handle.cancel("now");
        assert!(run.await.cause().is_some());
    });
    assert!(
        seen.load(Ordering::SeqCst),
        "the set polls only what was woken"
    );
}

fn cancel_from_a_sibling_task_wakes_the_scope(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        for _ in 0..200 {
            let scope = CancelScope::new();
            let handle: CancelHandle = scope.handle();
            group.spawn_ok(async move {
                handle.cancel("from a task");
            });
            let outcome: Outcome<_> = scope.run(sleep_forever()).await;
            let cause = outcome.into_result().expect_err("it was cancelled");
            assert!(!cause.by().is_outside());
        }
        Ok(())
    }));
    assert!(result.is_ok());
}

// CS2
fn a_name_given_late_keeps_the_handles(root: Root) {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let scope = scope.name("late").name("later");
    assert!(format!("{scope:?}{handle:?}").matches("\"late\"").count() == 2);
    handle.cancel("by the early handle");
    let outcome = root.block_on(scope.run(sleep_forever()));
    assert_eq!(
        outcome.cause().map(|c| c.reason()),
        Some("by the early handle")
    );
}

// CS39
fn the_place_is_restored_after_a_panic(root: Root) {
    let outcome = root.block_on(cancel_scope(|_| async {
        let inner = CancelScope::new();
        inner.handle().cancel("inner");
        let mut run = Box::pin(inner.run(async {
            assert!(is_cancelled());
            panic!("in the inner body");
        }));
        poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
            assert!(polled.is_err());
            assert!(!is_cancelled(), "the outer place is back");
            Poll::Ready(())
        })
        .await;
        drop(run);
        checkpoint().await;
    }));
    assert!(outcome.done().is_some());
}

// CS40
fn a_dropped_body_sees_its_scope(root: Root) {
    struct Probe<'a>(&'a AtomicBool);
    impl Drop for Probe<'_> {
        fn drop(&mut self) {
            let deadline = current_effective_deadline();
            let seen = is_cancelled() && deadline == Deadline::Cancelled;
            self.0.store(seen, Ordering::SeqCst);
        }
    }
    let seen = AtomicBool::new(false);
    let outcome = root.block_on(cancel_scope(|scope| {
        let probe = Probe(&seen);
        async move {
            let _probe = probe;
            scope.cancel("drop it");
            sleep_forever().await
        }
    }));
    assert!(outcome.cause().is_some());
    assert!(seen.load(Ordering::SeqCst));
}

// CS38
fn one_cancel_reaches_a_hundred_thousand_children(root: Root) {
    const CHILDREN: usize = 100_000;
    let begun = Arc::new(AtomicUsize::new(0));
    let polls: Arc<Vec<AtomicU8>> = Arc::new((0..CHILDREN).map(|_| AtomicU8::new(0)).collect());
    let counted = polls.clone();
    let outcome = root.block_on(cancel_scope(|scope| {
        task_group::<(), (), _, _>(move |group| async move {
            for index in 0..CHILDREN {
                let (begun, polls) = (begun.clone(), counted.clone());
                group.spawn_ok(poll_fn(move |_| {
                    if polls[index].fetch_add(1, Ordering::SeqCst) == 0 {
                        begun.fetch_add(1, Ordering::SeqCst);
                    }
                    Poll::<()>::Pending
                }));
            }
            while begun.load(Ordering::SeqCst) < CHILDREN {
                yield_now().await;
            }
            scope.cancel("all of them");
            sleep_forever().await;
            Ok(())
        })
    }));
    assert!(outcome.cause().is_some());
    let often = |polls: &AtomicU8| !(1..=2).contains(&polls.load(Ordering::SeqCst));
    assert_eq!(polls.iter().position(often), None, "once more at most");
}
