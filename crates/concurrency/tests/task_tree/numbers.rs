//! Numbers of tasks where there are several roots.

use crate::every_backend::every_backend;
use bowline_concurrency::sync::CapacityLimiter;
use bowline_concurrency::{
    GroupError, Root, Tree, current_task, sleep_forever, task_group, tree, yield_now,
};
use futures_util::future::poll_immediate;
use serde_json::Value;
use std::collections::BTreeSet;

every_backend!(
    a_moved_group_brings_numbers_that_nobody_has,
    a_limiter_tells_the_tasks_of_two_roots_apart,
);

/// Runs a body below a root of its own, on the backend that runs here.
async fn in_another_root<T>(body: impl Future<Output = T>) -> T {
    let root = Root::new().name("another");
    root.entered(body).await
}

// TX5
fn a_moved_group_brings_numbers_that_nobody_has(root: Root) {
    let tree: Tree = root.block_on(async {
        let mut moved = Box::pin(task_group::<_, (), _, _>(|group| async move {
            group.named("early").spawn_ok(sleep_forever());
            yield_now().await;
            group.named("late").spawn_ok(sleep_forever());
            let tree = tree();
            group.cancel("seen");
            Ok(tree)
        }));
        assert!(poll_immediate(&mut moved).await.is_none());
        let result: Result<_, GroupError<()>> = in_another_root(task_group(|group| async move {
            for _ in 0..3 {
                group.named("own").spawn_ok(sleep_forever());
            }
            let tree = moved.await.expect("nothing fails");
            group.cancel("seen");
            Ok(tree)
        }))
        .await;
        result.expect("nothing fails")
    });
    assert_eq!(tree.entries()[0].name, "another");
    for (name, count) in [("early", 1), ("late", 1), ("own", 3)] {
        let found = tree.entries().iter().filter(|entry| entry.name == name);
        assert_eq!(found.count(), count, "{name} in:\n{tree}");
    }
    let json: Value = serde_json::from_str(&tree.to_json()).expect("it is JSON");
    let entries = json["entries"].as_array().expect("it is a list");
    let tasks: Vec<u64> = entries.iter().filter_map(|e| e["task"].as_u64()).collect();
    assert_eq!(tasks.len(), 6, "the root and its tasks");
    let different: BTreeSet<&u64> = tasks.iter().collect();
    assert_eq!(different.len(), tasks.len(), "{tasks:?}");
}

// SY22
fn a_limiter_tells_the_tasks_of_two_roots_apart(root: Root) {
    root.block_on(async {
        let limiter = CapacityLimiter::new(2);
        let me = || current_task().expect("a root's body is a task").id();
        let _held = limiter.acquire_for(me()).await.expect("the first");
        let there = in_another_root(async { limiter.try_acquire_for(me()).is_ok() }).await;
        assert!(there, "it is another task");
        assert!(limiter.try_acquire_for(me()).is_err(), "it has one");
    });
}
