//! Lifetime, errors and panics of task groups.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::{
    CauseKind, ChildErrorKind, GroupError, JoinError, PanicPolicy, Root, SpawnError, TaskGroup,
    TaskStatus, cancel_scope, check_cancelled, checkpoint, is_cancelled, now, sleep, sleep_forever,
    task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Causes = Arc<Mutex<Vec<CauseKind>>>;

/// Says why the body that holds it was dropped.
struct Witness(Causes);

impl Drop for Witness {
    fn drop(&mut self) {
        if let Err(cause) = check_cancelled() {
            self.0.lock().unwrap().push(cause.kind());
        }
    }
}

every_backend!(
    a_group_waits_for_its_children,
    a_failing_child_cancels_the_others,
    a_failing_body_cancels_the_children,
    an_ended_group_gives_the_future_back,
    an_ended_group_refuses,
    a_dropped_join_does_no_harm,
    a_panic_resumes_after_the_others_ended,
    a_panic_can_be_collected,
    a_panic_of_the_body_waits_for_the_children,
    a_dropped_group_goes_to_the_root,
    children_of_dropped_groups_end_before_block_on,
    a_cancelled_child_harms_no_sibling,
    a_group_cancelled_from_outside_waits_and_never_returns,
    a_panic_in_a_destructor_is_counted,
    many_children_of_children_are_awaited,
    cancel_races_with_ends,
);

/// Counts those that are alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(counter: &Arc<AtomicUsize>) -> Alive {
        counter.fetch_add(1, Ordering::SeqCst);
        Alive(counter.clone())
    }
}

impl Clone for Alive {
    fn clone(&self) -> Alive {
        Alive::new(&self.0)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// TG1
fn a_group_waits_for_its_children(root: Root) {
    let ended = Arc::new(AtomicUsize::new(0));
    let counter = ended.clone();
    let result: Result<_, GroupError<()>> = root.block_on(task_group(|group| async move {
        for _ in 0..3 {
            let counter = counter.clone();
            group.spawn_ok(async move {
                sleep(5 * MS).await;
                counter.fetch_add(1, Ordering::SeqCst);
            });
        }
        Ok(7)
    }));
    assert_eq!(result.ok(), Some(7));
    assert_eq!(ended.load(Ordering::SeqCst), 3);
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
    let result = root.block_on(task_group::<(), _, _, _>(|group| async move {
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
    }));
    let error = result.expect_err("a child failed");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
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
    let result = root.block_on(task_group::<(), _, _, _>(|group| async move {
        group.spawn_ok(async move {
            let _witness = witness;
            sleep_forever().await
        });
        yield_now().await;
        Err("host")
    }));
    let error = result.expect_err("the body failed");
    assert_eq!(*causes.lock().unwrap(), [CauseKind::HostFailed]);
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

// TG29
fn a_panic_resumes_after_the_others_ended(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        root.block_on(task_group::<(), (), _, _>(|group| async move {
            for _ in 0..5 {
                let probe = Alive::new(&inner);
                group.spawn_ok(async move {
                    let _probe = probe;
                    sleep_forever().await
                });
            }
            group.spawn_ok(async { panic!("child") });
            sleep_forever().await;
            Ok(())
        }))
    }));
    let payload = caught.expect_err("the panic goes on in the host");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"child"));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

// TG29
fn a_panic_can_be_collected(root: Root) {
    let options = TaskGroup::builder().panics(PanicPolicy::Collect).name("g");
    let result = root.block_on(options.run::<(), (), _, _>(|group| async move {
        group.spawn_ok(async { panic!("child {}", 1) });
        sleep_forever().await;
        Ok(())
    }));
    let error = result.expect_err("a child panicked");
    assert_eq!(error.children().len(), 1);
    match error.children()[0].kind() {
        ChildErrorKind::Panicked(panic) => assert_eq!(panic.message(), "child 1"),
        other => panic!("{other:?}"),
    }
}

fn a_panic_of_the_body_waits_for_the_children(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        root.block_on(task_group::<(), (), _, _>(|group| async move {
            let probe = Alive::new(&inner);
            group.spawn_ok(async move {
                let _probe = probe;
                sleep_forever().await
            });
            yield_now().await;
            panic!("host");
        }))
    }));
    let payload = caught.expect_err("the panic goes on");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"host"));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

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

fn a_panic_in_a_destructor_is_counted(root: Root) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let options = TaskGroup::builder().panics(PanicPolicy::Collect);
    let result = root.block_on(options.run::<(), (), _, _>(|group| async move {
        group.spawn_ok(async {
            let _bomb = Bomb;
            sleep_forever().await
        });
        yield_now().await;
        group.cancel("enough");
        Ok(())
    }));
    let error = result.expect_err("a destructor panicked");
    assert!(matches!(
        error.children()[0].kind(),
        ChildErrorKind::Panicked(_)
    ));
}

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
