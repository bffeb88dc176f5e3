//! Tasks: dropping who waits for them loses none, and every one is waited for.

use super::alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    Root, Started, TaskGroup, critical, sleep, sleep_forever, task_group, yield_now,
};
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Polls a future until it was pending so often, then drops it; whether it completed before.
pub(crate) struct Until<'a>(Option<BoxFuture<'a, ()>>, usize);

impl<'a> Until<'a> {
    pub(crate) fn new(future: BoxFuture<'a, ()>, polls: usize) -> Until<'a> {
        Until(Some(future), polls)
    }
}

impl Future for Until<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(future) = &mut self.0 else {
            return Poll::Ready(false);
        };
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        self.1 -= 1;
        if self.1 > 0 {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(false)
    }
}

/// As `explore_drops`, in a root, which has returned when `check` is called.
fn explore<'a>(make: impl Fn() -> (BoxFuture<'a, ()>, Box<dyn FnOnce() + 'a>)) -> usize {
    for awaits in 0.. {
        let (future, check) = make();
        let root = Root::new().backend(Backend::Sim);
        let completed = root.block_on(Until(Some(future), awaits + 1));
        check();
        if completed {
            return awaits;
        }
    }
    unreachable!("it completes at last")
}

/// Children of a group that goes on: what one of them waits for is dropped half-way.
type Wait = fn(TaskGroup<()>) -> BoxFuture<'static, ()>;

/// Drops `wait` at each of its awaits, in a group of two; then there is room for two again.
fn explore_in_group(wait: Wait) -> usize {
    for awaits in 0.. {
        let group = TaskGroup::builder().max_children(2);
        let result = group.run(|group| async move {
            let completed = Until(Some(wait(group.clone())), awaits + 1).await;
            sleep(60 * SECOND).await;
            assert_eq!(group.statistics().live, 0, "each child has ended");
            for _ in 0..2 {
                assert!(
                    group.try_spawn(async { Ok(()) }).is_ok(),
                    "its place is free"
                );
            }
            let end = group.statistics();
            assert_eq!(end.spawned, end.live + end.done + end.cancelled);
            Ok::<_, ()>(completed)
        });
        let root = Root::new().backend(Backend::Sim);
        if root.block_on(result).expect("no child fails") {
            return awaits;
        }
    }
    unreachable!("it completes at last")
}

// CP8
#[test]
fn groups() {
    let awaits = explore(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let counter = alive.clone();
        let work = task_group::<_, (), _, _>(move |group| async move {
            for _ in 0..3 {
                let probe = Alive::new(&counter);
                group.spawn_ok(async move {
                    let _probe = probe;
                    yield_now().await;
                    sleep(SECOND).await;
                });
            }
            sleep(SECOND / 2).await;
            Ok(())
        });
        let work = async { assert!(work.await.is_ok()) };
        let check = move || assert_eq!(alive.load(Ordering::SeqCst), 0);
        (Box::pin(work), Box::new(check))
    });
    assert!(awaits >= 2, "in the body, and in the wait for its children");
}

// CP8
#[test]
fn critical_work() {
    let awaits = explore(|| {
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begins, ends) = (begun.clone(), ended.clone());
        let work = critical(async move {
            begins.fetch_add(1, Ordering::SeqCst);
            yield_now().await;
            sleep(SECOND).await;
            ends.fetch_add(1, Ordering::SeqCst);
        });
        let check = move || {
            assert_eq!(begun.load(Ordering::SeqCst), 1);
            assert_eq!(ended.load(Ordering::SeqCst), 1, "it ends, whoever waits");
        };
        (Box::pin(work), Box::new(check))
    });
    assert!(awaits >= 1);
}

// CP8
#[test]
fn waits_for_children() {
    let waits: [(Wait, usize); 5] = [
        (
            |group| {
                Box::pin(async move {
                    let child = group.spawn_ok(sleep(SECOND));
                    assert!(child.join().await.is_ok());
                })
            },
            1,
        ),
        (
            |group| {
                Box::pin(async move {
                    let child = group.spawn_ok(sleep(SECOND));
                    assert!(child.wait().await.has_ended());
                })
            },
            1,
        ),
        (
            |group| {
                Box::pin(async move {
                    let child = group.spawn_ok(async {
                        sleep(SECOND).await;
                        yield_now().await;
                    });
                    assert!(child.join_or_cancel().await.is_ok());
                })
            },
            1,
        ),
        (
            |group| {
                Box::pin(async move {
                    let start = group.start(|started: Started<u8>| async move {
                        sleep(SECOND).await;
                        assert!(started.send(7).is_ok());
                        yield_now().await;
                        Ok(())
                    });
                    assert!(start.await.is_ok());
                })
            },
            1,
        ),
        (
            |group| {
                Box::pin(async move {
                    for _ in 0..4 {
                        let slot = group.admit().await.expect("the group is open");
                        yield_now().await;
                        slot.spawn_ok(sleep(SECOND));
                    }
                })
            },
            5,
        ),
    ];
    for (wait, awaits) in waits {
        assert_eq!(explore_in_group(wait), awaits);
    }
}

// CP8
#[test]
fn a_dropped_start_leaves_no_child_behind() {
    let awaits = explore(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let counter = alive.clone();
        let work = task_group::<_, (), _, _>(move |group| async move {
            let probe = Alive::new(&counter);
            let start = group.start(|started: Started<()>| async move {
                let _probe = probe;
                yield_now().await;
                let _ = started.send(());
                sleep_forever().await;
                Ok(())
            });
            let (child, ()) = start.await.map_err(|_| ())?;
            child.cancel("enough");
            Ok(())
        });
        let work = async { assert!(work.await.is_ok()) };
        let check = move || assert_eq!(alive.load(Ordering::SeqCst), 0);
        (Box::pin(work), Box::new(check))
    });
    assert!(awaits >= 2);
}
