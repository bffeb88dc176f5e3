//! What a snapshot of the task tree says.

#[path = "../suite/every_backend.rs"]
mod every_backend;

mod blocked;
mod counts;
mod current;
mod form;
mod load;
mod numbers;
mod shape;
mod states;

use bowline_concurrency::sync::Event;
use bowline_concurrency::{EntryKind, EntryState, Tree, TreeEntry, timeout, tree, yield_now};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A name that no other test of the process gives: `Tree::all` shows what all of them run.
fn own_name(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what} {}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// For who looks at `Tree::all`, and for who fills it: it has an end.
fn all_to_myself() -> MutexGuard<'static, ()> {
    static ALL: Mutex<()> = Mutex::new(());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the event when it goes, also by a failed assertion: what waits for it behind a shield would
/// keep the group for ever, and the test would hang and not fail.
struct Opens(Arc<Event>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// The entry of that name; there has to be one.
fn entry<'a>(tree: &'a Tree, name: &str) -> &'a TreeEntry {
    let found = tree.entries().iter().find(|entry| entry.name == name);
    found.unwrap_or_else(|| panic!("no {name:?} in:\n{tree}"))
}

/// Takes snapshots until one is as it is to be.
async fn until(wanted: impl Fn(&Tree) -> bool) -> Tree {
    let found = timeout(Duration::from_secs(60), async {
        loop {
            let tree = tree();
            if wanted(&tree) {
                return tree;
            }
            yield_now().await;
        }
    });
    match found.await {
        Ok(tree) => tree,
        Err(_) => panic!("it never came to this:\n{}", tree()),
    }
}

/// Whether the entry of that name, if there is one, is in that state.
fn is(tree: &Tree, name: &str, state: EntryState) -> bool {
    let mut named = tree.entries().iter().filter(|entry| entry.name == name);
    named.any(|entry| entry.state == state)
}

/// Waits until the entry of that name waits for that, and its task has left its poll: a snapshot
/// looks at one after the other.
async fn parked(name: &str, waiting_on: &str) -> Tree {
    until(|tree| {
        let mut named = tree.entries().iter().filter(|entry| entry.name == name);
        named.any(|entry| {
            let mut task = entry;
            while task.kind != EntryKind::Task
                && let Some(parent) = task.parent
            {
                task = &tree.entries()[parent];
            }
            let here = task.kind != EntryKind::Task;
            let left = here || task.state != EntryState::Running;
            entry.waiting_on == Some(waiting_on) && left
        })
    })
    .await
}
