//! Cancel points and schedule points, and what is frozen between them.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::sync::{Event, Lock, Semaphore};
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, Root, SpawnError, cancel_scope, cancelled, check_cancelled,
    checkpoint, checkpoint_if_cancelled, current_effective_deadline, is_cancelled, now, shield,
    sleep, sleep_until, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::{FutureExt, join, poll_fn, poll_immediate};
use std::future::ready;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

every_backend!(
    a_checkpoint_yields_once,
    a_cancelled_checkpoint_never_returns,
    a_yield_is_no_cancel_point,
    leaving_an_empty_group_yields_once,
    what_does_not_suspend_is_no_checkpoint,
    a_leaf_behind_the_cancel_drops_the_body_in_that_poll,
    a_frozen_leaf_registers_nothing,
    nothing_is_cancelled_outside_of_scopes,
    an_eager_scope_gives_no_last_poll,
);

/// How often a future was pending before it was ready.
async fn yields<F: Future>(future: F) -> usize {
    let mut future = pin!(future);
    let mut pending = 0;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(pending),
        Poll::Pending => {
            pending += 1;
            Poll::Pending
        }
    })
    .await
}

// CP1
fn a_checkpoint_yields_once(root: Root) {
    root.block_on(async {
        assert_eq!(yields(checkpoint()).await, 1);
        assert_eq!(yields(checkpoint_if_cancelled()).await, 0);
    });
}

// CP2
fn a_cancelled_checkpoint_never_returns(root: Root) {
    let polls = AtomicUsize::new(0);
    root.block_on(async {
        for cancel_point in [true, false] {
            let outcome = cancel_scope(|scope| {
                let polls = &polls;
                async move {
                    scope.cancel("before");
                    let mut both: Pin<Box<dyn Future<Output = ()> + Send>> = match cancel_point {
                        true => Box::pin(checkpoint()),
                        false => Box::pin(checkpoint_if_cancelled()),
                    };
                    poll_fn(|cx| {
                        polls.fetch_add(1, Ordering::SeqCst);
                        both.as_mut().poll(cx)
                    })
                    .await;
                    unreachable!("behind a cancelled checkpoint");
                }
            });
            assert!(outcome.await.cause().is_some());
        }
    });
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

// CP3
fn a_yield_is_no_cancel_point(root: Root) {
    let outcome = root.block_on(cancel_scope(|scope| async move {
        scope.cancel("before");
        let mut turn = pin!(yield_now());
        // Both polls in one of the body, which would be dropped at its own `Pending`.
        poll_fn(|cx| {
            assert!(turn.as_mut().poll(cx).is_pending());
            assert!(turn.as_mut().poll(cx).is_ready());
            Poll::Ready(())
        })
        .await;
    }));
    assert!(outcome.done().is_some());
}

// CP7
fn leaving_an_empty_group_yields_once(root: Root) {
    root.block_on(async {
        let empty = task_group::<_, (), _, _>(|_| ready(Ok(7)));
        assert_eq!(yields(empty).await, 1);
        let failed = task_group::<(), _, _, _>(|_| ready(Err("no")));
        assert_eq!(yields(failed).await, 1);
        // Only the body's own wait comes on top.
        let late = task_group::<_, (), _, _>(|_| yield_now().map(Ok));
        assert_eq!(yields(late).await, 2);
        let cancelled = task_group::<(), (), _, _>(|group| async move {
            group.cancel("x");
            sleep(Duration::ZERO).await;
            Ok(())
        });
        assert_eq!(yields(cancelled).await, 1);
        // Others run before it returns, and nobody comes in any more.
        let handle = OnceLock::new();
        let mut group = pin!(task_group::<_, (), _, _>(|group| {
            let _ = handle.set(group);
            ready(Ok(()))
        }));
        assert!(poll_immediate(group.as_mut()).await.is_none());
        let handle = handle.get().expect("the body ran");
        let late = handle.try_spawn(ready(Ok(())));
        assert!(matches!(late, Err(SpawnError::Closed(_))));
        assert!(group.await.is_ok());
    });
    // Cancelled from outside it yields, too, and the code behind it does not run.
    let polls = AtomicUsize::new(0);
    let cut = cancel_scope(|scope| {
        let polls = &polls;
        async move {
            scope.cancel("outer");
            let mut group = pin!(task_group::<_, (), _, _>(|_| ready(Ok(()))));
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::SeqCst);
                group.as_mut().poll(cx)
            })
            .await
        }
    });
    let root = Root::new().backend(Backend::Smol);
    assert!(root.block_on(cut).cause().is_some());
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

// CP4
fn what_does_not_suspend_is_no_checkpoint(root: Root) {
    let outcome = root.block_on(cancel_scope(|scope| async move {
        let (event, lock) = (Event::new(), Lock::new(0));
        let semaphore = Semaphore::new(1);
        let group = task_group::<_, (), _, _>(|group| {
            let ran = async move {
                scope.cancel("from now on");
                event.set();
                event.reset();
                drop(lock.try_lock());
                drop(semaphore.try_acquire());
                group.spawn_ok(ready(1));
                assert!(group.try_spawn(ready(Ok(2))).is_ok());
                group.cancel("this too");
                Ok(7)
            };
            let mut ran = Box::pin(ran);
            poll_fn(move |_| Poll::Ready(ran.as_mut().now_or_never().expect("it suspended")))
        });
        group.await.ok()
    }));
    assert!(outcome.cause().is_some(), "a group waits for its children");
}

// CS6
fn a_leaf_behind_the_cancel_drops_the_body_in_that_poll(root: Root) {
    struct Gone<'a>(&'a AtomicBool);
    impl Drop for Gone<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let gone = AtomicBool::new(false);
    root.block_on(async {
        let mut run = Box::pin(cancel_scope(|scope| {
            let gone = Gone(&gone);
            async move {
                let _gone = gone;
                scope.cancel("itself");
                sleep(Duration::from_millis(1)).await;
                unreachable!("it resumed");
            }
        }));
        poll_fn(|cx| {
            let Poll::Ready(outcome) = run.as_mut().poll(cx) else {
                panic!("not in that poll");
            };
            assert!(gone.load(Ordering::SeqCst));
            Poll::Ready(outcome.into_result())
        })
        .await
        .expect_err("it was cancelled");
    });
}

struct Silent;

impl Wake for Silent {
    fn wake(self: Arc<Self>) {
        panic!("a frozen leaf was woken");
    }
}

// CS7
fn a_frozen_leaf_registers_nothing(root: Root) {
    let outcome = root.block_on(cancel_scope(|scope| async move {
        scope.cancel("before");
        let (event, lock, semaphore) = (Event::new(), Lock::new(0), Semaphore::new(1));
        let leaves: [Pin<Box<dyn Future<Output = ()> + Send + '_>>; 6] = [
            Box::pin(sleep(Duration::ZERO)),
            Box::pin(sleep_until(now())),
            Box::pin(checkpoint()),
            Box::pin(event.wait()),
            Box::pin(lock.lock().map(drop)),
            Box::pin(semaphore.acquire().map(drop)),
        ];
        event.set();
        for mut leaf in leaves {
            let silent = Arc::new(Silent);
            let waker = Waker::from(silent.clone());
            for _ in 0..3 {
                let mut cx = Context::from_waker(&waker);
                assert!(leaf.as_mut().poll(&mut cx).is_pending());
                assert_eq!(Arc::strong_count(&silent), 2, "ours and the waker");
            }
        }
        assert_eq!(ready(7).await, 7);
    }));
    assert!(outcome.done().is_some());
}

// CS54
fn nothing_is_cancelled_outside_of_scopes(root: Root) {
    fn outside() {
        assert!(!is_cancelled());
        assert!(check_cancelled().is_ok());
        assert!(cancelled().now_or_never().is_none());
        assert_eq!(current_effective_deadline(), Deadline::Never);
    }
    outside();
    let outcome = root.block_on(cancel_scope(|scope| async move {
        outside();
        scope.cancel("inside");
        assert!(is_cancelled());
        assert_eq!(current_effective_deadline(), Deadline::Cancelled);
        let cause = check_cancelled().expect_err("it is cancelled");
        assert_eq!(cause.kind(), CauseKind::Explicit);
        assert_eq!(cancelled().await.reason(), "inside");
    }));
    assert!(outcome.done().is_some());
    outside();
}

// CS53
fn an_eager_scope_gives_no_last_poll(root: Root) {
    fn polls(root: Root, scope: CancelScope) -> usize {
        let polls = AtomicUsize::new(0);
        root.block_on(async {
            let handle = scope.handle();
            let mut run = Box::pin(scope.run(poll_fn(|_| {
                polls.fetch_add(1, Ordering::SeqCst);
                Poll::<()>::Pending
            })));
            assert!(run.as_mut().now_or_never().is_none());
            handle.cancel("after its first poll");
            assert!(run.await.cause().is_some());
        });
        polls.load(Ordering::SeqCst)
    }
    assert_eq!(polls(root, CancelScope::new().eager_drop()), 1);
    let other = Root::new().backend(bowline_backend::Backend::Sim);
    assert_eq!(polls(other, CancelScope::new()), 2);
}

// CP5
#[test]
fn a_sleep_that_a_cancel_froze_stays_so_behind_a_later_one() {
    const SECOND: Duration = Duration::from_secs(1);
    let woken = AtomicBool::new(false);
    let outer = CancelScope::new().timeout(SECOND).run(async {
        let inner = CancelScope::new();
        let handle = inner.handle();
        let outcome = inner.run(async {
            let sleeps = async {
                sleep(2 * SECOND).await;
                woken.store(true, Ordering::SeqCst);
            };
            // Its time comes between the outer cancel, which froze it, and the inner one; then only
            // the inner one is to be seen.
            let holds = shield(async {
                sleep(3 * SECOND).await;
                handle.cancel("inner");
                handle.raise_shield();
                sleep(SECOND).await;
            });
            join(sleeps, holds).await
        });
        assert_eq!(outcome.await.cause().map(|c| c.reason()), Some("inner"));
    });
    let outcome = Root::new().backend(Backend::Sim).block_on(outer);
    assert!(outcome.done().is_some(), "the body ends in its last poll");
    assert!(!woken.load(Ordering::SeqCst));
}
