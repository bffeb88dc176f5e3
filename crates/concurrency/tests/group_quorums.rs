//! Groups for which some good results are enough.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;
#[path = "suite/witness.rs"]
mod witness;

use alive::Alive;
use bowline_concurrency::{
    CauseKind, JoinError, Policy, Root, TaskGroup, TaskStatus, checkpoint, sleep_forever, yield_now,
};
use every_backend::every_backend;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use witness::{Causes, Witness};

every_backend!(
    a_quorum_is_enough,
    a_quorum_leaves_the_body_alone,
    a_quorum_out_of_reach_fails,
    a_quorum_counts_on_whom_the_body_still_spawns,
    who_comes_after_the_quorum_is_cancelled,
    odd_quorums,
);

// TG36
fn a_quorum_is_enough(root: Root) {
    let causes = Causes::default();
    let witness = Witness(causes.clone());
    let group = TaskGroup::builder().policy(Policy::Quorum(2));
    let (result, seen) = root.block_on(async {
        let result = group.run::<_, &str, _, _>(|group| async move {
            group.spawn_ok(async move {
                let _witness = witness;
                sleep_forever().await
            });
            group.spawn_ok(checkpoint());
            group.spawn_ok(checkpoint());
            Ok(7)
        });
        (result.await, causes.lock().unwrap().clone())
    });
    assert_eq!(result.ok(), Some(7));
    assert_eq!(seen, [CauseKind::Satisfied]);
}

// TG36
fn a_quorum_leaves_the_body_alone(root: Root) {
    let group = TaskGroup::builder().policy(Policy::Quorum(1));
    let result = root.block_on(group.run::<_, &str, _, _>(|group| async move {
        let slow = group.spawn_ok(sleep_forever());
        let fast = group.spawn_ok(async { 5 });
        let Err(JoinError::Cancelled(cause)) = slow.join().await else {
            panic!("one is enough");
        };
        assert_eq!(cause.kind(), CauseKind::Satisfied);
        assert_eq!(Some(cause.by()), Some(fast.id()));
        checkpoint().await;
        Ok(fast.join().await.ok())
    }));
    assert_eq!(result.ok(), Some(Some(5)));
}

// TG36
fn a_quorum_out_of_reach_fails(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let probe = Alive::new(&alive);
    let group = TaskGroup::builder().policy(Policy::Quorum(2));
    let result = root.block_on(group.run(|group| async move {
        group.spawn_ok(async move {
            let _probe = probe;
            sleep_forever().await
        });
        for name in ["a", "b"] {
            group.spawn(async move {
                checkpoint().await;
                Err::<(), _>(name)
            });
        }
        Ok(())
    }));
    let error = result.expect_err("two of three failed");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    let mut failed: Vec<_> = error.iter().copied().collect();
    failed.sort_unstable();
    assert_eq!(failed, ["a", "b"]);
    let cause = error.cause().expect("the third was cancelled");
    assert_eq!(cause.kind(), CauseKind::SiblingFailed);
}

// TG36
fn a_quorum_counts_on_whom_the_body_still_spawns(root: Root) {
    let group = TaskGroup::builder().policy(Policy::Quorum(2));
    let result = root.block_on(group.run(|group| async move {
        for name in ["a", "b"] {
            // Nobody is left who could return well, but the body may go on.
            let early = group.spawn(async move { Err::<(), _>(name) });
            assert_eq!(early.wait().await, TaskStatus::Failed);
            checkpoint().await;
        }
        let mut values = Vec::new();
        for n in 0..2 {
            let late = group.spawn_ok(async move {
                checkpoint().await;
                n
            });
            values.push(late.join().await.expect("it is not cancelled"));
        }
        Ok((values, group.statistics().failed))
    }));
    let (values, failed) = result.expect("two of four are enough");
    assert_eq!((values, failed), (vec![0, 1], 2));
}

// TG36
fn who_comes_after_the_quorum_is_cancelled(root: Root) {
    let group = TaskGroup::builder().policy(Policy::Quorum(1));
    let result = root.block_on(group.run::<_, &str, _, _>(|group| async move {
        let first = group.spawn_ok(async { 7 });
        assert_eq!(first.join().await.ok(), Some(7));
        // It is not taken back: the body may go on, and its own children with it.
        let late = group.spawn_ok(sleep_forever());
        let cause = match late.join().await {
            Err(JoinError::Cancelled(cause)) => cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(cause.kind(), CauseKind::Satisfied);
        // One that needs no waiting still gets its poll.
        let quick = group.spawn_ok(async { 8 });
        assert_eq!(quick.join().await.ok(), Some(8));
        Ok(())
    }));
    assert!(result.is_ok());
}

// TG36
fn odd_quorums(root: Root) {
    root.block_on(async {
        // None: enough once the body has ended.
        let group = TaskGroup::builder().policy(Policy::Quorum(0));
        let result = group.run::<_, (), _, _>(|group| async move {
            let child = group.spawn_ok(sleep_forever());
            for _ in 0..3 {
                yield_now().await;
            }
            Ok(child.status())
        });
        assert_eq!(result.await.ok(), Some(TaskStatus::Running));
        // More than there are: out of reach as soon as the body has ended.
        let group = TaskGroup::builder().policy(Policy::Quorum(3));
        let result = group.run::<_, (), _, _>(|group| async move {
            group.spawn_ok(sleep_forever());
            Ok(())
        });
        let error = result.await.expect_err("one is fewer than three");
        let invalid = error.invalid().expect("the quorum was too large");
        assert_eq!((invalid.given(), *invalid.allowed().end()), (3, 1));
        assert!(!error.is_cancelled() && error.is_empty());
        // Cancelled from inside before there were enough.
        let group = TaskGroup::builder().policy(Policy::Quorum(1));
        let result = group.run::<(), (), _, _>(|group| async move {
            group.spawn_ok(sleep_forever());
            group.cancel("stop");
            Ok(())
        });
        let error = result.await.expect_err("there is no quorum");
        assert!(error.is_cancelled());
    });
}
