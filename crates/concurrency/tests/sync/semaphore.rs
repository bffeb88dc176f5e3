//! `Semaphore`.

use crate::every_backend::every_backend;
use crate::{Wakes, poll, ready};
use bowline_concurrency::sync::{Permit, Semaphore};
use bowline_concurrency::{CancelScope, Root, checkpoint, task_group, yield_now};
use bowline_sim::explore_drops;
use futures_util::future::join3;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

every_backend!(
    no_more_are_inside_than_there_are_permits,
    a_frozen_request_holds_up_nobody,
);

// SY18
fn no_more_are_inside_than_there_are_permits(root: Root) {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = most.clone();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let semaphore = Arc::new(Semaphore::new(2));
        let both = (semaphore.acquire().await, semaphore.acquire().await);
        assert!(semaphore.try_acquire().is_err());
        drop(both);
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let (semaphore, inside, most) = (semaphore.clone(), inside.clone(), most.clone());
                group.spawn_ok(async move {
                    for _ in 0..20 {
                        let _permit = semaphore.acquire().await;
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for task in tasks {
            assert!(task.join().await.is_ok());
        }
        Ok(semaphore.statistics())
    }));
    let end = result.expect("nothing fails");
    assert_eq!((end.available, end.total, end.waiting), (2, 2, 0));
    // How many really met depends on the scheduler.
    assert!((1..=2).contains(&highest.load(Ordering::SeqCst)));
}

// SY19
#[test]
fn a_large_request_is_not_overtaken() {
    let semaphore = Semaphore::new(3);
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    let mut held: Vec<Permit<'_>> = (0..3)
        .map(|_| semaphore.try_acquire().expect("it is free"))
        .collect();
    let mut large = semaphore.acquire_many(3);
    let (mut second, mut third) = (semaphore.acquire(), semaphore.acquire());
    assert!(wakes[0].poll(&mut large).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    assert!(wakes[2].poll(&mut third).is_pending());
    for left in (1..=2).rev() {
        held.pop();
        assert_eq!(held.len(), left);
        assert_eq!(counts(), [0, 0, 0], "not enough for the first");
        assert!(semaphore.try_acquire().is_err(), "kept for the first");
        assert!(wakes[1].poll(&mut second).is_pending());
    }
    held.pop();
    assert_eq!(counts(), [1, 0, 0]);
    let all = ready(wakes[0].poll(&mut large)).expect("three are allowed");
    assert_eq!(all.count(), 3);
    drop(all);
    assert_eq!(counts(), [1, 1, 1]);
    drop(ready(wakes[2].poll(&mut third)));
    drop(ready(wakes[1].poll(&mut second)));
    assert_eq!(semaphore.statistics().available, 3);
}

// SY19
#[test]
fn small_requests_behind_a_large_one_keep_their_order() {
    let semaphore = Semaphore::new(3);
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    let held: Vec<Permit<'_>> = (0..3)
        .map(|_| semaphore.try_acquire().expect("it is free"))
        .collect();
    let mut large = semaphore.acquire_many(2);
    let (mut second, mut third) = (semaphore.acquire(), semaphore.acquire());
    assert!(wakes[0].poll(&mut large).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    assert!(wakes[2].poll(&mut third).is_pending());
    // Of what is freed one is left for who came first of the two.
    drop(held);
    assert_eq!(counts(), [1, 1, 0]);
    assert!(wakes[2].poll(&mut third).is_pending());
    let second = ready(wakes[1].poll(&mut second));
    let large = ready(wakes[0].poll(&mut large)).expect("two are allowed");
    assert!(wakes[2].poll(&mut third).is_pending());
    drop(second);
    assert_eq!(counts(), [1, 1, 1]);
    drop((large, ready(wakes[2].poll(&mut third))));
    assert_eq!(semaphore.statistics().available, 3);
}

// SY20
#[test]
fn a_large_request_that_leaves_returns_what_it_had() {
    let semaphore = Semaphore::new(2);
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let held = semaphore.try_acquire().expect("it is free");
    let (mut large, mut small) = (semaphore.acquire_many(2), semaphore.acquire());
    assert!(wakes[0].poll(&mut large).is_pending());
    assert!(wakes[1].poll(&mut small).is_pending());
    assert!(semaphore.try_acquire().is_err());
    drop(large);
    assert_eq!(wakes[1].count(), 1, "the next has what it had gathered");
    let small = ready(wakes[1].poll(&mut small));
    assert_eq!(semaphore.statistics().available, 0);
    // Dropped with all of it granted, it returns all.
    let mut large = semaphore.acquire_many(2);
    assert!(wakes[0].poll(&mut large).is_pending());
    drop((held, small));
    assert!(semaphore.try_acquire().is_err());
    drop(large);
    assert_eq!(semaphore.statistics().available, 2);
    assert_eq!(semaphore.statistics().waiting, 0);
}

// SY6
fn a_frozen_request_holds_up_nobody(root: Root) {
    root.block_on(async {
        let semaphore = Semaphore::new(2);
        let held = semaphore.acquire().await;
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut large = pin!(scope.run(semaphore.acquire_many(2)));
        let mut small = semaphore.acquire();
        assert!(poll(&mut large).await.is_none());
        assert!(poll(&mut small).await.is_none());
        handle.cancel("test");
        let permit = poll(&mut small).await;
        assert!(permit.is_some(), "there is one, and who kept it is frozen");
        drop((permit, held));
        let both = semaphore.acquire_many(2).await.expect("two are allowed");
        drop(both);
        assert!(large.await.cause().is_some());
        assert_eq!(semaphore.statistics().available, 2);
    });
}

// SY25
#[test]
fn a_returned_permit_is_the_waiters_at_once() {
    let semaphore = Semaphore::new(1);
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let held = semaphore.try_acquire().expect("it is free");
    let (mut first, mut second) = (semaphore.acquire(), semaphore.acquire());
    assert!(wakes[0].poll(&mut first).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    drop(held);
    assert!(semaphore.try_acquire().is_err());
    drop(first);
    assert_eq!([wakes[0].count(), wakes[1].count()], [1, 1]);
    assert!(semaphore.try_acquire().is_err());
    drop(second);
    assert!(semaphore.try_acquire().is_ok());
}

#[test]
fn counts_outside_of_what_is_allowed_change_nothing() {
    let refused = Semaphore::with_max(4, 3).expect_err("more than can be");
    assert_eq!((refused.given(), refused.allowed()), (4, 0..=3));
    let semaphore = Semaphore::with_max(1, 3).expect("it is allowed");
    let wakes = Arc::new(Wakes::default());
    let refused = semaphore.add_permits(3).expect_err("four are too many");
    assert_eq!((refused.given(), refused.allowed()), (3, 0..=2));
    assert_eq!(semaphore.statistics().total, 1);
    assert_eq!(semaphore.add_permits(2), Ok(()));
    assert_eq!(semaphore.statistics().available, 3);
    let refused = ready(wakes.poll(&mut semaphore.acquire_many(4)));
    assert_eq!(refused.map(|_| ()).map_err(|e| e.given()), Err(4));
    let unlimited = Semaphore::new(usize::MAX);
    assert!(unlimited.add_permits(1).is_err());
    assert_eq!(unlimited.statistics().total, usize::MAX);
    // None at once, whoever waits.
    let empty = Semaphore::new(0);
    let mut waits = empty.acquire();
    assert!(wakes.poll(&mut waits).is_pending());
    let none = ready(wakes.poll(&mut empty.acquire_many(0))).expect("none is allowed");
    assert_eq!(none.count(), 0);
    assert_eq!(empty.add_permits(1), Ok(()));
    assert_eq!(wakes.count(), 1);
    ready(wakes.poll(&mut waits)).forget();
    assert_eq!(empty.statistics().total, 0, "forgotten for good");
    let none_ever = Semaphore::with_max(0, 0).expect("it is allowed");
    assert!(wakes.poll(&mut none_ever.acquire()).is_pending());
}

// SY11
#[test]
fn it_can_be_static() {
    static SEMAPHORE: Semaphore = Semaphore::new(1);
    assert!(SEMAPHORE.try_acquire().is_ok());
    assert!(SEMAPHORE.try_acquire().is_ok(), "given back");
}

// A part of CP8.
#[test]
fn dropped_at_any_await_all_permits_are_there() {
    let awaits = explore_drops(|| {
        let shared = Arc::new(Semaphore::new(2));
        let state = shared.clone();
        let future = async move {
            let wants = |count: usize| {
                let semaphore = &*state;
                async move {
                    let permit = semaphore.acquire_many(count).await;
                    checkpoint().await;
                    drop(permit);
                    let permit = semaphore.acquire().await;
                    checkpoint().await;
                    drop(permit);
                }
            };
            join3(wants(1), wants(2), wants(1)).await;
        };
        (future, move || {
            let end = shared.statistics();
            assert_eq!((end.available, end.total, end.waiting), (2, 2, 0));
        })
    });
    assert!(awaits >= 3, "{awaits}");
}
