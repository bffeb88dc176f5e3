//! Shields in the bodies and children of groups.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_concurrency::{
    Root, Started, cancel_scope, checkpoint, is_cancelled, shield, sleep_forever, task_group,
    yield_now,
};
use every_backend::every_backend;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

every_backend!(
    a_shield_of_the_body_is_not_the_childrens,
    a_shield_of_a_child_is_not_the_bodys,
    a_shielded_child_that_starts_is_awaited,
    a_group_cut_from_outside_never_returns_behind_a_late_shield,
);

// TG18
fn a_shield_of_the_body_is_not_the_childrens(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let child = group.spawn_ok(sleep_forever());
        group.cancel("x");
        shield(async {
            // The child ends although the body is shielded.
            child.wait().await
        })
        .await;
        Ok(group.statistics().cancelled)
    }));
    assert_eq!(result.ok(), Some(1));
}

// TG19
fn a_shield_of_a_child_is_not_the_bodys(root: Root) {
    let bodies = Arc::new(AtomicUsize::new(0));
    let body = Alive::new(&bodies);
    let counter = bodies.clone();
    let finished = Arc::new(AtomicBool::new(false));
    let flag = finished.clone();
    let (result, done) = root.block_on(async {
        let result = task_group::<(), (), _, _>(|group| async move {
            let _body = body;
            let shielded = Arc::new(AtomicBool::new(false));
            let inside = shielded.clone();
            group.spawn_ok(shield(async move {
                inside.store(true, Ordering::SeqCst);
                // Only once the body is gone.
                while counter.load(Ordering::SeqCst) > 0 {
                    checkpoint().await;
                }
                flag.store(true, Ordering::SeqCst);
            }));
            while !shielded.load(Ordering::SeqCst) {
                yield_now().await;
            }
            group.cancel("x");
            sleep_forever().await;
            Ok(())
        });
        (result.await, finished.load(Ordering::SeqCst))
    });
    assert!(result.expect_err("the body was cut").is_cancelled());
    assert!(done, "the group waited for the shielded child");
}

// TG25
fn a_shielded_child_that_starts_is_awaited(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let probe = Alive::new(&alive);
    let result = root.block_on(task_group::<_, &str, _, _>(|group| async move {
        let counter = alive.clone();
        let start_in = group.clone();
        let outcome = cancel_scope(|scope| async move {
            let start = start_in.start(|_: Started<()>| async move {
                let _probe = probe;
                shield(async {
                    scope.cancel("caller");
                    for _ in 0..10 {
                        checkpoint().await;
                    }
                })
                .await;
                // Behind the shield the cancel of the caller is there.
                assert!(is_cancelled());
                Err::<(), _>("unheard")
            });
            let _ = start.await;
            unreachable!("the caller was cancelled");
        });
        let outcome: Result<(), _> = outcome.await.into_result();
        let reason = outcome.expect_err("it was cancelled").reason().to_owned();
        assert_eq!(counter.load(Ordering::SeqCst), 0, "the child was awaited");
        assert!(
            !is_cancelled() && group.handle().deadline() == bowline_concurrency::Deadline::Never
        );
        checkpoint().await;
        Ok(reason)
    }));
    assert_eq!(result.ok().as_deref(), Some("caller"));
}

// TG4
fn a_group_cut_from_outside_never_returns_behind_a_late_shield(root: Root) {
    let bodies = Arc::new(AtomicUsize::new(0));
    let body = Alive::new(&bodies);
    let (begun, inside) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let behind = inside.clone();
    let outcome = root.block_on(cancel_scope(|outer| async move {
        let group = task_group::<(), (), _, _>(|group| async move {
            let _body = body;
            let (handle, started) = (group.handle(), begun.clone());
            group.spawn_ok(shield(async move {
                started.store(true, Ordering::SeqCst);
                while bodies.load(Ordering::SeqCst) > 0 {
                    checkpoint().await;
                }
                // The body is gone for a cancel that the group does not see any more.
                handle.raise_shield();
            }));
            while !begun.load(Ordering::SeqCst) {
                yield_now().await;
            }
            outer.cancel("outer");
            sleep_forever().await;
            Ok(())
        });
        let _ = group.await;
        behind.store(true, Ordering::SeqCst);
    }));
    assert_eq!(outcome.cause().map(|cause| cause.reason()), Some("outer"));
    assert!(!inside.load(Ordering::SeqCst), "code between does not run");
}
