//! Lifetime and errors of task groups.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;
#[path = "suite/witness.rs"]
mod witness;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    CauseKind, GroupError, JoinError, Root, SpawnError, TaskGroup, TaskStatus, checkpoint, now,
    sleep, sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use witness::{Causes, Witness};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    a_group_waits_for_its_children,
    a_failing_child_cancels_the_others,
    a_failing_body_cancels_the_children,
    an_ended_group_gives_the_future_back,
    an_ended_group_refuses,
    a_dropped_join_does_no_harm,
    a_cancelled_child_harms_no_sibling,
    many_children_of_children_are_awaited,
    cancel_races_with_ends,
);

// TG1
fn a_group_waits_for_its_children(root: Root) {
    let ended = Arc::new(AtomicUsize::new(0));
    let counter = ended.clone();
    let group = task_group::<_, (), _, _>(|group| async move {
        for _ in 0..3 {
            let counter = counter.clone();
            group.spawn_ok(async move {
                sleep(5 * MS).await;
                counter.fetch_add(1, Ordering::SeqCst);
            });
        }
        Ok(7)
    });
    // Counted inside: the end of the root would wait for stragglers.
    let (result, count) = root.block_on(async { (group.await, ended.load(Ordering::SeqCst)) });
    assert_eq!(result.ok(), Some(7));
    assert_eq!(count, 3);
}

// TG1
#[test]
fn children_run_side_by_side_in_simulated_time() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let result: Result<_, GroupError<()>> = task_group(|group| async move {
            for _ in 0..3 {
                group.spawn_ok(sleep(SECOND));
            }
            Ok(())
        })
        .await;
        assert!(result.is_ok());
        assert_eq!((now() - start).as_millis(), 1000);
    });
}

// TG2
fn a_failing_child_cancels_the_others(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let probe = Alive::new(&alive);
    let group = task_group::<(), _, _, _>(|group| async move {
        let host = probe.clone();
        let sibling = probe;
        group.spawn_ok(async move {
            let _sibling = sibling;
            sleep_forever().await
        });
        group.named("bad").spawn(async {
            yield_now().await;
            Err::<(), _>("no")
        });
        sleep_forever().await;
        drop(host);
        Ok(())
    });
    let (result, left) = root.block_on(async { (group.await, alive.load(Ordering::SeqCst)) });
    let error = result.expect_err("a child failed");
    assert_eq!(left, 0, "the group returned before all had ended");
    assert!(error.host().is_none());
    assert_eq!(error.children().len(), 1);
    let child = &error.children()[0];
    assert_eq!((child.name(), child.error()), ("bad", Some(&"no")));
    let cause = error.cause().expect("the group was cancelled");
    assert_eq!(cause.kind(), CauseKind::SiblingFailed);
    assert_eq!((cause.by(), cause.reason()), (child.id(), "bad"));
}

// TG3
fn a_failing_body_cancels_the_children(root: Root) {
    let causes = Causes::default();
    let witness = Witness(causes.clone());
    let group = task_group::<(), _, _, _>(|group| async move {
        group.spawn_ok(async move {
            let _witness = witness;
            sleep_forever().await
        });
        yield_now().await;
        Err("host")
    });
    let (result, seen) = root.block_on(async { (group.await, causes.lock().unwrap().clone()) });
    let error = result.expect_err("the body failed");
    assert_eq!(seen, [CauseKind::HostFailed]);
    assert_eq!(error.host(), Some(&"host"));
    assert!(error.children().is_empty());
    assert_eq!(error.into_single().ok(), Some("host"));
}

/// A group that has ended.
async fn ended_group() -> TaskGroup<()> {
    let mut kept = None;
    let result = task_group(|group| {
        kept = Some(group);
        async { Ok(()) }
    });
    assert!(result.await.is_ok());
    kept.expect("the body was made")
}

// TG12
fn an_ended_group_gives_the_future_back(root: Root) {
    root.block_on(async {
        let group = ended_group().await;
        let polled = Arc::new(AtomicBool::new(false));
        let flag = polled.clone();
        let refused = group.try_spawn(async move {
            flag.store(true, Ordering::SeqCst);
            Ok(5)
        });
        let Err(SpawnError::Closed(future)) = refused else {
            panic!("the group has ended");
        };
        assert!(!polled.load(Ordering::SeqCst));
        assert_eq!(future.await, Ok(5));
    });
}

// TG13
fn an_ended_group_refuses(root: Root) {
    root.block_on(async {
        let group = ended_group().await;
        let handle = group.spawn(async { Ok(5) });
        assert_eq!(handle.status(), TaskStatus::Refused);
        assert_eq!(handle.wait().await, TaskStatus::Refused);
        assert!(matches!(handle.join().await, Err(JoinError::Refused)));
    });
}

// TG17
fn a_dropped_join_does_no_harm(root: Root) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let gate = Arc::new(AtomicBool::new(false));
    let result: Result<_, GroupError<()>> = root.block_on(task_group(|group| async move {
        let child = || {
            let (counter, gate) = (counter.clone(), gate.clone());
            async move {
                while !gate.load(Ordering::SeqCst) {
                    yield_now().await;
                }
                // A cancelled child would end at the first of these.
                for _ in 0..3 {
                    yield_now().await;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                7
            }
        };
        let first = group.spawn_ok(child());
        let second = group.spawn_ok(child());
        let mut wait = Box::pin(first.wait());
        let mut join = Box::pin(second.join());
        poll_fn(|cx| {
            assert!(wait.as_mut().poll(cx).is_pending());
            assert!(join.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(wait);
        drop(join);
        gate.store(true, Ordering::SeqCst);
        Ok(first.join().await.ok())
    }));
    assert_eq!(result.ok(), Some(Some(7)));
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

// TG16
fn a_cancelled_child_harms_no_sibling(root: Root) {
    let result: Result<_, GroupError<()>> = root.block_on(task_group(|group| async move {
        let stopped = group.spawn_ok(sleep_forever());
        let other = group.spawn_ok(async {
            sleep(2 * MS).await;
            7
        });
        assert!(stopped.cancel("enough"));
        assert!(!stopped.cancel("again"));
        match stopped.join().await {
            Err(JoinError::Cancelled(cause)) => assert_eq!(cause.reason(), "enough"),
            other => panic!("{other:?}"),
        }
        let other = other.join().await.ok();
        let statistics = group.statistics();
        assert_eq!((statistics.spawned, statistics.cancelled), (2, 1));
        Ok(other)
    }));
    assert_eq!(result.ok(), Some(Some(7)));
}

// TG11
fn many_children_of_children_are_awaited(root: Root) {
    fn grow(group: TaskGroup<()>, depth: usize, ran: Arc<AtomicUsize>) {
        for _ in 0..3 {
            let (inner, ran) = (group.clone(), ran.clone());
            group.spawn_ok(async move {
                yield_now().await;
                ran.fetch_add(1, Ordering::SeqCst);
                if depth > 0 {
                    grow(inner, depth - 1, ran);
                }
            });
        }
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let result = root.block_on(task_group(|group| async move {
        grow(group, 4, counter);
        Ok(())
    }));
    assert!(result.is_ok());
    assert_eq!(ran.load(Ordering::SeqCst), 3 + 9 + 27 + 81 + 243);
}

fn cancel_races_with_ends(root: Root) {
    root.block_on(async {
        for round in 0..100_u64 {
            let result = task_group::<_, (), _, _>(|group| async move {
                let handle = group.handle();
                let tasks: Vec<_> = (0..8)
                    .map(|n| {
                        group.spawn_ok(async move {
                            for _ in 0..(n + round) % 5 {
                                checkpoint().await;
                            }
                            n
                        })
                    })
                    .collect();
                group.spawn_ok(async move {
                    for _ in 0..round % 3 {
                        yield_now().await;
                    }
                    handle.cancel("race");
                });
                let mut ended = 0;
                for task in tasks {
                    // Waiting is a leaf: in the cancelled group it may never come back.
                    ended += usize::from(task.wait().await.has_ended());
                }
                Ok(ended)
            });
            match result.await {
                Ok(ended) => assert_eq!(ended, 8),
                Err(error) => assert!(error.is_cancelled()),
            }
        }
    });
}

// TG42
#[test]
fn group_futures_are_send() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    fn generic<T: Send + 'static, E: Send + 'static>(
        value: T,
    ) -> impl Future<Output = Result<T, GroupError<E>>> + Send {
        is_send(async move {
            is_send(task_group(|group: TaskGroup<E>| async move {
                group.spawn_ok(async {}).join().await.ok();
                Ok(value)
            }))
            .await
        })
    }
    let made = is_send(generic::<_, ()>(7));
    let result = Root::new().backend(Backend::Smol).block_on(made);
    assert_eq!(result.ok(), Some(7));
}
