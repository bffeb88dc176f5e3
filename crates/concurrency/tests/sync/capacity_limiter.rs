//! `CapacityLimiter`.

use crate::every_backend::every_backend;
use crate::{Wakes, poll, ready};
use bowline_concurrency::sync::{
    AlreadyBorrowed, Borrow, Borrower, CapacityLimiter, TryAcquireError,
};
use bowline_concurrency::{CancelScope, Root, checkpoint, current_task, task_group};
use bowline_sim::explore_drops;
use futures_util::future::join3;
use std::pin::pin;
use std::sync::Arc;

every_backend!(
    a_cycle_of_three_is_counted,
    a_borrower_has_one_place_at_a_time,
    a_task_has_one_place_at_a_time,
    a_frozen_waiter_is_passed_over,
    an_owned_place_outlives_who_borrowed_it,
);

/// Borrowed, available, total, waiting.
fn numbers(limiter: &CapacityLimiter) -> (usize, usize, usize, usize) {
    let seen = limiter.statistics();
    assert_eq!(seen.borrowers.len(), seen.borrowed);
    assert_eq!(
        (seen.borrowed, seen.total),
        (limiter.borrowed(), limiter.total())
    );
    (seen.borrowed, limiter.available(), seen.total, seen.waiting)
}

// SY21
fn a_cycle_of_three_is_counted(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let limiter = Arc::new(CapacityLimiter::new(3));
        assert_eq!(numbers(&limiter), (0, 3, 3, 0));
        let anonymous = limiter.acquire().await;
        let named = limiter.acquire_for("import").await.expect("the first");
        let there = limiter.clone();
        let task = group.spawn_ok(async move {
            let id = there.statistics().borrowers.len() as u64;
            let _third = there.acquire_for(id).await.expect("the first");
            assert_eq!(numbers(&there), (3, 0, 3, 0));
            let mut borrowers = there.statistics().borrowers;
            borrowers.sort();
            borrowers
        });
        let borrowers = task.join().await.expect("it ends");
        let expected = [
            Borrower::Anonymous,
            Borrower::Key(2),
            Borrower::from("import"),
        ];
        assert_eq!(borrowers, expected);
        assert_eq!(numbers(&limiter), (2, 1, 3, 0));
        drop(anonymous);
        assert_eq!(
            limiter.statistics().borrowers,
            [Borrower::from("import".to_owned())]
        );
        drop(named);
        assert_eq!(numbers(&limiter), (0, 3, 3, 0));
        Ok(())
    }));
    assert!(result.is_ok());
}

// SY22
fn a_borrower_has_one_place_at_a_time(root: Root) {
    root.block_on(async {
        let limiter = CapacityLimiter::new(2);
        let first = limiter.acquire_for(7).await.expect("the first");
        assert_eq!(limiter.acquire_for(7).await.err(), Some(AlreadyBorrowed));
        let refused = limiter.try_acquire_for(7).err();
        assert_eq!(refused, Some(TryAcquireError::AlreadyBorrowed));
        let other = limiter.acquire_for(8).await.expect("another one");
        // Anonymous ones are never the same.
        assert!(matches!(
            limiter.try_acquire_for(9),
            Err(TryAcquireError::Busy(_))
        ));
        let mut waits = limiter.acquire_for(9);
        assert!(poll(&mut waits).await.is_none());
        assert_eq!(limiter.acquire_for(9).await.err(), Some(AlreadyBorrowed));
        drop(waits);
        drop(first);
        let again = limiter.acquire_for(7).await;
        assert!(again.is_ok());
        drop(other);
        let ninth = limiter.try_acquire_for(9);
        assert!(ninth.is_ok(), "who left the queue is forgotten");
    });
}

// SY22
fn a_task_has_one_place_at_a_time(root: Root) {
    let limiter = Arc::new(CapacityLimiter::new(2));
    // Nobody is to be told apart here.
    let outside: Vec<_> = (0..2)
        .map(|_| limiter.try_acquire_for(current_task()))
        .collect();
    assert!(outside.iter().all(Result::is_ok));
    assert_eq!(
        limiter.statistics().borrowers,
        [Borrower::Anonymous, Borrower::Anonymous]
    );
    drop(outside);
    let there = limiter.clone();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let here = current_task().expect("it runs in a root");
        let place = there.acquire_for(current_task()).await.expect("its first");
        assert_eq!(there.statistics().borrowers, [Borrower::Task(here.id())]);
        let second = there.acquire_for(current_task()).await;
        assert_eq!(second.err(), Some(AlreadyBorrowed));
        let refused = there.try_acquire_for(here.clone()).err();
        assert_eq!(refused, Some(TryAcquireError::AlreadyBorrowed));
        let others = there.clone();
        let child = group.spawn_ok(async move {
            let place = others.acquire_for(current_task()).await;
            place.is_ok()
        });
        assert_eq!(child.join().await.ok(), Some(true), "another task");
        drop(place);
        let again = there.acquire_for(here).await;
        Ok(again.is_ok())
    }));
    assert_eq!(result.ok(), Some(true));
    assert_eq!(numbers(&limiter), (0, 2, 2, 0));
}

fn waiting<'a, const N: usize>(
    limiter: &'a CapacityLimiter,
    wakes: &[Arc<Wakes>; N],
) -> [Borrow<'a>; N] {
    std::array::from_fn(|n| {
        let mut waiter = limiter.acquire();
        assert!(wakes[n].poll(&mut waiter).is_pending());
        waiter
    })
}

// SY23
#[test]
fn raising_lets_exactly_as_many_in() {
    let limiter = CapacityLimiter::new(0);
    let wakes: [Arc<Wakes>; 4] = Default::default();
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    let mut waiters = waiting(&limiter, &wakes);
    limiter.set_total(2);
    assert_eq!(counts(), [1, 1, 0, 0]);
    assert_eq!(numbers(&limiter), (2, 0, 2, 2));
    limiter.set_total(3);
    assert_eq!(counts(), [1, 1, 1, 0]);
    let permits: Vec<_> = waiters
        .iter_mut()
        .zip(&wakes)
        .take(3)
        .map(|(waiter, wakes)| ready(wakes.poll(waiter)))
        .collect();
    assert_eq!(numbers(&limiter), (3, 0, 3, 1));
    drop(permits);
    assert_eq!(counts(), [1, 1, 1, 1]);
}

// SY24
#[test]
fn lowering_lets_nobody_in_until_enough_came_back() {
    let limiter = CapacityLimiter::new(3);
    let wakes: [Arc<Wakes>; 1] = Default::default();
    let mut held: Vec<_> = (0..3)
        .map(|_| limiter.try_acquire().expect("one is free"))
        .collect();
    let mut waiters = waiting(&limiter, &wakes);
    limiter.set_total(1);
    for borrowed in [3, 2, 1] {
        assert_eq!(numbers(&limiter), (borrowed, 0, 1, 1));
        assert!(limiter.try_acquire().is_err());
        assert_eq!(wakes[0].count(), 0);
        held.pop();
    }
    assert_eq!(wakes[0].count(), 1);
    assert_eq!(numbers(&limiter), (1, 0, 1, 0));
    drop(ready(wakes[0].poll(&mut waiters[0])));
    assert_eq!(numbers(&limiter), (0, 1, 1, 0));
}

// SY25
#[test]
fn a_freed_place_is_reserved_at_once() {
    let limiter = CapacityLimiter::new(1);
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    let held = limiter.try_acquire().expect("one is free");
    let [first, second, third] = waiting(&limiter, &wakes);
    drop(held);
    assert_eq!(counts(), [1, 0, 0]);
    assert!(limiter.try_acquire().is_err());
    assert_eq!(numbers(&limiter), (1, 0, 1, 2));
    drop(first);
    assert_eq!(counts(), [1, 1, 0]);
    assert!(limiter.try_acquire().is_err());
    drop(third);
    drop(second);
    assert_eq!(numbers(&limiter), (0, 1, 1, 0));
}

// SY6
fn a_frozen_waiter_is_passed_over(root: Root) {
    root.block_on(async {
        let limiter = CapacityLimiter::new(1);
        let held = limiter.acquire().await;
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut frozen = pin!(scope.run(limiter.acquire_for("frozen")));
        let mut second = limiter.acquire();
        assert!(poll(&mut frozen).await.is_none());
        assert!(poll(&mut second).await.is_none());
        handle.cancel("test");
        drop(held);
        let second = poll(&mut second).await.expect("the next has it");
        drop(second);
        assert!(limiter.try_acquire().is_ok(), "nobody keeps it");
        assert!(frozen.await.cause().is_some());
        assert!(limiter.try_acquire_for("frozen").is_ok());
    });
}

// SY25
fn an_owned_place_outlives_who_borrowed_it(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let limiter = Arc::new(CapacityLimiter::new(1));
        let place = limiter.clone().acquire_owned().await;
        let mut dropped = limiter.clone().acquire_owned();
        assert!(poll(&mut dropped).await.is_none());
        let mut next = limiter.acquire();
        assert!(poll(&mut next).await.is_none());
        assert_eq!(numbers(&limiter), (1, 0, 1, 2));
        // The place is given back by another task, and by one that was granted it and left.
        let given_back = group.spawn_ok(async move { drop(place) });
        given_back.join().await.expect("it ends");
        assert!(limiter.try_acquire().is_err(), "it is the next one's");
        drop(dropped);
        let next = poll(&mut next).await.expect("it was passed on");
        drop(next);
        assert_eq!(numbers(&limiter), (0, 1, 1, 0));
        Ok(())
    }));
    assert!(result.is_ok());
}

// SY11
#[test]
fn it_can_be_static_and_without_bound() {
    static LIMITER: CapacityLimiter = CapacityLimiter::unbounded();
    let held: Vec<_> = (0..100).map(|_| LIMITER.try_acquire()).collect();
    assert!(held.iter().all(Result::is_ok));
    assert_eq!(LIMITER.available(), usize::MAX - 100);
}

// A part of CP8.
#[test]
fn dropped_at_any_await_all_places_are_free() {
    let awaits = explore_drops(|| {
        let shared = Arc::new(CapacityLimiter::new(1));
        let state = shared.clone();
        let future = async move {
            let wants = |key: u64| {
                let limiter = &*state;
                async move {
                    let permit = limiter.acquire_for(key).await;
                    checkpoint().await;
                    drop(permit);
                    let permit = limiter.acquire().await;
                    checkpoint().await;
                    drop(permit);
                }
            };
            join3(wants(1), wants(2), wants(3)).await;
        };
        (future, move || {
            assert_eq!(numbers(&shared), (0, 1, 1, 0));
            for key in 1..=3 {
                assert!(shared.try_acquire_for(key).is_ok());
            }
        })
    });
    assert!(awaits >= 3, "{awaits}");
}
