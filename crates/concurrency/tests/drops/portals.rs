//! Portals: a call goes on, whoever stops waiting for it, and a portal that goes waits for none.

use super::alive::Alive;
use super::tasks::Until;
use bowline_backend::Backend;
use bowline_concurrency::{GroupError, Portal, Root, run_in_thread, yield_now};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Those with threads.
const BACKENDS: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::AsyncStd];

// CP8
#[test]
fn a_call_goes_on_without_its_caller() {
    for backend in BACKENDS {
        let elsewhere = match backend {
            Backend::Tokio => Backend::Smol,
            _ => Backend::Tokio,
        };
        let mut calls = 0;
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begins, ends) = (begun.clone(), ended.clone());
        Portal::thread(backend, |portal| {
            for awaits in 0.. {
                let (begins, ends) = (begins.clone(), ends.clone());
                let call = portal.spawn(|| async move {
                    begins.fetch_add(1, Ordering::SeqCst);
                    for _ in 0..3 {
                        yield_now().await;
                    }
                    ends.fetch_add(1, Ordering::SeqCst);
                    7
                });
                calls += 1;
                let join = async move { assert!(matches!(call.join().await, Ok(7))) };
                let join = Until::new(Box::pin(join), awaits + 1);
                // Polled where the portal is not.
                if elsewhere.block_on(join) {
                    break;
                }
                assert!(matches!(portal.call_sync(|| 8), Ok(8)), "it goes on");
            }
        });
        let seen = [begun, ended].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(seen, [calls, calls], "the end of the portal waits for all");
    }
}

// CP8
#[test]
fn a_dropped_portal_leaves_nothing_behind() {
    for backend in BACKENDS {
        for awaits in 0.. {
            let alive = Arc::new(AtomicUsize::new(0));
            let counter = alive.clone();
            let open = async move {
                let opened: Result<(), GroupError<()>> = Portal::open(|portal| async move {
                    let calls = portal.clone();
                    let probe = Alive::new(&counter);
                    let called = run_in_thread(move || {
                        let call = calls.call(|| async move {
                            let _probe = probe;
                            for _ in 0..3 {
                                yield_now().await;
                            }
                        });
                        // Its caller was dropped, and the portal with it.
                        let _ = call;
                    });
                    called.await;
                    yield_now().await;
                    Ok(())
                })
                .await;
                assert!(opened.is_ok());
            };
            let root = Root::new().backend(backend);
            let completed = root.block_on(Until::new(Box::pin(open), awaits + 1));
            assert_eq!(alive.load(Ordering::SeqCst), 0, "on {backend}");
            if completed {
                assert!(awaits >= 1, "it waits for the call");
                break;
            }
        }
    }
}
