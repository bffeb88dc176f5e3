//! `Event`, `Once`, `ResourceGuard`.

use crate::every_backend::every_backend;
use crate::{Wakes, poll};
use bowline_backend::Backend;
use bowline_concurrency::sync::{Event, Once, ResourceGuard};
use bowline_concurrency::{CancelScope, Root, checkpoint, task_group, yield_now};
use bowline_sim::explore_drops;
use futures_util::future::join;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

every_backend!(
    setting_wakes_all_who_wait,
    a_reset_does_not_take_the_pass_back,
    a_frozen_waiter_does_not_pass,
    a_value_reaches_all_who_wait,
);

// SY12
fn setting_wakes_all_who_wait(root: Root) {
    let event = Arc::new(Event::new());
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let event = event.clone();
                group.spawn_ok(async move { event.wait().await })
            })
            .collect();
        while event.statistics().waiting < 3 {
            yield_now().await;
        }
        assert!(!event.is_set());
        event.set();
        for waiter in waiters {
            assert!(waiter.join().await.is_ok());
        }
        assert!(event.is_set());
        assert_eq!(event.statistics().waiting, 0);
        assert!(poll(&mut event.wait()).await.is_some(), "ready at once");
        Ok(())
    }));
    assert!(result.is_ok());
}

// SY13
fn a_reset_does_not_take_the_pass_back(root: Root) {
    root.block_on(async {
        let event = Event::new();
        let mut waiters: Vec<_> = (0..3).map(|_| event.wait()).collect();
        for waiter in &mut waiters {
            assert!(poll(waiter).await.is_none());
        }
        event.set();
        event.reset();
        assert!(!event.is_set());
        assert!(poll(&mut event.wait()).await.is_none(), "a new one parks");
        for waiter in &mut waiters {
            assert!(poll(waiter).await.is_some());
        }
    });
}

// SY6, CP5
fn a_frozen_waiter_does_not_pass(root: Root) {
    root.block_on(async {
        let event = Event::new();
        let (before, after) = (CancelScope::new(), CancelScope::new());
        let (cancel_before, cancel_after) = (before.handle(), after.handle());
        let mut frozen = pin!(before.run(event.wait()));
        let mut passed = pin!(after.run(event.wait()));
        assert!(poll(&mut frozen).await.is_none());
        assert!(poll(&mut passed).await.is_none());
        cancel_before.cancel("test");
        event.set();
        cancel_after.cancel("test");
        assert!(frozen.await.cause().is_some());
        assert_eq!(passed.await.done(), Some(()));
        // Set or not, a cancelled task makes no progress.
        let late = CancelScope::new();
        late.handle().cancel("test");
        assert!(late.run(event.wait()).await.cause().is_some());
        assert_eq!(event.statistics().waiting, 0);
    });
}

#[test]
fn setting_needs_no_runtime() {
    let event = Event::new();
    std::thread::scope(|threads| {
        threads.spawn(|| event.wait_blocking());
        while event.statistics().waiting == 0 {
            std::thread::yield_now();
        }
        event.set();
    });
    event.wait_blocking();
    let inside = catch_unwind(AssertUnwindSafe(|| {
        Root::new()
            .backend(Backend::Smol)
            .block_on(async { event.wait_blocking() });
    }));
    assert!(
        inside.is_err(),
        "refused in a task even if it would not park"
    );
}

// SY36
fn a_value_reaches_all_who_wait(root: Root) {
    let once = Arc::new(Once::new());
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let once = once.clone();
                group.spawn_ok(async move { *once.wait().await })
            })
            .collect();
        let mut leaves = Some(once.wait());
        assert!(poll(leaves.as_mut().expect("it waits")).await.is_none());
        while once.statistics().waiting < 4 {
            yield_now().await;
        }
        leaves = None;
        assert!(leaves.is_none());
        assert_eq!(once.get(), None);
        assert_eq!(once.set(7), Ok(()));
        assert_eq!(once.set(8), Err(8));
        for waiter in waiters {
            assert_eq!(waiter.join().await.ok(), Some(7));
        }
        assert_eq!(poll(&mut once.wait()).await, Some(&7));
        assert!(once.statistics().set);
        assert_eq!(once.statistics().waiting, 0);
        Ok(())
    }));
    assert!(result.is_ok());
}

// SY36
#[test]
fn a_waiter_dropped_after_the_value_came_harms_none() {
    let once = Once::new();
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let (mut first, mut second) = (once.wait(), once.wait());
    assert!(wakes[0].poll(&mut first).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    assert_eq!(once.set(String::from("value")), Ok(()));
    assert_eq!([wakes[0].count(), wakes[1].count()], [1, 1]);
    drop(first);
    let read = wakes[1].poll(&mut second).map(|value| value.as_str());
    assert_eq!(read, std::task::Poll::Ready("value"));
    drop(second);
    assert_eq!(once.into_inner().as_deref(), Some("value"));
}

// SY27
#[test]
fn a_second_user_is_refused_with_the_action() {
    let guard = ResourceGuard::new("sending");
    let entered = guard.enter().expect("nobody uses it");
    assert!(guard.statistics().busy);
    let refused = guard.enter().expect_err("somebody uses it");
    assert_eq!(refused.action(), "sending");
    assert_eq!(refused.to_string(), "busy: sending");
    drop(entered);
    assert!(!guard.statistics().busy);
    drop(guard.enter().expect("it is free again"));
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _entered = guard.enter().expect("it is free");
        panic!("test");
    }));
    assert!(caught.is_err());
    assert!(guard.enter().is_ok());
}

// SY11
#[test]
fn they_can_be_static() {
    static EVENT: Event = Event::new();
    static ONCE: Once<u32> = Once::new();
    static GUARD: ResourceGuard = ResourceGuard::new("testing");
    EVENT.set();
    EVENT.wait_blocking();
    assert_eq!(ONCE.set(1), Ok(()));
    assert!(GUARD.enter().is_ok());
}

// A part of CP8.
#[test]
fn dropped_at_any_await_nobody_is_left_waiting() {
    let awaits = explore_drops(|| {
        let shared = Arc::new((Event::new(), Once::new()));
        let state = shared.clone();
        let future = async move {
            let (event, once) = &*state;
            let waits = async {
                event.wait().await;
                checkpoint().await;
                once.wait().await;
            };
            let sets = async {
                checkpoint().await;
                event.set();
                event.reset();
                checkpoint().await;
                checkpoint().await;
                assert!(once.set(1).is_ok());
            };
            join(waits, sets).await;
        };
        (future, move || {
            assert_eq!(shared.0.statistics().waiting, 0);
            assert_eq!(shared.1.statistics().waiting, 0);
        })
    });
    assert!(awaits >= 3, "{awaits}");
}
