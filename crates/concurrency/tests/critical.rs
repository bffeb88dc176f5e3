//! Work that neither a cancel nor a foreign drop stops.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::{
    CauseKind, ChildErrorKind, Deadline, JoinError, PanicPolicy, Policy, Root, TaskGroup,
    TaskStatus, cancel_scope, checkpoint, critical, current_effective_deadline, current_task,
    is_cancelled, now, sleep, sleep_forever, task_group, timeout, yield_now,
};
use every_backend::every_backend;
use futures_util::future::{FutureExt, join, poll_immediate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    a_dropped_waiter_leaves_the_work_running,
    a_cancelled_scope_waits_for_the_work,
    a_group_waits_for_work_nobody_waits_for,
    the_work_is_a_task_of_its_own,
    a_panic_goes_on_in_who_waits,
    a_panic_nobody_waits_for_is_that_of_a_child,
    a_dropped_group_leaves_its_work_to_the_root,
    enough_results_do_not_stop_it_while_the_body_goes_on,
);

fn flag() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(false));
    (flag.clone(), flag)
}

/// Leaf futures of ours, then the flag.
async fn work(done: Arc<AtomicBool>) {
    for _ in 0..3 {
        checkpoint().await;
    }
    assert!(!is_cancelled());
    done.store(true, Ordering::SeqCst);
}

// CS52
fn a_dropped_waiter_leaves_the_work_running(root: Root) {
    static SHIELDS: AtomicUsize = AtomicUsize::new(0);
    let (done, kept) = flag();
    let root = root.on_shield_dropped(|_| _ = SHIELDS.fetch_add(1, Ordering::SeqCst));
    root.block_on(async move {
        let mut waiter = Box::pin(critical(work(kept)));
        let _ = poll_immediate(&mut waiter).await;
        drop(waiter);
    });
    assert!(done.load(Ordering::SeqCst), "the root has waited for it");
    assert_eq!(SHIELDS.load(Ordering::SeqCst), 0, "no shield was broken");
}

// CS52
fn a_cancelled_scope_waits_for_the_work(root: Root) {
    let (done, kept) = flag();
    let behind = AtomicUsize::new(0);
    let outcome = root.block_on(cancel_scope(|scope| {
        let behind = &behind;
        async move {
            scope.cancel("before it begins");
            let value = critical(async {
                work(kept).await;
                7
            });
            assert_eq!(value.await, 7);
            assert!(is_cancelled());
            behind.fetch_add(1, Ordering::SeqCst);
            checkpoint().await;
            behind.fetch_add(1, Ordering::SeqCst);
        }
    }));
    assert_eq!(outcome.cause().map(|c| c.kind()), Some(CauseKind::Explicit));
    assert!(done.load(Ordering::SeqCst));
    assert_eq!(behind.load(Ordering::SeqCst), 1, "to the first `Pending`");
}

// CS52
fn a_group_waits_for_work_nobody_waits_for(root: Root) {
    let (done, kept) = flag();
    let seen = root.block_on(async {
        let result = task_group::<(), (), _, _>(|group| async move {
            let mut waiter = Box::pin(critical(work(kept)));
            let _ = poll_immediate(&mut waiter).await;
            drop(waiter);
            group.cancel("the work goes on");
            sleep_forever().await;
            Ok(())
        });
        assert!(result.await.expect_err("it was cancelled").is_cancelled());
        done.load(Ordering::SeqCst)
    });
    assert!(seen, "before the group returned");
}

// CS52
fn the_work_is_a_task_of_its_own(root: Root) {
    root.block_on(async {
        let here = current_task().expect("in a root");
        let there = critical(async { current_task().expect("in a task") }).await;
        assert_ne!(here.id(), there.id());
        assert_eq!(there.name(), "critical");
        let line = line!() + 1;
        let waits = timeout(SECOND, async {
            assert!(matches!(current_effective_deadline(), Deadline::At(_)));
            critical(async { current_effective_deadline() }).await
        });
        assert_eq!(waits.await, Ok(Deadline::Never), "hidden from the work");
        assert!(there.to_string().contains("tests/critical.rs"), "{line}");
    });
}

// CS52
fn a_panic_goes_on_in_who_waits(root: Root) {
    root.block_on(async {
        let panics = critical(async {
            checkpoint().await;
            panic!("in the work")
        });
        let caught = AssertUnwindSafe(panics).catch_unwind().await;
        let panic = caught.expect_err("it panicked");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the work"));
    });
}

// CS52
fn a_panic_nobody_waits_for_is_that_of_a_child(root: Root) {
    root.block_on(async {
        for panics_first in [true, false] {
            let group = TaskGroup::builder().panics(PanicPolicy::Collect);
            let result = group.run::<(), (), _, _>(|_| async move {
                let (gate, seen) = flag();
                let (panics, told) = flag();
                let mut waiter = Box::pin(critical(async move {
                    while !seen.load(Ordering::SeqCst) {
                        yield_now().await;
                    }
                    panics.store(true, Ordering::SeqCst);
                    panic!("alone")
                }));
                assert!(poll_immediate(&mut waiter).await.is_none());
                if panics_first {
                    gate.store(true, Ordering::SeqCst);
                    while !told.load(Ordering::SeqCst) {
                        yield_now().await;
                    }
                }
                drop(waiter);
                gate.store(true, Ordering::SeqCst);
                sleep_forever().await;
                Ok(())
            });
            let error = result.await.expect_err("it failed the group");
            let [child] = error.children() else {
                panic!("{error:?}")
            };
            assert_eq!(child.name(), "critical");
            assert!(matches!(child.kind(), ChildErrorKind::Panicked(_)));
            let cause = error.cause().map(|cause| cause.kind());
            assert_eq!(cause, Some(CauseKind::SiblingFailed));
        }
    });
}

// CS52
fn a_dropped_group_leaves_its_work_to_the_root(root: Root) {
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    root.block_on(async move {
        let mut group = Box::pin(task_group::<(), (), _, _>(|group| async move {
            for _ in 0..3 {
                let counter = counter.clone();
                // Begun behind the drop, when the group takes no child any more.
                group.spawn_ok(critical(async move {
                    checkpoint().await;
                    counter.fetch_add(1, Ordering::SeqCst);
                }));
            }
            sleep_forever().await;
            Ok(())
        }));
        assert!(poll_immediate(&mut group).await.is_none());
        drop(group);
    });
    assert_eq!(done.load(Ordering::SeqCst), 3);
}

// CS52, TG36
fn enough_results_do_not_stop_it_while_the_body_goes_on(root: Root) {
    let group = TaskGroup::builder().policy(Policy::Quorum(1));
    let result = root.block_on(group.run::<_, (), _, _>(|group| async move {
        let (gate, seen) = flag();
        let (unharmed, told) = flag();
        let (begins, begun) = flag();
        let child = group.spawn_ok(async move {
            let undisturbed = critical(async move {
                begins.store(true, Ordering::SeqCst);
                while !seen.load(Ordering::SeqCst) {
                    yield_now().await;
                }
                // A leaf of a cancelled task would wait for ever.
                if is_cancelled() {
                    return false;
                }
                checkpoint().await;
                true
            });
            told.store(undisturbed.await, Ordering::SeqCst);
            sleep_forever().await
        });
        while !begun.load(Ordering::SeqCst) {
            yield_now().await;
        }
        let enough = group.spawn_ok(async {});
        enough.wait().await;
        assert_eq!(
            child.status(),
            TaskStatus::Cancelling,
            "others are not wanted"
        );
        assert!(!is_cancelled(), "the body goes on");
        gate.store(true, Ordering::SeqCst);
        let Err(JoinError::Cancelled(cause)) = child.join().await else {
            panic!("it was cancelled behind its work");
        };
        assert_eq!(cause.kind(), CauseKind::Satisfied);
        Ok(unharmed.load(Ordering::SeqCst))
    }));
    assert_eq!(result.ok(), Some(true));
}

// CS52
#[test]
fn enough_results_do_not_stop_it() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let (done, kept) = flag();
        let group = TaskGroup::builder().policy(Policy::Quorum(1));
        let result = group.run::<_, (), _, _>(|group| async move {
            let mut waiter = Box::pin(critical(async move {
                sleep(3 * SECOND).await;
                kept.store(true, Ordering::SeqCst);
            }));
            assert!(poll_immediate(&mut waiter).await.is_none());
            drop(waiter);
            group.spawn_ok(sleep(SECOND));
            group.spawn_ok(sleep_forever());
            Ok(())
        });
        assert!(result.await.is_ok());
        assert_eq!((now() - start).as_millis(), 3000);
        assert!(done.load(Ordering::SeqCst));
    });
}

// CS52
#[test]
fn it_takes_a_place_among_the_children_and_gives_it_back() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let group = TaskGroup::builder().max_children(1);
        let result = group.run::<_, (), _, _>(|group| async move {
            let child = group.spawn_ok(sleep(SECOND));
            // The group is full already.
            let work = critical(sleep(2 * SECOND));
            let admitted = async {
                let slot = group.admit().await.expect("the group is open");
                assert_eq!((now() - start).as_millis(), 2000);
                slot.spawn_ok(async {});
            };
            join(work, admitted).await;
            Ok(child.status().has_ended())
        });
        assert_eq!(result.await.ok(), Some(true));
    });
}

#[test]
fn what_the_runtime_drops_ends_the_wait() {
    let mut waiter = critical(sleep_forever());
    for backend in [Backend::Tokio, Backend::Smol, Backend::Sim] {
        waiter = critical(sleep_forever());
        let begun = backend.block_on(poll_immediate(&mut waiter));
        assert!(begun.is_none());
        let lost = catch_unwind(AssertUnwindSafe(|| (&mut waiter).now_or_never()));
        let panic = lost.expect_err("the work cannot be finished");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains("the runtime dropped critical work"));
    }
    drop(waiter);
}
