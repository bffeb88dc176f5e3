//! Panics in the tasks of a group.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_concurrency::{
    ChildErrorKind, PanicPolicy, Root, TaskGroup, sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

every_backend!(
    a_panic_resumes_after_the_others_ended,
    a_panic_can_be_collected,
    a_panic_of_the_body_waits_for_the_children,
    a_panic_in_a_destructor_is_counted,
);

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
