//! Snapshots while everything runs.

use crate::every_backend::every_backend;
use bowline_concurrency::{
    GroupError, Root, Tree, cancel_scope, shield, task_group, timeout, tree, yield_now,
};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

every_backend!(snapshots_stop_no_task);

/// Groups, scopes and shields that come and go.
fn churn(depth: usize) -> Pin<Box<dyn Future<Output = Result<usize, ()>> + Send>> {
    match depth {
        0 => Box::pin(async {
            yield_now().await;
            Ok(1)
        }),
        _ => Box::pin(spread(depth)),
    }
}

async fn spread(depth: usize) -> Result<usize, ()> {
    let inner: Result<usize, GroupError<()>> = task_group(|group| async move {
        let handles: Vec<_> = (0..3)
            .map(|n| {
                group.named(format!("{depth}.{n}")).spawn(async move {
                    let below = timeout(Duration::from_secs(600), shield(churn(depth - 1)));
                    match cancel_scope(|_| below).await.done() {
                        Some(Ok(sum)) => sum,
                        Some(Err(_)) | None => Err(()),
                    }
                })
            })
            .collect();
        let mut sum = 0_usize;
        for handle in handles {
            sum += handle.join().await.map_err(|_| ())?;
        }
        Ok(sum)
    })
    .await;
    inner.map_err(|_| ())
}

// TX6
fn snapshots_stop_no_task(root: Root) {
    let over = Arc::new(AtomicBool::new(false));
    let taken = Arc::new(AtomicUsize::new(0));
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let workers: Vec<_> = (0..4)
            .map(|_| group.spawn(async { churn(4).await }))
            .collect();
        for all in [true, false] {
            let (over, taken) = (over.clone(), taken.clone());
            group.spawn_ok(async move {
                while !over.load(Ordering::SeqCst) {
                    let tree = if all { Tree::all() } else { tree() };
                    let whole = tree.entries().iter().enumerate().all(|(n, entry)| {
                        entry.id == n && entry.parent.is_none_or(|parent| parent < n)
                    });
                    assert!(whole, "{tree}");
                    taken.fetch_add(1, Ordering::SeqCst);
                    yield_now().await;
                }
            });
        }
        for worker in workers {
            assert_eq!(worker.join().await.expect("it ends well"), 81);
        }
        over.store(true, Ordering::SeqCst);
        assert!(taken.load(Ordering::SeqCst) > 0);
        Ok(())
    }));
    done.unwrap();
}
