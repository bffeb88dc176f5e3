//! When the children of a scope are gone: at its end, at a cancel, at a panic, at a foreign drop.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CauseKind, Deadline, GroupError, JoinError, Root, Scope, ScopeHandle, TaskStatus, cancel_scope,
    checkpoint, checkpoint_if_cancelled, is_cancelled, now, on_cancel, scope, shield, sleep,
    sleep_forever, timeout, yield_now,
};
use every_backend::every_backend;
use futures_util::FutureExt;
use futures_util::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

every_backend!(
    a_foreign_drop_drops_every_child,
    a_panic_waits_until_the_others_are_gone,
    a_shielded_child_is_awaited,
    children_with_the_handle_do_not_leak,
    many_children_are_cancelled,
    a_child_that_cancels_itself_stops_there,
    a_child_parked_elsewhere_hears_its_cancel,
    finalisers_of_children_run_first,
    finalisers_of_a_dropped_scope_run_on_the_root,
    a_destructor_that_panics_keeps_no_sibling,
);

/// Polls once.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.poll_unpin(cx))).await
}

// TG39
fn a_foreign_drop_drops_every_child(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let mut kept = None;
        let running = scope::<(), (), _, _>(|scope| {
            let (alive, kept) = (alive.clone(), &mut kept);
            async move {
                let _body = Alive::new(&alive);
                for _ in 0..100 {
                    let probe = Alive::new(&alive);
                    scope.spawn_ok(async move {
                        let _probe = probe;
                        shield(sleep_forever()).await
                    });
                }
                let probe = Alive::new(&alive);
                *kept = Some(scope.spawn_ok(async move { drop(probe) }));
                sleep_forever().await;
                Ok(())
            }
        });
        let mut running = Box::pin(running);
        assert!(once(&mut running).await.is_pending());
        // Some were polled, others wait for their first turn.
        assert_eq!(alive.load(Ordering::SeqCst), 102);
        drop(running);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        let kept = kept.expect("the body was polled");
        match kept.join().await {
            Err(JoinError::Cancelled(cause)) => assert_eq!(cause.kind(), CauseKind::Dropped),
            other => panic!("{other:?}"),
        }
    });
}

// TG39
fn a_panic_waits_until_the_others_are_gone(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let finished = AtomicBool::new(false);
        let panicking = scope::<(), (), _, _>(|scope| {
            let (alive, finished) = (alive.clone(), &finished);
            async move {
                let _body = Alive::new(&alive);
                for _ in 0..5 {
                    let probe = Alive::new(&alive);
                    scope.spawn_ok(async move {
                        let _probe = probe;
                        sleep_forever().await
                    });
                }
                let probe = Alive::new(&alive);
                scope.spawn_ok(shield(async move {
                    let _probe = probe;
                    sleep(MS).await;
                    finished.store(true, Ordering::SeqCst);
                }));
                scope.spawn_ok(async {
                    yield_now().await;
                    panic!("child")
                });
                sleep_forever().await;
                Ok(())
            }
        });
        let caught = AssertUnwindSafe(panicking).catch_unwind().await;
        let payload = caught.expect_err("the panic goes on");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"child"));
        assert_eq!(alive.load(Ordering::SeqCst), 0, "the panic overtook them");
        assert!(finished.load(Ordering::SeqCst));
    });
}

// TG40
fn a_shielded_child_is_awaited(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let finished = AtomicBool::new(false);
        let result = scope::<(), (), _, _>(|scope| {
            let (alive, finished) = (alive.clone(), &finished);
            async move {
                let _body = Alive::new(&alive);
                for _ in 0..3 {
                    let probe = Alive::new(&alive);
                    scope.spawn_ok(async move {
                        let _probe = probe;
                        sleep_forever().await
                    });
                }
                let alive = alive.clone();
                let (canceller, gone) = (scope.clone(), Event::new());
                scope.spawn_ok(async move {
                    shield(async {
                        yield_now().await;
                        canceller.cancel("enough");
                        // Only once the others are gone, the body too.
                        while alive.load(Ordering::SeqCst) > 0 {
                            checkpoint().await;
                        }
                        gone.set();
                        sleep(MS).await;
                    })
                    .await;
                    finished.store(gone.is_set(), Ordering::SeqCst);
                });
                sleep_forever().await;
                Ok(())
            }
        });
        let error = result.await.expect_err("it was cancelled");
        assert!(error.is_cancelled());
        assert_eq!(error.cause().map(|cause| cause.reason()), Some("enough"));
        assert!(
            finished.load(Ordering::SeqCst),
            "the shielded child was cut"
        );
    });
}

// TG41
fn children_with_the_handle_do_not_leak(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let crowd = |scope: Scope<'static, ()>, polled: bool| {
            for _ in 0..3 {
                let (probe, own) = (Alive::new(&alive), scope.clone());
                scope.spawn_ok(async move {
                    let _probe = (probe, own);
                    if polled {
                        sleep_forever().await;
                    }
                });
            }
        };
        // Ended, by itself and by a cancel.
        let ended = scope(|scope| {
            crowd(scope, false);
            async { Ok::<_, ()>(()) }
        });
        assert!(ended.await.is_ok());
        let cancelled = scope(|scope| {
            crowd(scope.clone(), true);
            async move {
                yield_now().await;
                scope.cancel("enough");
                Ok::<_, ()>(())
            }
        });
        assert!(cancelled.await.is_ok());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        // Dropped, with some polled and some not, and a handle that lives on.
        let left = Mutex::new(None);
        let dropped = scope(|scope| {
            *left.lock().unwrap() = Some(scope.clone());
            crowd(scope.clone(), true);
            async move {
                yield_now().await;
                yield_now().await;
                crowd(scope, false);
                sleep_forever().await;
                Ok::<_, ()>(())
            }
        });
        let mut dropped = Box::pin(dropped);
        for _ in 0..2 {
            assert!(once(&mut dropped).await.is_pending());
        }
        let left = left.lock().unwrap().take().expect("the body was made");
        crowd(left.clone(), true);
        assert_eq!(alive.load(Ordering::SeqCst), 6);
        drop(dropped);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        crowd(left.clone(), true);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "it takes nobody any more");
        // Never polled.
        drop(scope(|scope| {
            crowd(scope, true);
            async { Ok::<_, ()>(()) }
        }));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

fn many_children_are_cancelled(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let polls = AtomicUsize::new(0);
        let outcome = cancel_scope(|outer| {
            let (alive, polls) = (&alive, &polls);
            async move {
                let result = scope::<(), (), _, _>(|scope| async move {
                    for _ in 0..1000 {
                        let probe = Alive::new(alive);
                        scope.spawn_ok(async move {
                            let _probe = probe;
                            polls.fetch_add(1, Ordering::SeqCst);
                            sleep_forever().await
                        });
                    }
                    yield_now().await;
                    scope.cancel("all");
                    sleep_forever().await;
                    Ok(())
                });
                assert!(result.await.expect_err("it was cancelled").is_cancelled());
                assert_eq!(alive.load(Ordering::SeqCst), 0);
                assert_eq!(polls.load(Ordering::SeqCst), 1000, "each is polled once");
                // From outside it never returns.
                let _ = scope::<(), (), _, _>(|scope| async move {
                    let probe = Alive::new(alive);
                    scope.spawn_ok(async move {
                        let _probe = probe;
                        sleep_forever().await
                    });
                    yield_now().await;
                    outer.cancel("outer");
                    Ok(())
                })
                .await;
                unreachable!("the outer scope returns");
            }
        });
        let cause = outcome.await.into_result().expect_err("it was cancelled");
        assert_eq!(cause.reason(), "outer");
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

fn a_child_that_cancels_itself_stops_there(root: Root) {
    root.block_on(async {
        let (own, reached) = (Mutex::new(None), AtomicUsize::new(0));
        let result: Result<_, GroupError<()>> = scope(|scope| {
            let (own, reached) = (&own, &reached);
            async move {
                let child: ScopeHandle<()> = scope.spawn_ok(async move {
                    yield_now().await;
                    let handle: ScopeHandle<()> = own.lock().unwrap().take().expect("it is there");
                    assert!(!is_cancelled());
                    handle.cancel("myself");
                    assert!(is_cancelled());
                    reached.fetch_add(1, Ordering::SeqCst);
                    checkpoint_if_cancelled().await;
                    reached.fetch_add(10, Ordering::SeqCst);
                });
                *own.lock().unwrap() = Some(child);
                Ok(is_cancelled())
            }
        })
        .await;
        assert_eq!(result.ok(), Some(false));
        assert_eq!(reached.into_inner(), 1);
    });
}

fn a_child_parked_elsewhere_hears_its_cancel(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let result: Result<_, GroupError<()>> = scope(|scope| {
            let alive = alive.clone();
            async move {
                let park = |probe| {
                    scope.spawn_ok(async move {
                        let _probe: Alive = probe;
                        std::future::pending::<()>().await;
                    })
                };
                let (first, second) = (park(Alive::new(&alive)), park(Alive::new(&alive)));
                yield_now().await;
                first.cancel("by its handle");
                assert!(matches!(first.join().await, Err(JoinError::Cancelled(_))));
                assert_eq!(alive.load(Ordering::SeqCst), 1);
                assert_eq!(second.status(), TaskStatus::Running);
                scope.cancel("all");
                assert_eq!(second.status(), TaskStatus::Cancelling);
                Ok(())
            }
        })
        .await;
        assert!(result.is_ok());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Registers a finaliser that counts, with an await in it.
async fn with_finaliser(ran: Arc<AtomicUsize>) {
    let _guard = on_cancel(move |_| async move {
        checkpoint().await;
        ran.fetch_add(1, Ordering::SeqCst);
    });
    sleep_forever().await;
}

fn finalisers_of_children_run_first(root: Root) {
    root.block_on(async {
        let ran = Arc::new(AtomicUsize::new(0));
        let result = scope::<(), (), _, _>(|scope| {
            let ran = ran.clone();
            async move {
                scope.spawn_ok(with_finaliser(ran.clone()));
                scope.spawn_ok(with_finaliser(ran.clone()));
                let canceller = scope.clone();
                scope.spawn_ok(async move {
                    yield_now().await;
                    canceller.cancel("enough");
                });
                with_finaliser(ran).await;
                Ok(())
            }
        });
        assert!(result.await.expect_err("it was cancelled").is_cancelled());
        assert_eq!(ran.load(Ordering::SeqCst), 3);
    });
}

fn finalisers_of_a_dropped_scope_run_on_the_root(root: Root) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    root.block_on(async {
        let dropped = scope::<(), (), _, _>(|scope| async move {
            scope.spawn_ok(with_finaliser(counter.clone()));
            with_finaliser(counter).await;
            Ok(())
        });
        let mut dropped = Box::pin(dropped);
        assert!(once(&mut dropped).await.is_pending());
        drop(dropped);
    });
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bomb");
    }
}

fn a_destructor_that_panics_keeps_no_sibling(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let armed = || {
            scope::<(), (), _, _>(|scope| {
                let alive = alive.clone();
                async move {
                    for n in 0..3 {
                        let probe = Alive::new(&alive);
                        let canceller = scope.clone();
                        scope.spawn_ok(async move {
                            let _probe = probe;
                            let _bomb = (n < 2).then(|| Bomb);
                            yield_now().await;
                            yield_now().await;
                            canceller.cancel("now");
                            sleep_forever().await
                        });
                    }
                    let _bomb = Bomb;
                    sleep_forever().await;
                    Ok(())
                }
            })
        };
        let caught = AssertUnwindSafe(armed()).catch_unwind().await;
        let payload = caught.expect_err("the panic goes on");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"bomb"));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        let mut dropped = Box::pin(armed());
        assert!(once(&mut dropped).await.is_pending());
        let caught = catch_unwind(AssertUnwindSafe(|| drop(dropped)));
        let payload = caught.expect_err("the panic goes on");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"bomb"));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn deadlines_reach_scopes_and_their_children() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        // Of the scope itself.
        let result = scope::<(), (), _, _>(|scope| async move {
            scope.handle().set_deadline(Deadline::At(start + 5 * MS));
            scope.spawn_ok(sleep_forever());
            sleep_forever().await;
            Ok(())
        });
        let error = result.await.expect_err("its time was over");
        assert_eq!(error.cause().map(|c| c.kind()), Some(CauseKind::Deadline));
        assert_eq!((now() - start).as_millis(), 5);
        // Around it, and in a child.
        let alive = Arc::new(AtomicUsize::new(0));
        let late = timeout(
            7 * MS,
            scope::<(), (), _, _>(|scope| {
                let alive = &alive;
                async move {
                    let child = scope.spawn_ok(timeout(3 * MS, sleep_forever()));
                    assert!(matches!(child.join().await, Ok(Err(_))));
                    assert_eq!((now() - start).as_millis(), 8);
                    let probe = Alive::new(alive);
                    scope.spawn_ok(async move {
                        let _probe = probe;
                        sleep_forever().await
                    });
                    Ok(())
                }
            }),
        );
        assert!(late.await.is_err());
        assert_eq!((now() - start).as_millis(), 12);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}
