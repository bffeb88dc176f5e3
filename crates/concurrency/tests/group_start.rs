//! Children that say when they have started.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    CauseKind, GroupError, JoinError, NotWaiting, Policy, Root, StartError, Started, TaskGroup,
    TaskStatus, cancel_scope, cancelled, check_cancelled, checkpoint, shield, sleep_forever,
    task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::poll_immediate;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

every_backend!(
    a_started_child_goes_on,
    a_child_that_fails_first_fails_the_start,
    a_child_that_fails_later_fails_the_group,
    a_child_that_never_starts,
    a_cancelled_caller_waits_for_the_child,
    nobody_takes_the_value_of_a_cancelled_start,
    a_cancelled_group_reaches_the_child_when_it_has_started,
    a_dropped_start_cancels_the_child,
    a_dropped_start_loses_no_panic,
    an_ended_group_starts_nothing,
);

// TG21
fn a_started_child_goes_on(root: Root) {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = ended.clone();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let gate = Arc::new(AtomicBool::new(false));
        let open = gate.clone();
        let start = group.named("server").start(|started| async move {
            checkpoint().await;
            assert!(started.send(4000).is_ok());
            while !open.load(Ordering::SeqCst) {
                checkpoint().await;
            }
            flag.store(true, Ordering::SeqCst);
            Ok(7)
        });
        let (handle, port) = start.await.expect("it starts");
        assert_eq!(handle.status(), TaskStatus::Running);
        assert_eq!(handle.name(), "server");
        gate.store(true, Ordering::SeqCst);
        Ok((port, handle.join().await.ok()))
    }));
    assert_eq!(result.ok(), Some((4000, Some(7))));
    assert!(ended.load(Ordering::SeqCst));
}

// TG22
fn a_child_that_fails_first_fails_the_start(root: Root) {
    let result = root.block_on(task_group(|group| async move {
        let start = group.start(|_: Started<()>| async {
            checkpoint().await;
            Err::<(), _>("no port")
        });
        match start.await {
            Err(StartError::Failed(error)) => assert_eq!(error, "no port"),
            other => panic!("{other:?}"),
        }
        let start = group.start(|_: Started<()>| async {
            checkpoint().await;
            if true {
                panic!("no port at all");
            }
            Ok(())
        });
        match start.await {
            Err(StartError::Panicked(panic)) => assert_eq!(panic.message(), "no port at all"),
            other => panic!("{other:?}"),
        }
        checkpoint().await;
        Ok(7)
    }));
    assert_eq!(result.ok(), Some(7));
}

// TG23
fn a_child_that_fails_later_fails_the_group(root: Root) {
    let value = Arc::new(Mutex::new(None));
    let seen = value.clone();
    let result = root.block_on(task_group::<(), _, _, _>(|group| async move {
        let gate = Arc::new(AtomicBool::new(false));
        let open = gate.clone();
        let start = group.start(|started| async move {
            assert!(started.send(5).is_ok());
            while !open.load(Ordering::SeqCst) {
                yield_now().await;
            }
            Err::<(), _>("later")
        });
        let (_, value) = start.await.expect("it starts");
        *seen.lock().unwrap() = Some(value);
        gate.store(true, Ordering::SeqCst);
        sleep_forever().await;
        Ok(())
    }));
    assert_eq!(*value.lock().unwrap(), Some(5));
    let error = result.expect_err("the child failed");
    assert_eq!(error.into_single().ok(), Some("later"));
}

// TG24
fn a_child_that_never_starts(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let start = group.start(|started: Started<()>| async move {
            checkpoint().await;
            drop(started);
            checkpoint().await;
            Ok(())
        });
        Ok(matches!(start.await, Err(StartError::ExitedEarly)))
    }));
    assert_eq!(result.ok(), Some(true));
}

fn a_cancelled_caller_waits_for_the_child(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let probe = Alive::new(&alive);
    let result = root.block_on(task_group::<_, &str, _, _>(|group| async move {
        let counter = alive.clone();
        let outcome = cancel_scope(|scope| async move {
            let start = group.start(|_: Started<()>| async move {
                let _probe = probe;
                scope.cancel("caller");
                let cause = cancelled().await;
                assert_eq!(cause.reason(), "caller");
                for _ in 0..3 {
                    yield_now().await;
                }
                // Cancelled and failing all the same: nobody is there to be told.
                Err::<(), _>("unheard")
            });
            let _ = start.await;
            unreachable!("the caller was cancelled");
        });
        let cause = outcome.await.into_result();
        let cause: Result<(), _> = cause;
        let reason = cause.expect_err("it was cancelled").reason().to_owned();
        assert_eq!(counter.load(Ordering::SeqCst), 0, "the child was awaited");
        checkpoint().await;
        Ok(reason)
    }));
    assert_eq!(result.ok().as_deref(), Some("caller"), "the group goes on");
}

// TG26
fn nobody_takes_the_value_of_a_cancelled_start(root: Root) {
    let answer = Arc::new(Mutex::new(None));
    let given = answer.clone();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let outcome = cancel_scope(|scope| async move {
            let start = group.start(|started| async move {
                scope.cancel("caller");
                *given.lock().unwrap() = Some(started.send(5));
                Ok(())
            });
            start.await.map(|_| ())
        });
        assert!(outcome.await.cause().is_some());
        Ok(())
    }));
    assert!(result.is_ok());
    let answer = answer.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(NotWaiting(5)))));
}

// TG27
fn a_cancelled_group_reaches_the_child_when_it_has_started(root: Root) {
    root.block_on(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let kept = std::sync::OnceLock::new();
        let group = task_group::<(), (), _, _>(|group| {
            assert!(kept.set(group).is_ok());
            async {
                sleep_forever().await;
                Ok(())
            }
        });
        let mut group_future = Box::pin(group);
        assert!(poll_immediate(&mut group_future).await.is_none());
        let group: TaskGroup<()> = kept.get().cloned().expect("the body was made");
        let inner = group.clone();
        // Started from outside of the group, so the caller is not cancelled with it.
        let start = group.start(|started| async move {
            inner.cancel("group");
            checkpoint().await;
            notes.lock().unwrap().push(check_cancelled().is_err());
            assert!(started.send(5).is_ok());
            notes.lock().unwrap().push(check_cancelled().is_err());
            checkpoint().await;
            unreachable!("it was cancelled at its next pending");
        });
        let (result, started) = futures_util::future::join(group_future, start).await;
        let (handle, value) = started.expect("it starts");
        let handle: bowline_concurrency::TaskHandle<()> = handle;
        assert_eq!((value, handle.wait().await), (5, TaskStatus::Cancelled));
        assert!(result.expect_err("it was cancelled").is_cancelled());
        assert_eq!(*seen.lock().unwrap(), [false, true]);
    });
}

/// Does something when it goes, however its body ends.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

// TG26, TG28
fn a_dropped_start_cancels_the_child(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let probe = Alive::new(&alive);
    let causes = Arc::new(Mutex::new(Vec::new()));
    let seen = causes.clone();
    let answer = Arc::new(Mutex::new(None));
    let given = answer.clone();
    let result = root.block_on(async {
        let result = task_group::<_, (), _, _>(|group| async move {
            let mut start = Box::pin(group.start(|started| async move {
                let _probe = probe;
                let _end = OnDrop(Some(|| {
                    let cause = check_cancelled().expect_err("it was cancelled");
                    seen.lock().unwrap().push(cause.kind());
                    *given.lock().unwrap() = Some(started.send(5));
                }));
                // Not reached if the cancel came in the middle of the poll that begins to wait.
                cancelled().await;
                shield(async {
                    for _ in 0..5 {
                        yield_now().await;
                    }
                })
                .await;
                Ok(())
            }));
            assert!(poll_immediate(&mut start).await.is_none());
            drop(start);
            Ok(group)
        });
        (result.await, alive.load(Ordering::SeqCst))
    });
    let (Ok(_), left) = result else {
        panic!("the child is no error");
    };
    assert_eq!(left, 0, "the group waits for it");
    assert_eq!(*causes.lock().unwrap(), [CauseKind::Dropped]);
    let answer = answer.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(NotWaiting(5)))));
}

fn a_dropped_start_loses_no_panic(root: Root) {
    let options = TaskGroup::builder().panics(bowline_concurrency::PanicPolicy::Collect);
    let result = root.block_on(options.run::<(), (), _, _>(|group| async move {
        let mut start = Box::pin(group.start(|_: Started<()>| async move {
            // In its last poll, or when it is dropped at the end of the one it was cancelled in.
            let _late = OnDrop(Some(|| panic!("late")));
            cancelled().await;
            Ok(())
        }));
        assert!(poll_immediate(&mut start).await.is_none());
        drop(start);
        Ok(())
    }));
    let error = result.expect_err("a panic does not vanish");
    assert_eq!(error.children().len(), 1);
}

fn an_ended_group_starts_nothing(root: Root) {
    root.block_on(async {
        let mut kept = None;
        let group = task_group::<_, (), _, _>(|group| {
            kept = Some(group);
            async { Ok(()) }
        });
        assert!(group.await.is_ok());
        let group = kept.expect("the body was made");
        let start = group.start(|_: Started<()>| async { Ok(()) });
        assert!(matches!(start.await, Err(StartError::Refused)));
    });
}

/// Says so also when a panic passes.
struct SaysOver(Arc<AtomicBool>);

impl Drop for SaysOver {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// TG21, TG23
#[test]
#[expect(clippy::disallowed_methods, reason = "no task may be in the way")]
fn an_end_is_told_once_also_when_another_thread_says_started() {
    let said: Arc<Mutex<Option<Started<u32>>>> = Arc::default();
    let (taken, over) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (slot, seen, stop) = (said.clone(), taken.clone(), over.clone());
    let helper = std::thread::spawn(move || {
        let mut round = 0;
        while !stop.load(Ordering::SeqCst) {
            let Some(started) = slot.lock().unwrap().take() else {
                std::thread::yield_now();
                continue;
            };
            seen.store(true, Ordering::SeqCst);
            round += 1;
            (0..round % 37).for_each(|_| std::hint::spin_loop());
            let _ = started.send(1);
        }
    });
    let over = SaysOver(over);
    let root = Root::new().backend(Backend::Tokio);
    let result: Result<_, GroupError<String>> =
        root.block_on(TaskGroup::builder().policy(Policy::CollectAll).run(
            |group: TaskGroup<String>| async move {
                // How long the child waits before it ends, so that either is often first.
                let mut delay = 100_i64;
                let mut failed_late = 0;
                for round in 0..300_i64 {
                    let fails = round % 2 == 0;
                    let (said, taken) = (said.clone(), taken.clone());
                    taken.store(false, Ordering::SeqCst);
                    let wait = (delay + round % 23).max(0);
                    let start = group.start(move |started| async move {
                        *said.lock().unwrap() = Some(started);
                        while !taken.load(Ordering::SeqCst) {
                            std::thread::yield_now();
                        }
                        (0..wait).for_each(|_| std::hint::spin_loop());
                        match fails {
                            true => Err(format!("round {round}")),
                            false => Ok(7),
                        }
                    });
                    match start.await {
                        Ok((child, _)) => {
                            delay -= 1;
                            match child.join().await {
                                Ok(value) => assert!(value == 7 && !fails),
                                Err(JoinError::Failed) if fails => failed_late += 1,
                                Err(other) => panic!("{other}"),
                            }
                        }
                        Err(StartError::Failed(_)) if fails => delay += 1,
                        Err(StartError::ExitedEarly) if !fails => delay += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
                Ok::<usize, String>(failed_late)
            },
        ));
    drop(over);
    helper.join().unwrap();
    // Who failed after its start failed the group, and nobody else did.
    match result {
        Ok(failed_late) => assert_eq!(failed_late, 0),
        Err(error) => assert!(!error.children().is_empty()),
    }
}
