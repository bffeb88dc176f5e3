//! Panics in the tasks of a group.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_concurrency::{
    ChildErrorKind, PanicPolicy, Policy, Root, Started, TaskGroup, sleep_forever, task_group,
    yield_now,
};
use every_backend::every_backend;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

every_backend!(
    a_panic_resumes_after_the_others_ended,
    a_panic_can_be_collected,
    a_panic_of_the_body_waits_for_the_children,
    the_first_of_several_panics_goes_on,
    errors_whose_destructors_panic_do_not_hide_a_panic,
    a_panic_in_a_destructor_is_counted,
    a_child_that_cannot_be_made_leaves_its_place_to_who_waits,
    foreign_panics_keep_no_group_waiting,
);

// TG29
fn a_panic_resumes_after_the_others_ended(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let inner = alive.clone();
    let (caught, left) = root.block_on(async {
        let group = task_group::<(), (), _, _>(|group| async move {
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
        });
        let caught = AssertUnwindSafe(group).catch_unwind().await;
        (caught, alive.load(Ordering::SeqCst))
    });
    let payload = caught.expect_err("the panic goes on in the host");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"child"));
    assert_eq!(left, 0, "the panic overtook children");
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
    let (caught, left) = root.block_on(async {
        let group = task_group::<(), (), _, _>(|group| async move {
            let probe = Alive::new(&inner);
            group.spawn_ok(async move {
                let _probe = probe;
                sleep_forever().await
            });
            yield_now().await;
            panic!("host");
        });
        let caught = AssertUnwindSafe(group).catch_unwind().await;
        (caught, alive.load(Ordering::SeqCst))
    });
    let payload = caught.expect_err("the panic goes on");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"host"));
    assert_eq!(left, 0, "the panic overtook children");
}

// TG29
fn the_first_of_several_panics_goes_on(root: Root) {
    struct Bomb(&'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::panic_any(self.0);
            }
        }
    }
    root.block_on(async {
        for collect in [false, true] {
            let policy = match collect {
                true => PanicPolicy::Collect,
                false => PanicPolicy::Resume,
            };
            let group = TaskGroup::builder().panics(policy);
            let group = group.run::<(), (), _, _>(|group| async move {
                let begun = Arc::new(AtomicBool::new(false));
                let begins = begun.clone();
                group.spawn_ok(async move {
                    let _bomb = Bomb("child");
                    begins.store(true, Ordering::SeqCst);
                    sleep_forever().await
                });
                while !begun.load(Ordering::SeqCst) {
                    yield_now().await;
                }
                panic!("host");
            });
            let caught = AssertUnwindSafe(group).catch_unwind().await;
            let payload = caught.expect_err("both panicked");
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"host"));
        }
        // And the other way round: the body is cut for the panic of the child.
        let group = task_group::<(), (), _, _>(|group| async move {
            let _bomb = Bomb("host");
            group.spawn_ok(async { panic!("child") });
            sleep_forever().await;
            Ok(())
        });
        let caught = AssertUnwindSafe(group).catch_unwind().await;
        let payload = caught.expect_err("both panicked");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"child"));
    });
}

// TG29
fn errors_whose_destructors_panic_do_not_hide_a_panic(root: Root) {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("an error");
        }
    }
    let options = TaskGroup::builder().policy(Policy::CollectAll);
    let caught = root.block_on(async {
        let group = options.run::<(), Bad, _, _>(|group| async move {
            for _ in 0..3 {
                let child = group.spawn(async { Err::<(), _>(Bad) });
                child.wait().await;
            }
            panic!("host");
        });
        AssertUnwindSafe(group).catch_unwind().await.map(drop)
    });
    let payload = caught.expect_err("the panic goes on");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"host"));
}

// TG30
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

// TG14, TG21
fn a_child_that_cannot_be_made_leaves_its_place_to_who_waits(root: Root) {
    let options = TaskGroup::builder().max_children(1);
    let result = root.block_on(options.run::<_, (), _, _>(|group| async move {
        let waits = group.clone();
        let admission = Arc::new(Mutex::new(
            async move { waits.admit().await.map(drop) }.boxed(),
        ));
        let waiting = admission.clone();
        let start = group.start(move |started: Started<()>| {
            let mut admission = waiting.lock().expect("nobody panicked");
            let mut cx = Context::from_waker(Waker::noop());
            let full = admission.as_mut().poll(&mut cx).is_pending();
            drop(admission);
            assert!(!full, "no child can be made");
            async move { started.send(()).map_err(drop) }
        });
        assert!(AssertUnwindSafe(start).catch_unwind().await.is_err());
        let mut admission = admission.lock().expect("nobody panicked");
        let mut cx = Context::from_waker(Waker::noop());
        Ok(admission.as_mut().poll(&mut cx).is_ready())
    }));
    assert!(matches!(result, Ok(true)), "the place is free");
}

/// A payload that panics in its turn, as does what that carries.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(Grenade);
        }
    }
}

fn foreign_panics_keep_no_group_waiting(root: Root) {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    root.block_on(async {
        // The value of a handle that is gone.
        let dropped = task_group::<_, (), _, _>(|group| async move {
            let gone = Arc::new(AtomicBool::new(false));
            let gate = gone.clone();
            let handle = group.spawn_ok(async move {
                while !gate.load(Ordering::SeqCst) {
                    yield_now().await;
                }
                Grenade
            });
            drop(handle);
            gone.store(true, Ordering::SeqCst);
            Ok(())
        });
        assert!(dropped.await.is_ok());
        // Those who wait for a task, one of them by a waker that panics.
        let woken = task_group::<_, (), _, _>(|group| async move {
            let task = group.spawn_ok(async {
                yield_now().await;
            });
            let mut bad = Box::pin(task.wait());
            let waker = Waker::from(Arc::new(Bad));
            let polled = bad.as_mut().poll(&mut Context::from_waker(&waker));
            let ended = task.wait().await;
            assert!(polled.is_ready() || ended.has_ended());
            Ok(())
        });
        assert!(woken.await.is_ok());
        // The second panic of a group that goes on with the first.
        let panicked = task_group::<(), (), _, _>(|group| async move {
            for _ in 0..2 {
                group.spawn_ok(async { std::panic::panic_any(Grenade) });
            }
            sleep_forever().await;
            Ok(())
        });
        let caught = AssertUnwindSafe(panicked).catch_unwind().await;
        std::mem::forget(caught.expect_err("the first panic goes on"));
    });
}
