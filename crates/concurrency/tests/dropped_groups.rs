//! Groups that foreign code drops or an outer scope cancels: their tasks end all the same.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;
#[path = "suite/witness.rs"]
mod witness;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    CauseKind, Root, cancel_scope, checkpoint, is_cancelled, sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use witness::{Causes, Witness};

every_backend!(
    a_dropped_group_goes_to_the_root,
    children_of_dropped_groups_end_before_block_on,
    a_group_cancelled_from_outside_waits_and_never_returns,
);

// TG31
fn a_dropped_group_goes_to_the_root(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    let causes = Causes::default();
    let kept = causes.clone();
    root.block_on(async move {
        let mut group = Box::pin(task_group::<(), (), _, _>(|group| async move {
            for _ in 0..10 {
                let probe = Alive::new(&inner);
                let witness = Witness(kept.clone());
                group.spawn_ok(async move {
                    let _kept = (probe, witness);
                    sleep_forever().await
                });
            }
            sleep_forever().await;
            Ok(())
        }));
        poll_fn(|cx| {
            assert!(group.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(group);
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(*causes.lock().unwrap(), [CauseKind::Dropped; 10]);
}

// TG31
fn children_of_dropped_groups_end_before_block_on(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    root.block_on(async move {
        for round in 0..100 {
            let inner = inner.clone();
            let mut group = Box::pin(task_group::<(), (), _, _>(|group| async move {
                // Groups in groups: dropped with the child that runs them.
                for n in 0..3 {
                    let probe = Alive::new(&inner);
                    group.spawn(async move {
                        let _probe = probe.clone();
                        let nested = task_group::<(), (), _, _>(|group| async move {
                            group.spawn_ok(async move {
                                let _probe = probe;
                                if n == 0 {
                                    checkpoint().await
                                } else {
                                    sleep_forever().await;
                                }
                            });
                            sleep_forever().await;
                            Ok(())
                        });
                        let _ = nested.await;
                        Ok(())
                    });
                }
                sleep_forever().await;
                Ok(())
            }));
            for _ in 0..round % 4 {
                poll_fn(|cx| {
                    assert!(group.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                yield_now().await;
            }
            drop(group);
        }
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

// TG4
fn a_group_cancelled_from_outside_waits_and_never_returns(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    let outcome = root.block_on(cancel_scope(|scope| async move {
        let group = task_group::<(), (), _, _>(|group| async move {
            for _ in 0..20 {
                let probe = Alive::new(&inner);
                group.spawn_ok(async move {
                    let _probe = probe;
                    sleep_forever().await
                });
            }
            scope.cancel("outer");
            assert!(is_cancelled());
            Ok(())
        });
        let _ = group.await;
        unreachable!("the group was cancelled from outside");
    }));
    let cause = outcome.into_result().expect_err("it was cancelled");
    assert_eq!(cause.reason(), "outer");
    assert_eq!(
        alive.load(Ordering::SeqCst),
        0,
        "the scope was held until all had ended"
    );
}

// TG31
#[test]
fn groups_without_a_root_go_to_that_of_the_process() {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    Backend::Tokio.block_on(async move {
        let counter = inner.clone();
        let mut group = Box::pin(task_group::<(), (), _, _>(|group| async move {
            let probe = Alive::new(&inner);
            group.spawn_ok(async move {
                let _probe = probe;
                sleep_forever().await
            });
            sleep_forever().await;
            Ok(())
        }));
        poll_fn(|cx| {
            assert!(group.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(group);
        while counter.load(Ordering::SeqCst) != 0 {
            bowline_backend::task::yield_now().await;
        }
    });
}
