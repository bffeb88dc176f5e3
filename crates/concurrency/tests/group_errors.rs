//! Which errors a group keeps, and how they are told apart.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::{
    AnyError, CauseKind, ChildError, GroupError, JoinError, OrCancelled, Outcome, PanicPolicy,
    Policy, Root, Scope, TaskGroup, checkpoint, current_task, gather, race, scope, shield,
    sleep_forever, task_group, yield_now,
};
use bowline_sim::Sim;
use every_backend::every_backend;
use std::num::ParseIntError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

every_backend!(
    errors_of_one_tick_are_all_kept,
    a_late_failure_is_kept,
    nested_groups_keep_their_shape,
    an_error_can_be_split,
    a_cancelled_group_is_told_from_a_failed_one,
    a_joined_error_still_fails_the_group,
    the_text_says_what_ended_why_and_with_which_errors,
    the_text_of_one_error_is_short,
);

// TG5
fn errors_of_one_tick_are_all_kept(root: Root) {
    root.block_on(async {
        let result = task_group::<(), _, _, _>(|group| async move {
            // Every child is polled once, whoever fails first.
            group.named("a").spawn(async { Err::<(), _>("a") });
            group.named("b").spawn(async { Err::<(), _>("b") });
            sleep_forever().await;
            Ok(())
        });
        let error = result.await.expect_err("two failed");
        let mut seen: Vec<_> = error.iter().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, ["a", "b"]);
        let cause = error.cause().expect("the first one cancelled");
        assert_eq!(cause.kind(), CauseKind::SiblingFailed);
        assert_eq!(error.children().len(), 2);
        let names = error.children().iter().map(ChildError::name);
        assert!(names.eq(error.iter().copied()), "{error:?}");
        let result = task_group::<(), _, _, _>(|group| async move {
            group.spawn(async { Err::<(), _>("child") });
            Err("host")
        });
        let error = result.await.expect_err("both failed");
        assert_eq!(error.iter().copied().collect::<Vec<_>>(), ["host", "child"]);
        assert!(error.into_single().is_err(), "there are two");
    });
}

// TG5
#[test]
fn errors_of_one_tick_come_in_the_order_of_completion() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    for seed in 0..20 {
        let world = Sim::builder().seed(seed).client("main", || {
            Root::new().backend(Backend::Sim).entered(async {
                let order = Arc::new(Mutex::new(Vec::new()));
                let told = order.clone();
                let result = task_group::<(), _, _, _>(|group| async move {
                    for name in NAMES {
                        let told = told.clone();
                        group.named(name).spawn(async move {
                            told.lock().unwrap().push(name);
                            Err::<(), _>(name)
                        });
                    }
                    sleep_forever().await;
                    Ok(())
                });
                let error = result.await.expect_err("three failed");
                let order = order.lock().unwrap();
                assert!(error.iter().eq(order.iter()), "{error:?}: {order:?}");
                let names = error.children().iter().map(ChildError::name);
                assert!(names.eq(order.iter().copied()), "{error:?}: {order:?}");
                assert_eq!(order.len(), NAMES.len());
            })
        });
        world.run().expect("the world runs to its end");
    }
}

// TG7
fn a_late_failure_is_kept(root: Root) {
    let result = root.block_on(task_group::<(), _, _, _>(|group| async move {
        let handle = group.handle();
        let shielded = Arc::new(AtomicBool::new(false));
        let ready = shielded.clone();
        group.spawn(async move {
            // The shield keeps it from being dropped before the poll that sees the cancel.
            shield(async {
                ready.store(true, Ordering::SeqCst);
                while !handle.cancel_called() {
                    yield_now().await;
                }
            })
            .await;
            Err::<(), _>("late")
        });
        group.spawn(async move {
            while !shielded.load(Ordering::SeqCst) {
                yield_now().await;
            }
            Err::<(), _>("first")
        });
        sleep_forever().await;
        Ok(())
    }));
    let error = result.expect_err("two failed");
    let seen: Vec<_> = error.iter().copied().collect();
    assert_eq!(seen, ["first", "late"]);
}

// TG6
fn nested_groups_keep_their_shape(root: Root) {
    let collect = || {
        TaskGroup::builder()
            .policy(Policy::CollectAll)
            .panics(PanicPolicy::Collect)
    };
    let inner = move || {
        collect().run::<(), AnyError, _, _>(|group| async move {
            group.spawn(async { Ok("x".parse::<u8>().map(drop)?) });
            group.spawn_ok(async { panic!("inside") });
            Err(AnyError::new("the inner body"))
        })
    };
    let result = root.block_on(collect().run::<(), AnyError, _, _>(|group| async move {
        let nested = group.spawn(async move { Ok(inner().await?) });
        nested.wait().await;
        group.spawn(async { Err::<(), _>(AnyError::new("outer")) });
        Ok(())
    }));
    let error = result.expect_err("all failed");
    assert_eq!(error.children().len(), 2, "the nested group is one error");
    let nested = error.children()[0].error().expect("it returned one");
    let nested = nested.downcast_ref::<GroupError<AnyError>>();
    assert_eq!(nested.expect("the shape is kept").children().len(), 2);
    let leaves: Vec<_> = error.leaves().collect();
    assert_eq!(leaves.len(), 4);
    assert_eq!(leaves[0].to_string(), "the inner body");
    assert!(leaves.iter().any(|leaf| leaf.is::<ParseIntError>()));
    assert!(leaves.iter().any(|leaf| leaf.is::<ChildError<AnyError>>()));
    assert_eq!(leaves[3].to_string(), "outer");
}

fn an_error_can_be_split(root: Root) {
    let group = TaskGroup::builder()
        .policy(Policy::CollectAll)
        .panics(PanicPolicy::Collect);
    let result = root.block_on(group.run::<(), _, _, _>(|group| async move {
        for n in 1..=4 {
            let child = group.spawn(async move { Err::<(), _>(n) });
            child.wait().await;
        }
        group.spawn_ok(async { panic!("neither") });
        Err(10)
    }));
    let (even, odd) = result.expect_err("all failed").split(|n| n % 2 == 0);
    let (even, odd) = (even.expect("some are"), odd.expect("some are"));
    assert_eq!(even.iter().copied().collect::<Vec<_>>(), [10, 2, 4]);
    assert_eq!(odd.iter().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(odd.children().len(), 3, "the panic is in the rest");
    let (none, all) = odd.split(|_| false);
    assert!(none.is_none());
    assert_eq!(all.expect("nothing is lost").children().len(), 3);
}

// TG8
fn a_cancelled_group_is_told_from_a_failed_one(root: Root) {
    root.block_on(async {
        let finished = task_group::<_, (), _, _>(|group| async move {
            group.spawn_ok(sleep_forever());
            group.cancel("x");
            Ok(7)
        });
        let outcome = finished.await.or_cancelled();
        assert!(matches!(outcome, Ok(Outcome::Done(7))));
        let cut = task_group::<(), (), _, _>(|group| async move {
            group.cancel("x");
            checkpoint().await;
            Ok(())
        });
        let error = cut.await.expect_err("the body was cut");
        assert!(error.is_cancelled() && error.is_empty());
        let Ok(Outcome::Cancelled(cause)) = Err::<(), _>(error).or_cancelled() else {
            panic!("nothing failed");
        };
        assert_eq!((cause.kind(), cause.reason()), (CauseKind::Explicit, "x"));
        let failed = task_group::<(), _, _, _>(|_| async { Err("no") });
        let error = failed.await.or_cancelled().expect_err("it failed");
        assert_eq!(error.host(), Some(&"no"));
    });
}

// TG15
fn a_joined_error_still_fails_the_group(root: Root) {
    let result = root.block_on(task_group::<(), _, _, _>(|group| async move {
        let child = group.spawn(async { Err::<(), _>("no") });
        // In the cancelled body the join may never come back; in a task of its own it does.
        match child.join().await {
            Err(JoinError::Failed) => Ok(()),
            other => panic!("{other:?}"),
        }
    }));
    let error = result.expect_err("the error is the group's");
    assert_eq!(error.into_single().ok(), Some("no"));
    let group = TaskGroup::builder().policy(Policy::CollectAll);
    let joined = every_backend::root(
        bowline_backend::Backend::Smol,
        bowline_backend::task::Threads::One,
    )
    .block_on(group.run::<(), _, _, _>(|group| async move {
        let child = group.spawn(async { Err::<(), _>("no") });
        assert!(matches!(child.join().await, Err(JoinError::Failed)));
        Ok(())
    }));
    assert!(joined.is_err());
}

fn the_text_says_what_ended_why_and_with_which_errors(root: Root) {
    root.block_on(async {
        let collecting = TaskGroup::builder()
            .name("serve")
            .policy(Policy::CollectAll)
            .panics(PanicPolicy::Collect);
        let failed = collecting.run::<(), _, _, _>(|group| async move {
            let accept = group.named("accept").spawn(async { Err::<(), _>("reset") });
            accept.wait().await;
            group.spawn_ok(async { panic!("boom") }).wait().await;
            group.cancel("closing");
            Err("no route")
        });
        let error = failed.await.expect_err("all have failed");
        assert_eq!(error.name(), "serve");
        let cause = error.cause().expect("it was cancelled");
        assert_eq!(
            error.to_string(),
            format!(
                "task group \"serve\" failed (cancelled \"closing\" by {} at {}): [body: no route; \
                 {} \"accept\": reset; {}: panicked: boom]",
                cause.by(),
                cause.at(),
                error.children()[0].id(),
                error.children()[1].id(),
            )
        );
        let (resets, rest) = error.split(|error| *error == "reset");
        let (resets, rest) = (resets.expect("there is one"), rest.expect("there are two"));
        assert_eq!((resets.name(), rest.name()), ("serve", "serve"));
        let text = resets.to_string();
        assert!(text.ends_with(" \"accept\": reset"), "{text}");
        assert!(text.contains("closing"), "{text}");
        // Of several errors the cause says which was the first.
        let failed = task_group::<(), _, _, _>(|group| async move {
            let first = group.named("first").spawn(async { Err::<(), _>("no") });
            group.spawn(async move {
                // Ready in the poll in which it is cancelled, at the latest.
                shield(first.wait()).await;
                Err::<(), _>("neither")
            });
            sleep_forever().await;
            Ok(())
        });
        let error = failed.await.expect_err("both have failed");
        let text = error.to_string();
        let cause = error.cause().expect("the first one cancelled");
        assert!(text.contains(&cause.to_string()), "{text}");
        assert!(text.ends_with(": neither]"), "{text}");
        let cut = TaskGroup::builder().name("idle");
        let cut = cut.run::<(), &str, _, _>(|group| async move {
            group.cancel("enough");
            sleep_forever().await;
            Ok(())
        });
        let error = cut.await.expect_err("the body was cut");
        let cause = error.cause().expect("it was cancelled").clone();
        assert_eq!(
            error.to_string(),
            format!("task group \"idle\" ended: {cause}")
        );
        let few = TaskGroup::builder().policy(Policy::Quorum(2));
        let few = few.run(|group| async move {
            group.spawn(async { Err::<(), _>("no") }).wait().await;
            Ok(())
        });
        let error = few.await.expect_err("one is fewer than two");
        let text = error.to_string();
        let invalid = error.invalid().expect("there was one");
        assert!(
            text.starts_with(&format!("task group failed ({invalid}): task ")),
            "{text}"
        );
    });
}

fn the_text_of_one_error_is_short(root: Root) {
    root.block_on(async {
        let nested = task_group::<(), AnyError, _, _>(|_| async {
            let inner = TaskGroup::builder().name("inner");
            let inner = inner.run::<(), AnyError, _, _>(|group| async move {
                group.spawn(async { Err::<(), _>(AnyError::new("deep down")) });
                sleep_forever().await;
                Ok(())
            });
            Ok(inner.await?)
        });
        let error = nested.await.expect_err("it failed");
        let inner = error.host().expect("it is the body's");
        let inner = inner.downcast_ref::<GroupError<AnyError>>();
        let child = inner.expect("it is kept").children()[0].id();
        let mine = current_task().expect("the root's body is a task").id();
        assert_eq!(
            error.to_string(),
            format!("task group failed: body: task group \"inner\" failed: {child}: deep down")
        );
        let borrowing = scope::<(), _, _, _>(|scope: Scope<'_, &str>| async move {
            scope.named("a").spawn(async { Err::<(), _>("no") });
            sleep_forever().await;
            Ok(())
        });
        let error = borrowing.await.expect_err("it failed");
        assert_eq!(error.to_string(), format!("scope failed: {mine} \"a\": no"));
        let all = gather([async { Err::<(), _>("no") }]).await;
        let error = all.expect_err("it failed");
        assert_eq!(
            error.to_string(),
            format!("gather failed: {mine} \"0\": no")
        );
        let none: [std::future::Ready<Result<(), &str>>; 0] = [];
        let error = race(none).await.expect_err("nobody won");
        assert_eq!(error.to_string(), "race ended without a result");
    });
}
