//! Allocations, counted: exact, so a busy machine disturbs them in nothing.

use crate::bodies::in_task;
use bowline::concurrency::{CancelScope, scope, task_group};
use bowline_benches::allocations::Counting;

const TIMES: usize = 1000;

/// Allocations of one time, of the second thousand: what is kept for reuse came with the first.
macro_rules! steady {
    ($region:ident, $children:ident, $act:expr) => {
        in_task(async {
            let count = $region::<_, (), _, _>(|$children| async move {
                for _ in 0..TIMES {
                    $act;
                }
                let counting = Counting::start();
                for _ in 0..TIMES {
                    $act;
                }
                Ok(counting.finish())
            });
            count.await.expect("nothing fails") as f64 / TIMES as f64
        })
    };
}

/// What, how many each, and how many it should be at most.
pub(crate) fn table() -> Vec<(&'static str, f64, f64)> {
    vec![
        ("nested scope", nested_scope(), 1.0),
        ("group child, spawned and joined", group_child(), 2.0),
        ("`scope` child, spawned and joined", scope_child(), 2.0),
    ]
}

fn nested_scope() -> f64 {
    steady!(
        task_group,
        _group,
        assert!(CancelScope::new().run(async {}).await.done().is_some())
    )
}

fn group_child() -> f64 {
    steady!(
        task_group,
        group,
        assert!(group.spawn_ok(async {}).join().await.is_ok())
    )
}

fn scope_child() -> f64 {
    steady!(
        scope,
        scope,
        assert!(scope.spawn_ok(async {}).join().await.is_ok())
    )
}
