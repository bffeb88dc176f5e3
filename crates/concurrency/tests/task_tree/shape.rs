//! Which entries there are, and where they come from.

use super::{Opens, all_to_myself, entry, own_name, parked, until};
use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CancelScope, EntryKind, GroupError, Root, TaskGroup, Tree, sleep_forever, task_group, timeout,
    tree,
};
use std::sync::Arc;
use std::time::Duration;

every_backend!(
    every_construct_is_there_with_its_name_and_line,
    children_stand_in_the_order_in_which_they_came,
    a_place_kept_for_a_child_is_no_entry,
    a_group_below_no_root_is_its_own_tree,
    all_roots_are_listed_while_they_run,
);

// TX1
fn every_construct_is_there_with_its_name_and_line(root: Root) {
    let gate = Arc::new(Event::new());
    let at = line!() + 1;
    root.name("main").block_on(async {
        let group = TaskGroup::builder().name("serve");
        let group = group.run(|group| async move {
            let opens = Opens(gate.clone());
            let spawned = line!() + 1;
            let child = group.named("accept").spawn_ok(async move {
                let scope = CancelScope::new().name("inner");
                let _ = scope.run(timeout(Duration::MAX, gate.wait())).await;
            });
            let tree = parked("accept", "Event::wait").await;
            let (root, group) = (entry(&tree, "main"), entry(&tree, "serve"));
            let (task, scope) = (entry(&tree, "accept"), entry(&tree, "inner"));
            assert_eq!(root.kind, EntryKind::Root);
            assert_eq!((root.location.line(), root.parent), (at, None));
            assert_eq!(group.kind, EntryKind::Group);
            assert_eq!(
                (group.location.line(), group.parent),
                (at + 1, Some(root.id))
            );
            assert_eq!(task.kind, EntryKind::Task);
            assert_eq!(
                (task.location.line(), task.parent),
                (spawned, Some(group.id))
            );
            assert_eq!(task.task, Some(child.id()));
            assert_eq!(scope.kind, EntryKind::Scope);
            assert_eq!(
                (scope.location.line(), scope.parent),
                (spawned + 1, Some(task.id))
            );
            let inside = &tree.entries()[scope.children[0]];
            assert_eq!(
                (inside.kind, inside.location.line()),
                (EntryKind::Scope, spawned + 2)
            );
            for entry in tree.entries() {
                assert_eq!(tree.entries()[entry.id].id, entry.id);
                // The one that `parked` is in has its own place.
                assert!(entry.location.file().contains("task_tree"), "{tree}");
                assert_eq!(entry.backend, root.backend);
            }
            let text = tree.to_string();
            for said in [
                "root \"main\"",
                "group \"serve\"",
                "task accept",
                "scope \"inner\"",
            ] {
                assert!(text.contains(said), "{said} is not in:\n{text}");
            }
            let place = format!("shape.rs:{spawned}");
            assert!(text.contains(&place), "{place} is not in:\n{text}");
            drop(opens);
            Ok(())
        });
        let done: Result<(), GroupError<()>> = group.await;
        done.unwrap();
    });
}

fn children_stand_in_the_order_in_which_they_came(root: Root) {
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let first: Vec<_> = (0..20)
            .map(|n| group.named(format!("{n:02}")).spawn_ok(sleep_forever()))
            .collect();
        // Their places are used again.
        for handle in first.into_iter().step_by(2) {
            handle.cancel("make room");
            handle.wait().await;
        }
        // Its handle knows of a task's end a moment before it leaves the tree.
        until(|tree| tree.entries()[1].tasks == 10).await;
        for n in 20..30 {
            group.named(format!("{n:02}")).spawn_ok(sleep_forever());
        }
        let tree = tree();
        let tasks = tree.entries().iter();
        let tasks = tasks.filter(|entry| entry.kind == EntryKind::Task);
        let names: Vec<_> = tasks.map(|entry| entry.name.clone()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
        assert_eq!(names.len(), 20);
        group.cancel("seen");
        Ok(())
    }));
    done.unwrap();
}

fn a_place_kept_for_a_child_is_no_entry(root: Root) {
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let slot = group.admit().await.expect("the group is open");
        let tree = tree();
        assert_eq!(tree.entries().len(), 2, "{tree}");
        assert_eq!(tree.entries()[1].tasks, 0);
        drop(slot);
        Ok(())
    }));
    done.unwrap();
}

fn a_group_below_no_root_is_its_own_tree(root: Root) {
    let _all = all_to_myself();
    let (alone, child) = (own_name("alone"), own_name("child"));
    // The backend of the case, entered without a root.
    let backend = root.block_on(async { Backend::current().expect("it runs") });
    let is_there = || {
        let all = Tree::all();
        all.entries().iter().any(|entry| entry.name == alone)
    };
    let done: Result<(), GroupError<()>> = backend.block_on(async {
        let outside = tree();
        assert_eq!(outside.entries()[0].kind, EntryKind::Root);
        assert_eq!(outside.entries()[0].name, "process");
        assert!(!is_there());
        let (alone, child) = (&alone, &child);
        let group = TaskGroup::builder().name(alone.clone());
        let done = group.run(|group| async move {
            group.named(child.clone()).spawn_ok(sleep_forever());
            let tree = tree();
            let group_entry = entry(&tree, alone);
            assert_eq!((group_entry.id, group_entry.parent), (0, None));
            assert_eq!(entry(&tree, child).parent, Some(0));
            let all = Tree::all();
            assert_eq!(entry(&all, child).parent, Some(entry(&all, alone).id));
            assert_eq!(entry(&all, alone).parent, None);
            group.cancel("seen");
            Ok(())
        });
        let done = done.await;
        assert!(!is_there());
        done
    });
    done.unwrap();
}

fn all_roots_are_listed_while_they_run(root: Root) {
    let listed = own_name("listed");
    let is_there = || {
        let all = Tree::all();
        all.entries().iter().any(|entry| entry.name == listed)
    };
    let backend = root.name(&listed).block_on(async {
        let all = Tree::all();
        assert_eq!(entry(&all, &listed).parent, None);
        Backend::current().expect("it runs")
    });
    assert!(!is_there());
    if backend == Backend::Sim {
        // A world is not to be seen from the outside.
        Root::new().name(&listed).backend(backend).block_on(async {
            let outside =
                std::thread::scope(|scope| scope.spawn(is_there).join().expect("it looks only"));
            assert!(!outside);
            assert!(is_there());
        });
    }
}
