//! `wait_all_blocked`.

use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    EntryKind, EntryState, GroupError, Root, cancel_scope, now, sleep, task_group, timeout, tree,
    wait_all_blocked, yield_now,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn in_a_world(seed: u64, body: impl Future<Output = Result<(), GroupError<()>>>) {
    let root = Root::new().backend(Backend::Sim);
    bowline_sim::block_on(seed, root.entered(body)).unwrap();
}

// TX10
#[test]
fn it_resumes_when_all_others_are_parked() {
    for seed in 0..50 {
        let (done, event) = (Arc::new(AtomicUsize::new(0)), Arc::new(Event::new()));
        in_a_world(
            seed,
            task_group(|group| async move {
                let start = now();
                for steps in 0..10 {
                    let (done, event) = (done.clone(), event.clone());
                    group.spawn_ok(async move {
                        for _ in 0..steps {
                            yield_now().await;
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                        event.wait().await;
                        sleep(SECOND).await;
                        done.fetch_add(1, Ordering::SeqCst);
                    });
                }
                wait_all_blocked().await;
                assert_eq!(done.load(Ordering::SeqCst), 10);
                assert_eq!(event.statistics().waiting, 10);
                let tree = tree();
                let tasks = tree.entries().iter();
                let mut tasks = tasks.filter(|entry| entry.kind == EntryKind::Task);
                assert!(tasks.all(|task| task.state == EntryState::Parked), "{tree}");
                event.set();
                // They sleep, which is parked too; no time passes for that.
                wait_all_blocked().await;
                assert!(now() - start < SECOND);
                assert_eq!(done.load(Ordering::SeqCst), 10);
                sleep(2 * SECOND).await;
                assert_eq!(done.load(Ordering::SeqCst), 20);
                Ok(())
            }),
        );
    }
}

// TX10
#[test]
fn of_several_one_goes_at_a_time() {
    for seed in 0..50 {
        let said = Arc::new(Mutex::new(Vec::new()));
        let words = said.clone();
        in_a_world(
            seed,
            task_group(|group| async move {
                for n in 0..3 {
                    let said = said.clone();
                    group.spawn_ok(async move {
                        // One after the other, whatever the schedule.
                        sleep((n + 1) * Duration::from_millis(1)).await;
                        // The first to wait gets to run alone until it parks.
                        wait_all_blocked().await;
                        said.lock().unwrap().push((n, "runs"));
                        for _ in 0..5 {
                            yield_now().await;
                        }
                        said.lock().unwrap().push((n, "parks"));
                    });
                }
                let early = timeout(Duration::ZERO, wait_all_blocked()).await;
                assert!(early.is_err(), "it was dropped while it waited");
                Ok(())
            }),
        );
        let words = words.lock().unwrap();
        let order = [
            (0, "runs"),
            (0, "parks"),
            (1, "runs"),
            (1, "parks"),
            (2, "runs"),
        ];
        assert_eq!(words[..5], order);
    }
}

// TX10
#[test]
fn one_that_is_dropped_or_cancelled_holds_up_nobody() {
    in_a_world(
        7,
        task_group(|group| async move {
            let mut dropped = Box::pin(wait_all_blocked());
            std::future::poll_fn(|cx| {
                assert!(dropped.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            drop(dropped);
            let start = now();
            let waits = group.spawn_ok(wait_all_blocked());
            let cancelled = cancel_scope(|scope| async move {
                scope.cancel("stop");
                wait_all_blocked().await;
            });
            assert!(cancelled.await.cause().is_some());
            assert!(waits.join().await.is_ok());
            assert!(now() - start < SECOND);
            Ok(())
        }),
    );
}

#[test]
fn other_backends_say_that_they_cannot_tell() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let options = RunOptions::default().threads(Threads::One);
        let root = Root::new().backend(backend).options(options);
        let panic = catch_unwind(AssertUnwindSafe(|| root.block_on(wait_all_blocked())));
        let message = panic.expect_err("it cannot");
        let message = message.downcast_ref::<String>().expect("it has words");
        assert!(message.contains(backend.name()), "{message}");
        assert!(message.contains("simulator"), "{message}");
    }
}
