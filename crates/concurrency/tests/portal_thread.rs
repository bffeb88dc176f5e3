//! A portal into a thread of its own, for programs that have no tasks otherwise.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CauseKind, Close, GroupError, Portal, PortalError, Root, current_task, sleep, sleep_forever,
    task_group, yield_now,
};
use every_backend::every_backend;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

every_backend!(
    real:
    the_thread_has_ended_when_the_closure_returns,
    a_panic_of_the_closure_cancels_and_waits,
    a_task_of_another_root_may_have_one,
    many_threads_call_at_once,
    a_portal_that_survives_is_closed,
);

fn backend_of(root: Root) -> Backend {
    root.block_on(async { Backend::current().expect("it runs") })
}

// TH18
fn the_thread_has_ended_when_the_closure_returns(root: Root) {
    let backend = backend_of(root);
    let (alive, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (counts, flag) = (alive.clone(), done.clone());
    let ended = Arc::new(AtomicBool::new(false));
    let sets = ended.clone();
    let (value, there): (u8, ThreadId) = Portal::thread(backend, |portal| {
        let there = portal.call(move || async move {
            assert!(current_task().is_some());
            OnExit::of_this_thread(sets);
            thread::current().id()
        });
        let value = portal.call(|| async {
            sleep(Duration::from_millis(1)).await;
            7
        });
        // Nobody joins it: it is waited for.
        drop(portal.spawn(move || async move {
            let _alive = Alive::new(&counts);
            for _ in 0..100 {
                yield_now().await;
            }
            flag.store(true, Ordering::SeqCst);
        }));
        (value.expect("it is called"), there.expect("it is called"))
    });
    assert_eq!(value, 7);
    assert_ne!(there, thread::current().id());
    assert!(
        done.load(Ordering::SeqCst),
        "what was called ran to its end"
    );
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    if backend.capabilities().drops_tasks_on_exit {
        // Its only thread ran the task; where the executor is the process's, others may.
        assert!(ended.load(Ordering::SeqCst), "the thread was joined");
    }
}

/// Notes the end of a thread.
struct OnExit(Arc<AtomicBool>);

impl OnExit {
    fn of_this_thread(flag: Arc<AtomicBool>) {
        thread_local! {
            static EXIT: std::cell::RefCell<Option<OnExit>> = const { std::cell::RefCell::new(None) };
        }
        EXIT.set(Some(OnExit(flag)));
    }
}

impl Drop for OnExit {
    fn drop(&mut self) {
        // Late enough for whoever does not wait for the thread.
        (0..1000).for_each(|_| thread::yield_now());
        self.0.store(true, Ordering::SeqCst);
    }
}

// TH18
fn a_panic_of_the_closure_cancels_and_waits(root: Root) {
    let backend = backend_of(root);
    let alive = Arc::new(AtomicUsize::new(0));
    let (counts, started) = (alive.clone(), Arc::new(Event::new()));
    let starts = started.clone();
    let ended = Arc::new(AtomicBool::new(false));
    let sets = ended.clone();
    let mut handle = None;
    let kept = &mut handle;
    let thread = || {
        Portal::thread(backend, |portal| {
            *kept = Some(portal.spawn(move || async move {
                let _alive = Alive::new(&counts);
                OnExit::of_this_thread(sets);
                starts.set();
                sleep_forever().await
            }));
            started.wait_blocking();
            panic!("in front of the portal");
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(thread)).map(|(): ()| ());
    let panic = panic.expect_err("it goes on");
    assert_eq!(panic.downcast_ref(), Some(&"in front of the portal"));
    assert_eq!(alive.load(Ordering::SeqCst), 0, "it was waited for");
    if backend.capabilities().drops_tasks_on_exit {
        // As above.
        assert!(ended.load(Ordering::SeqCst), "the thread was joined");
    }
    let joined = handle.map(|handle| handle.join_blocking());
    let Some(Err(PortalError::Cancelled(cause))) = joined else {
        panic!("it was cancelled");
    };
    assert_eq!(cause.kind(), CauseKind::HostFailed);
}

// TH18
fn a_task_of_another_root_may_have_one(root: Root) {
    let result: Result<_, GroupError<()>> = root.block_on(task_group(|_| async {
        // It blocks this loop, and no other.
        let backend = Backend::current().expect("it runs");
        let called = Portal::thread(backend, |portal| {
            portal.call(|| async {
                sleep(Duration::from_millis(1)).await;
                7
            })
        });
        Ok(called.ok())
    }));
    assert_eq!(result.expect("nothing fails"), Some(7));
}

// TH18
fn many_threads_call_at_once(root: Root) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    Portal::thread(backend_of(root), move |portal| {
        thread::scope(|scope| {
            for _ in 0..8 {
                let (portal, count) = (portal.clone(), &count);
                scope.spawn(move || {
                    for _ in 0..100 {
                        let count = count.clone();
                        let call = portal.call(move || async move {
                            yield_now().await;
                            count.fetch_add(1, Ordering::SeqCst);
                        });
                        call.expect("it is called");
                    }
                });
            }
        });
    });
    assert_eq!(counted.load(Ordering::SeqCst), 800);
}

// TH13, TH18
fn a_portal_that_survives_is_closed(root: Root) {
    let survivor = Portal::thread(backend_of(root), |portal| portal);
    assert!(matches!(
        survivor.call(|| async {}),
        Err(PortalError::Closed)
    ));
    survivor.close(Close::Cancel);
}

#[test]
fn a_simulated_backend_is_refused() {
    let mut called = false;
    let portal = || Portal::thread(Backend::Sim, |_| called = true);
    let refused = catch_unwind(AssertUnwindSafe(portal)).expect_err("it panics");
    let text = refused.downcast_ref::<String>().expect("it has a text");
    assert!(text.contains("a simulated world has one thread"), "{text}");
    assert!(!called);
}
