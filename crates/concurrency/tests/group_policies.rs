//! What the end of one child means for the others; limits and deadlines of groups.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;
#[path = "suite/witness.rs"]
mod witness;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    CauseKind, Deadline, GroupClosed, GroupError, JoinError, PanicPolicy, Policy, Root, SpawnError,
    TaskGroup, TaskStatus, checkpoint, current_effective_deadline, now, sleep, sleep_forever,
    task_group, timeout, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_immediate;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use witness::{Causes, Witness};

const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    collecting_cancels_nothing,
    an_isolated_failure_fails_nothing,
    an_isolated_panic_goes_on_unless_collected,
    a_full_group_admits_in_order,
    a_group_for_none_takes_none,
    waiting_for_an_ended_group_ends,
    admitted_children_never_exceed_the_limit,
    a_deadline_cancels_a_group,
    a_child_has_the_deadline_of_its_group,
);

// TG34
fn collecting_cancels_nothing(root: Root) {
    let group = TaskGroup::builder().policy(Policy::CollectAll);
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let result = root.block_on(group.run::<(), _, _, _>(|group| async move {
        let failing = group.spawn(async { Err::<(), _>("no") });
        failing.wait().await;
        for _ in 0..2 {
            let counter = counter.clone();
            group.spawn_ok(async move {
                checkpoint().await;
                counter.fetch_add(1, Ordering::SeqCst);
            });
        }
        checkpoint().await;
        Ok(())
    }));
    let error = result.expect_err("a child failed");
    assert_eq!(ran.load(Ordering::SeqCst), 2);
    assert_eq!(error.iter().copied().collect::<Vec<_>>(), ["no"]);
    assert!(error.cause().is_none(), "nothing was cancelled");
}

// TG34, TG5
#[test]
fn errors_come_in_the_order_of_completion() {
    let group = TaskGroup::builder().policy(Policy::CollectAll);
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let result = group.run::<(), _, _, _>(|group| async move {
            for seconds in [2, 1, 3] {
                group.spawn(async move {
                    sleep(seconds * SECOND).await;
                    if seconds == 3 { Ok(()) } else { Err(seconds) }
                });
            }
            Ok(())
        });
        let error = result.await.expect_err("two failed");
        assert_eq!((now() - start).as_millis(), 3000);
        assert_eq!(error.iter().copied().collect::<Vec<_>>(), [1, 2]);
    });
}

// TG35
fn an_isolated_failure_fails_nothing(root: Root) {
    let group = TaskGroup::builder().policy(Policy::Isolate);
    let result = root.block_on(group.run(|group| async move {
        let failing = group.spawn(async { Err::<(), _>("no") });
        let other = group.spawn_ok(async {
            yield_now().await;
            7
        });
        assert!(matches!(failing.join().await, Err(JoinError::Failed)));
        let value = other.join().await.expect("it was not cancelled");
        Ok((value, group.statistics()))
    }));
    let (value, statistics) = result.expect("the failure is isolated");
    assert_eq!(value, 7);
    assert_eq!((statistics.failed, statistics.done), (1, 1));
    assert_eq!((statistics.spawned, statistics.live), (2, 0));
}

fn an_isolated_panic_goes_on_unless_collected(root: Root) {
    root.block_on(async {
        let group = TaskGroup::builder().policy(Policy::Isolate);
        let collected = group.panics(PanicPolicy::Collect);
        let result = collected.run::<_, (), _, _>(|group| async move {
            let bad = group.spawn_ok(async { panic!("isolated") });
            assert_eq!(bad.wait().await, TaskStatus::Panicked);
            checkpoint().await;
            Ok(group.statistics().panicked)
        });
        assert_eq!(result.await.ok(), Some(1));
        let resumed = TaskGroup::builder().policy(Policy::Isolate);
        let group = resumed.run::<(), (), _, _>(|group| async move {
            group.spawn_ok(async { panic!("resumed") });
            sleep_forever().await;
            Ok(())
        });
        let caught = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(group));
        assert!(caught.await.is_err());
    });
}

// TG14
fn a_full_group_admits_in_order(root: Root) {
    let group = TaskGroup::builder().max_children(2);
    let result = root.block_on(group.run::<_, (), _, _>(|group| async move {
        let first = group.spawn_ok(sleep_forever());
        let _second = group.spawn_ok(sleep_forever());
        let Err(SpawnError::Full(future)) = group.try_spawn(async { Ok(5) }) else {
            panic!("there were two");
        };
        assert_eq!(future.await, Ok(5));
        assert_eq!(group.spawn_ok(async {}).status(), TaskStatus::Refused);
        let seen = group.statistics();
        assert_eq!((seen.spawned, seen.live, seen.refused), (2, 2, 1));
        let mut third = Box::pin(group.admit());
        let mut fourth = Box::pin(group.admit());
        assert!(poll_immediate(&mut third).await.is_none());
        assert!(poll_immediate(&mut fourth).await.is_none());
        first.cancel("go");
        first.wait().await;
        let slot = third.await.expect("the group is open");
        for _ in 0..20 {
            yield_now().await;
        }
        assert!(poll_immediate(&mut fourth).await.is_none());
        assert!(matches!(
            group.try_spawn(async { Ok(()) }),
            Err(SpawnError::Full(_))
        ));
        drop(slot);
        let slot = fourth.await.expect("the group is open");
        let child = slot.named("fourth").spawn_ok(async { 4 });
        assert_eq!(child.name(), "fourth");
        let value = child.join().await.ok();
        // Granted and dropped: the place is not lost.
        let mut fifth = Box::pin(group.admit());
        while poll_immediate(&mut fifth).await.is_none() {
            yield_now().await;
        }
        drop(fifth);
        while group.try_spawn(async { Ok(()) }).is_err() {
            yield_now().await;
        }
        group.cancel("enough");
        Ok(value)
    }));
    assert_eq!(result.ok(), Some(Some(4)));
}

// TG14
fn a_group_for_none_takes_none(root: Root) {
    let group = TaskGroup::builder().max_children(0);
    let result = root.block_on(group.run::<_, (), _, _>(|group| async move {
        assert!(matches!(
            group.try_spawn(async { Ok(()) }),
            Err(SpawnError::Full(_))
        ));
        Ok(poll_immediate(Box::pin(group.admit())).await.is_none())
    }));
    assert_eq!(result.ok(), Some(true));
}

// TG14
fn waiting_for_an_ended_group_ends(root: Root) {
    root.block_on(async {
        let kept = std::sync::OnceLock::new();
        let ended = TaskGroup::builder().max_children(1);
        let result = ended.run::<_, (), _, _>(|group| {
            assert!(kept.set(group.clone()).is_ok());
            async move {
                group.spawn_ok(checkpoint());
                checkpoint().await;
                Ok(())
            }
        });
        let mut result = Box::pin(result);
        assert!(poll_immediate(&mut result).await.is_none());
        let group = kept.get().expect("the body was made").clone();
        let outside = task_group::<_, (), _, _>(|other| async move {
            // Admitted or not: the end of the group is told to who waits from outside.
            let waits = other.spawn_ok(async move { group.admit().await.map(drop) });
            let _ = result.await;
            Ok(waits.join().await.expect("it ends"))
        });
        let answer = outside.await.expect("no child failed");
        assert!(matches!(answer, Ok(()) | Err(GroupClosed)));
    });
}

// TG14
fn admitted_children_never_exceed_the_limit(root: Root) {
    let group = TaskGroup::builder().max_children(3);
    let alive = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (inner, peak) = (alive.clone(), most.clone());
    let result = root.block_on(group.run::<_, (), _, _>(|group| async move {
        let kept = group.clone();
        task_group::<_, (), _, _>(|spawners| async move {
            for round in 0..4_usize {
                let (group, alive, peak) = (group.clone(), inner.clone(), peak.clone());
                spawners.spawn_ok(async move {
                    for n in 0..50 {
                        if (n + round) % 5 == 0 {
                            // One who gives up, perhaps after it was let in.
                            let mut gone = Box::pin(group.admit());
                            let _ = poll_immediate(&mut gone).await;
                            yield_now().await;
                        }
                        let slot = group.admit().await.expect("the group is open");
                        let (alive, peak) = (alive.clone(), peak.clone());
                        slot.spawn_ok(async move {
                            let now = alive.fetch_add(1, Ordering::SeqCst) + 1;
                            peak.fetch_max(now, Ordering::SeqCst);
                            yield_now().await;
                            alive.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
            Ok(())
        })
        .await
        .expect("no spawner fails");
        Ok(kept)
    }));
    let group = result.expect("no child fails");
    assert_eq!(group.statistics().done, 200);
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
}

// TG9
fn a_deadline_cancels_a_group(root: Root) {
    let dropped = Arc::new(AtomicBool::new(false));
    let causes = Causes::default();
    let witness = Witness(causes.clone());
    let flag = dropped.clone();
    let group = TaskGroup::builder().timeout(Duration::from_millis(5));
    let result = root.block_on(group.run::<(), (), _, _>(|group| async move {
        group.spawn_ok(async move {
            let _witness = witness;
            sleep_forever().await
        });
        sleep_forever().await;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    }));
    let error = result.expect_err("the deadline passed");
    let cause = error.cause().expect("the group was cancelled");
    assert_eq!(cause.kind(), CauseKind::Deadline);
    assert!(error.is_cancelled());
    assert_eq!(*causes.lock().unwrap(), [CauseKind::Deadline]);
}

// TG9
#[test]
fn a_group_ends_at_its_deadline() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let alive = Arc::new(AtomicUsize::new(0));
        for group in [
            TaskGroup::builder().timeout(SECOND),
            TaskGroup::builder().deadline(start + 2 * SECOND),
        ] {
            let probe = Alive::new(&alive);
            // The body is over; its task still keeps the group's deadline.
            let result = group.run::<(), (), _, _>(|group| async move {
                group.spawn_ok(async move {
                    let _probe = probe;
                    sleep_forever().await
                });
                Ok(())
            });
            assert!(result.await.is_ok(), "the body had ended");
            assert_eq!(alive.load(Ordering::SeqCst), 0);
        }
        assert_eq!((now() - start).as_millis(), 2000);
    });
}

// TG20
fn a_child_has_the_deadline_of_its_group(root: Root) {
    const HOUR: Duration = Duration::from_secs(3600);
    root.block_on(async {
        let start = now();
        let options = TaskGroup::builder().timeout(3 * HOUR);
        let result: Result<_, GroupError<()>> = options
            .run(|group| async move {
                let spawner = group.clone();
                let child = timeout(HOUR, async move {
                    let child = spawner.spawn_ok(async { current_effective_deadline() });
                    (child, current_effective_deadline())
                });
                let (child, around) = child.await.expect("spawning takes no time");
                let child = child.join().await.expect("it ends");
                Ok((child, around, current_effective_deadline()))
            })
            .await;
        let Ok((Deadline::At(child), Deadline::At(around), group)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(Deadline::At(child), group);
        assert!(child - start >= 3 * HOUR);
        assert!(around < child - HOUR);
    });
}

// TG20
#[test]
fn a_child_outlives_the_deadline_around_its_spawn() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let options = TaskGroup::builder().timeout(5 * SECOND);
        let result: Result<_, GroupError<()>> = options
            .run(|group| async move {
                let spawner = group.clone();
                let child = timeout(SECOND, async move {
                    spawner.spawn_ok(async {
                        let deadline = current_effective_deadline();
                        sleep(2 * SECOND).await;
                        deadline
                    })
                });
                let child = child.await.expect("spawning takes no time");
                Ok(child.join().await.ok())
            })
            .await;
        let Ok(Some(Deadline::At(deadline))) = result else {
            panic!("{result:?}");
        };
        assert_eq!((deadline - start).as_millis(), 5000);
        assert_eq!((now() - start).as_millis(), 2000);
    });
}
