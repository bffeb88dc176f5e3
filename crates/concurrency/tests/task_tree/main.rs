//! What a snapshot of the task tree says.

#[path = "../suite/every_backend.rs"]
mod every_backend;

mod blocked;
mod counts;
mod current;
mod form;
mod load;
mod shape;
mod states;

use bowline_concurrency::{Tree, TreeEntry, timeout, tree, yield_now};
use std::time::Duration;

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

/// Waits until the task of that name has parked.
async fn parked(name: &str, waiting_on: &str) -> Tree {
    until(|tree| {
        let mut found = tree.entries().iter().filter(|entry| entry.name == name);
        found.any(|entry| entry.waiting_on == Some(waiting_on))
    })
    .await
}
