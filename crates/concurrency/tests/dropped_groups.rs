//! Groups that foreign code drops or an outer scope cancels: their tasks end all the same.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;
#[path = "suite/witness.rs"]
mod witness;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CancelScope, CauseKind, GroupClosed, Root, TaskGroup, cancel_scope, checkpoint, is_cancelled,
    shield, sleep, sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::{FutureExt, pending, poll_fn, poll_immediate};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use witness::{Causes, Witness};

const MS: Duration = Duration::from_millis(1);

every_backend!(
    a_dropped_group_goes_to_the_root,
    dropping_a_group_waits_for_nobody,
    children_of_dropped_groups_end_before_block_on,
    a_group_cancelled_from_outside_waits_and_never_returns,
    a_group_cut_from_outside_tells_its_children_once,
    who_waits_for_a_place_of_a_dropped_group_hears_of_it,
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
fn dropping_a_group_waits_for_nobody(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    let causes = Causes::default();
    let kept = causes.clone();
    root.block_on(async move {
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Event::new()));
        let (counter, begins, opens) = (inner.clone(), begun.clone(), gate.clone());
        let mut group = Some(Box::pin(task_group::<(), (), _, _>(|group| async move {
            for _ in 0..10 {
                let (begun, gate) = (begins.clone(), opens.clone());
                let probe = Alive::new(&inner);
                let witness = Witness(kept.clone());
                group.spawn_ok(async move {
                    let _kept = (probe, witness);
                    shield(async {
                        begun.fetch_add(1, Ordering::SeqCst);
                        gate.wait().await;
                    })
                    .await;
                    sleep_forever().await
                });
            }
            sleep_forever().await;
            Ok(())
        })));
        poll_fn(|cx| {
            let polled = group.as_mut().expect("it is there").as_mut().poll(cx);
            assert!(polled.is_pending());
            if begun.load(Ordering::SeqCst) < 10 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            drop(group.take());
            // In the same poll: all are held until the gate opens.
            assert_eq!(counter.load(Ordering::SeqCst), 10);
            gate.set();
            Poll::Ready(())
        })
        .await;
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

// TG4
fn a_group_cut_from_outside_tells_its_children_once(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|outer| async move {
        let (begun, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let polls: Arc<[AtomicUsize; 2]> = Arc::default();
        let gate = Arc::new(Event::new());
        let (begins, goes, counts, opens) =
            (begun.clone(), gone.clone(), polls.clone(), gate.clone());
        let cut = CancelScope::new();
        let handle = cut.handle();
        let child = outer.spawn_ok(cut.run(async move {
            let group = task_group::<(), (), _, _>(|group| async move {
                let plain = pending::<()>().boxed();
                let held = shield(async move { opens.wait().await }).boxed();
                for (index, mut body) in [plain, held].into_iter().enumerate() {
                    let (begun, polls) = (begins.clone(), counts.clone());
                    let gone = Gone(goes.clone());
                    group.spawn_ok(async move {
                        let _gone = gone;
                        poll_fn(move |cx| {
                            let polled = body.as_mut().poll(cx);
                            if polls[index].fetch_add(1, Ordering::SeqCst) == 0 {
                                begun.fetch_add(1, Ordering::SeqCst);
                            }
                            polled
                        })
                        .await;
                    });
                }
                Ok(())
            });
            let _ = group.await;
            unreachable!("the group was cancelled from outside");
        }));
        while begun.load(Ordering::SeqCst) < 2 {
            yield_now().await;
        }
        handle.cancel("outer");
        while gone.load(Ordering::SeqCst) < 1 {
            yield_now().await;
        }
        for _ in 0..20 {
            handle.cancel("again");
            yield_now().await;
        }
        let told = || polls.each_ref().map(|polls| polls.load(Ordering::SeqCst));
        // The first poll of each, and one for the cancel.
        assert!(
            told().iter().all(|polls| (1..=2).contains(polls)),
            "{polls:?}"
        );
        assert!(!child.status().has_ended(), "one child is left");
        assert_eq!(gone.load(Ordering::SeqCst), 1);
        gate.set();
        let outcome = child.join().await.expect("the child ends");
        assert_eq!(outcome.cause().map(|cause| cause.reason()), Some("outer"));
        assert_eq!(gone.load(Ordering::SeqCst), 2);
        assert!(told()[0] <= 2 && told()[1] <= 3, "{polls:?}");
        Ok(())
    }));
    assert!(result.is_ok());
}

// TG14, TG31
fn who_waits_for_a_place_of_a_dropped_group_hears_of_it(root: Root) {
    root.block_on(async {
        let kept = OnceLock::new();
        let options = TaskGroup::builder().max_children(1);
        let mut group = Box::pin(options.run::<(), (), _, _>(|group| {
            assert!(kept.set(group.clone()).is_ok());
            async move {
                group.spawn_ok(sleep_forever());
                sleep_forever().await;
                Ok(())
            }
        }));
        assert!(poll_immediate(&mut group).await.is_none());
        let place: &TaskGroup<()> = kept.get().expect("the body was made");
        let mut waits = Box::pin(place.admit());
        assert!(poll_immediate(&mut waits).await.is_none());
        drop(group);
        let told = poll_immediate(&mut waits).await;
        assert!(matches!(told, Some(Err(GroupClosed))), "{told:?}");
    });
}

/// Counts those that are gone.
struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
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

// TG31
#[test]
fn a_group_that_outlives_its_root_is_left_to_the_one_around_it() {
    // Elsewhere a root takes its tasks with it.
    let root = || Root::new().backend(Backend::AsyncStd);
    let (gate, ended) = (Arc::new(Event::new()), Arc::new(AtomicBool::new(false)));
    let (open, over) = (gate.clone(), ended.clone());
    let mut group = Box::pin(task_group::<(), (), _, _>(|group| async move {
        group.spawn_ok(shield(async move {
            open.wait().await;
            sleep(20 * MS).await;
            over.store(true, Ordering::SeqCst);
        }));
        sleep_forever().await;
        Ok(())
    }));
    assert!(root().block_on(poll_immediate(&mut group)).is_none());
    root().block_on(async {
        assert!(poll_immediate(&mut group).await.is_none());
        drop(group);
        gate.set();
    });
    assert!(ended.load(Ordering::SeqCst), "the second root waited");
}
