//! What a child of a group costs, from its spawn until it was joined or has ended.

use crate::bodies::{BURST, SUM, per_child};
use bowline::concurrency::task_group;
use std::hint::black_box;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) fn joined<const WORKERS: usize>() -> f64 {
    per_child!(WORKERS, async {
        let sum = task_group::<_, (), _, _>(|group| async move {
            let handles: Vec<_> = (0..BURST)
                .map(|n| group.spawn_ok(async move { n }))
                .collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.join().await.expect("it does not fail");
            }
            Ok(sum)
        });
        assert_eq!(sum.await.ok(), Some(SUM));
    })
}

pub(crate) fn unjoined<const WORKERS: usize>() -> f64 {
    per_child!(WORKERS, async {
        let result = task_group::<_, (), _, _>(|group| async move {
            for n in 0..BURST {
                group.spawn_ok(async move { black_box(n) });
            }
            Ok(())
        });
        assert!(result.await.is_ok());
    })
}

pub(crate) fn join_set<const WORKERS: usize>() -> f64 {
    per_child!(WORKERS, async {
        let mut set = JoinSet::new();
        for n in 0..BURST {
            set.spawn(async move { n });
        }
        let mut sum = 0;
        while let Some(n) = set.join_next().await {
            sum += n.expect("it does not fail");
        }
        assert_eq!(sum, SUM);
    })
}

pub(crate) fn tracker<const WORKERS: usize>() -> f64 {
    per_child!(WORKERS, async {
        let tracker = TaskTracker::new();
        let outer = CancellationToken::new();
        for n in 0..BURST {
            let token = outer.child_token();
            tracker.spawn(token.run_until_cancelled_owned(async move { black_box(n) }));
        }
        tracker.close();
        tracker.wait().await;
    })
}

pub(crate) fn bare<const WORKERS: usize>() -> f64 {
    per_child!(WORKERS, async {
        let handles: Vec<_> = (0..BURST).map(|n| tokio::spawn(async move { n })).collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle.await.expect("it does not fail");
        }
        assert_eq!(sum, SUM);
    })
}
