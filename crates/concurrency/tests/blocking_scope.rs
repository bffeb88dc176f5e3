//! Parallel children of code that is in no task.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::sync::{Barrier, Event};
use bowline_concurrency::{
    BlockingScopeError, CauseKind, JoinError, Root, blocking_scope, check_cancelled, current_task,
    run_in_thread, sleep, sleep_forever, yield_now,
};
use every_backend::every_backend;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

every_backend!(
    inside_a_task_it_is_refused;
    real:
    two_children_write_two_halves,
    a_child_is_joined_or_cancelled,
    a_child_may_start_others,
    a_panic_of_a_child_ends_the_others,
    a_panic_of_the_body_ends_the_children,
    cancelling_the_scope_reaches_those_to_come,
    a_closure_on_a_thread_may_have_one,
);

/// The backend of a root that has nothing to do with the case.
fn backend_of(root: Root) -> Backend {
    root.block_on(async { Backend::current().expect("it runs") })
}

// TH19
fn two_children_write_two_halves(root: Root) {
    let mut numbers = vec![0; 1000];
    let (left, right) = numbers.split_at_mut(500);
    let together = Barrier::new(2).expect("two is allowed");
    let done = blocking_scope(backend_of(root), |scope| {
        for (half, value) in [(left, 1), (right, 2)] {
            let together = &together;
            scope.spawn(move || async move {
                // Not `Send`: the future stays on the thread of its child.
                let local = Rc::new(Cell::new(value));
                for number in half {
                    *number = local.get();
                    if *number == 1 {
                        yield_now().await;
                    }
                }
                // Neither ends before the other has come as far.
                together.wait().await;
                sleep(Duration::from_millis(1)).await;
                assert!(current_task().is_some());
            });
        }
        "started"
    });
    assert_eq!(done, Ok("started"));
    let expected: Vec<i32> = [1, 2].iter().flat_map(|n| [*n; 500]).collect();
    assert_eq!(numbers, expected);
}

// TH20
fn inside_a_task_it_is_refused(root: Root) {
    let ran = root.block_on(async {
        let mut ran = false;
        let result = blocking_scope(Backend::Smol, |_| ran = true);
        assert_eq!(result, Err(BlockingScopeError::WouldDeadlock));
        ran
    });
    assert!(!ran, "the closure was not called");
}

fn a_child_is_joined_or_cancelled(root: Root) {
    let text = String::from("borrowed");
    let result = blocking_scope(backend_of(root), |scope| {
        let value = scope.spawn(|| async { text.len() });
        let stuck = scope.spawn(|| async { sleep_forever().await });
        assert!(!stuck.is_finished());
        assert!(stuck.cancel("enough"));
        assert!(!stuck.cancel("again"));
        let Err(JoinError::Cancelled(cause)) = stuck.join() else {
            panic!("it was cancelled");
        };
        assert_eq!(
            (cause.kind(), cause.reason()),
            (CauseKind::Explicit, "enough")
        );
        value.join().expect("it is not concerned")
    });
    assert_eq!(result, Ok(8));
}

fn a_child_may_start_others(root: Root) {
    let count = AtomicUsize::new(0);
    blocking_scope(backend_of(root), |scope| {
        let (count, inner) = (&count, scope.clone());
        scope.spawn(move || async move {
            for _ in 0..3 {
                inner.spawn(move || async move { count.fetch_add(1, Ordering::SeqCst) });
            }
        });
    })
    .expect("this is no task");
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

/// Counts the children that are cut, with the cause they see.
struct Cut<'a>(&'a AtomicUsize, CauseKind);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if check_cancelled().is_err_and(|cause| cause.kind() == self.1) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

// A child's panic, as in a task group: the others end first, then it goes on.
fn a_panic_of_a_child_ends_the_others(root: Root) {
    let cut = AtomicUsize::new(0);
    let backend = backend_of(root);
    let scope = || {
        blocking_scope(backend, |scope| {
            for _ in 0..2 {
                scope.spawn(|| async {
                    let _cut = Cut(&cut, CauseKind::SiblingFailed);
                    sleep_forever().await;
                });
            }
            let fails = scope.spawn(|| async { panic!("it fails") });
            let joined: Result<(), JoinError> = fails.join();
            assert!(matches!(joined, Err(JoinError::Panicked)));
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(scope)).expect_err("it goes on");
    assert_eq!(panic.downcast_ref(), Some(&"it fails"));
    assert_eq!(cut.load(Ordering::SeqCst), 2);
}

fn a_panic_of_the_body_ends_the_children(root: Root) {
    let cut = AtomicUsize::new(0);
    let backend = backend_of(root);
    let scope = || {
        blocking_scope(backend, |scope| {
            scope.spawn(|| async {
                let _cut = Cut(&cut, CauseKind::HostFailed);
                sleep_forever().await;
            });
            panic!("in the body");
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(scope)).expect_err("it goes on");
    assert_eq!(panic.downcast_ref(), Some(&"in the body"));
    assert_eq!(cut.load(Ordering::SeqCst), 1);
}

fn cancelling_the_scope_reaches_those_to_come(root: Root) {
    blocking_scope(backend_of(root), |scope| {
        let early = scope.spawn(|| async { sleep_forever().await });
        scope.cancel("all");
        let late = scope.spawn(|| async { sleep_forever().await });
        for child in [early.join().map(|_| ()), late.join().map(|_| ())] {
            let Err(JoinError::Cancelled(cause)) = child else {
                panic!("it was cancelled");
            };
            assert_eq!(cause.reason(), "all");
        }
        // What completes in its one poll does.
        assert_eq!(scope.spawn(|| async { 7 }).join().ok(), Some(7));
    })
    .expect("this is no task");
}

// TH20
fn a_closure_on_a_thread_may_have_one(root: Root) {
    root.block_on(async {
        let backend = Backend::current().expect("it runs");
        let sum = run_in_thread(move || {
            let (left, right) = (Event::new(), Event::new());
            blocking_scope(backend, |scope| {
                // Each waits for the other: they are parallel.
                let one = scope.spawn(|| async {
                    left.set();
                    right.wait().await;
                    1
                });
                let two = scope.spawn(|| async {
                    right.set();
                    left.wait().await;
                    2
                });
                Some(one.join().ok()? + two.join().ok()?)
            })
        });
        assert_eq!(sum.await, Ok(Some(3)));
    });
}

#[test]
fn a_simulated_backend_is_refused() {
    let mut ran = false;
    let scope = || {
        blocking_scope(Backend::Sim, |scope| {
            ran = true;
            scope.spawn(|| async {});
        })
    };
    let refused = catch_unwind(AssertUnwindSafe(scope)).expect_err("it panics");
    let text = refused.downcast_ref::<String>().expect("it has a text");
    assert!(text.contains("a simulated world has one thread"), "{text}");
    assert!(!ran);
}
