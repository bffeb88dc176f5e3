//! `Barrier`.

use crate::every_backend::every_backend;
use crate::{Wakes, poll};
use bowline_concurrency::sync::{Barrier, BarrierWait};
use bowline_concurrency::{CancelScope, Root, checkpoint, task_group};
use bowline_sim::explore_drops;
use futures_util::future::join3;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;

every_backend!(rounds_have_one_leader_each, a_frozen_waiter_is_not_counted);

fn barrier(parties: usize) -> Barrier {
    Barrier::new(parties).expect("the number is allowed")
}

// SY26
fn rounds_have_one_leader_each(root: Root) {
    let rounds = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let barrier = Arc::new(barrier(3));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let barrier = barrier.clone();
                group.spawn_ok(async move {
                    let mut passes = Vec::new();
                    for _ in 0..20 {
                        passes.push(barrier.wait().await);
                    }
                    passes
                })
            })
            .collect();
        let mut leaders = [0; 20];
        for task in tasks {
            let passes = task.join().await.expect("it ends");
            for (round, pass) in passes.iter().enumerate() {
                assert_eq!(pass.generation, round as u64);
                leaders[round] += usize::from(pass.leader);
            }
        }
        assert_eq!(barrier.statistics().generation, 20);
        assert_eq!(barrier.statistics().waiting, 0);
        Ok(leaders)
    }));
    assert_eq!(rounds.ok(), Some([1; 20]));
}

// SY26
#[test]
fn a_dropped_waiter_is_not_counted() {
    let barrier = barrier(3);
    let wakes = Arc::new(Wakes::default());
    let mut leaves = barrier.wait();
    assert!(wakes.poll(&mut leaves).is_pending());
    assert_eq!(barrier.statistics().waiting, 1);
    drop(leaves);
    let (mut first, mut second) = (barrier.wait(), barrier.wait());
    assert!(wakes.poll(&mut first).is_pending());
    assert!(wakes.poll(&mut second).is_pending());
    let pass = |poll: Poll<BarrierWait>| match poll {
        Poll::Ready(pass) => (pass.leader, pass.generation),
        Poll::Pending => panic!("the round is complete"),
    };
    assert_eq!(pass(wakes.poll(&mut barrier.wait())), (true, 0));
    assert_eq!(wakes.count(), 2);
    // The first runs again before the second has seen that it may pass.
    assert_eq!(pass(wakes.poll(&mut first)), (false, 0));
    let mut next = barrier.wait();
    assert!(wakes.poll(&mut next).is_pending());
    assert_eq!(pass(wakes.poll(&mut second)), (false, 0));
    assert_eq!(barrier.statistics().waiting, 1);
}

// SY26, SY6
fn a_frozen_waiter_is_not_counted(root: Root) {
    root.block_on(async {
        let barrier = barrier(2);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut frozen = pin!(scope.run(barrier.wait()));
        assert!(poll(&mut frozen).await.is_none());
        handle.cancel("test");
        let mut second = barrier.wait();
        assert!(poll(&mut second).await.is_none());
        let third = poll(&mut barrier.wait()).await;
        assert!(third.is_some_and(|pass| pass.leader));
        assert!(poll(&mut second).await.is_some_and(|pass| !pass.leader));
        assert!(frozen.await.cause().is_some());
    });
}

// SY11
#[test]
fn one_passes_alone_and_none_is_refused() {
    static ALONE: LazyLock<Barrier> = LazyLock::new(|| barrier(1));
    let wakes = Arc::new(Wakes::default());
    for generation in 0..3 {
        let Poll::Ready(pass) = wakes.poll(&mut ALONE.wait()) else {
            panic!("one is enough");
        };
        assert_eq!((pass.leader, pass.generation), (true, generation));
    }
    let refused = Barrier::new(0).expect_err("nobody would ever pass");
    assert_eq!(refused.given(), 0);
    assert_eq!(refused.allowed(), 1..=usize::MAX as u64);
    assert!(refused.to_string().contains("barrier is 0"), "{refused}");
}

// A part of CP8.
#[test]
fn dropped_at_any_await_nobody_is_left_waiting() {
    let awaits = explore_drops(|| {
        let shared = Arc::new(barrier(3));
        let state = shared.clone();
        let future = async move {
            let party = |delay: usize| {
                let barrier = &*state;
                async move {
                    for _ in 0..delay {
                        checkpoint().await;
                    }
                    barrier.wait().await;
                    checkpoint().await;
                    barrier.wait().await;
                }
            };
            join3(party(0), party(1), party(2)).await;
        };
        (future, move || assert_eq!(shared.statistics().waiting, 0))
    });
    assert!(awaits >= 3, "{awaits}");
}
