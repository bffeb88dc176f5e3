//! What a million children leave behind: nothing.

#[path = "suite/alive.rs"]
mod alive;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{Root, checkpoint, task_group, tree};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The memory is that of the process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

// TG37
#[test]
fn on_tokio() {
    a_million_children_leave_nothing(Backend::Tokio);
}

// TG37
#[test]
fn on_smol() {
    a_million_children_leave_nothing(Backend::Smol);
}

// TG37
#[test]
fn on_async_std() {
    a_million_children_leave_nothing(Backend::AsyncStd);
}

// TG37
#[test]
fn on_sim() {
    a_million_children_leave_nothing(Backend::Sim);
}

fn a_million_children_leave_nothing(backend: Backend) {
    const ROUNDS: usize = 1_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let alive = Arc::new(AtomicUsize::new(0));
    let counter = alive.clone();
    let (before, after) = Root::new().backend(backend).block_on(async {
        let group = task_group::<_, (), _, _>(|group| async move {
            let mut before = 0;
            for round in 0..ROUNDS {
                for _ in 0..1_000 {
                    let probe = Alive::new(&counter);
                    drop(group.spawn_ok(async move { drop(probe) }));
                }
                while group.statistics().live > 0 {
                    checkpoint().await;
                }
                if round == ROUNDS / 10 {
                    before = resident_pages();
                }
            }
            let after = resident_pages();
            assert_eq!(group.statistics().done, 1_000 * ROUNDS);
            // The last ones may still be on their way out of the table.
            while tree().entries().len() > 2 {
                checkpoint().await;
            }
            Ok((before, after))
        });
        group.await.expect("no child fails")
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert!(before > 0, "the memory is known");
    // One byte kept of each of the last 900 000 would be 220 pages, a node a hundred times that.
    assert!(after < before + 2_000, "{before} pages became {after}");
}

/// The memory of this process, in pages.
fn resident_pages() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = statm.split(' ').nth(1);
    resident.and_then(|n| n.parse().ok()).unwrap_or(0)
}
