//! Every state, provoked.

use super::{Opens, entry, is, parked, until};
use crate::every_backend::every_backend;
use bowline_concurrency::sync::{Event, Lock, Queue, Semaphore};
use bowline_concurrency::{
    CancelScope, EntryKind, EntryState, GroupError, Root, TaskGroup, as_completed, cancelled,
    current_task, on_cancel, shield, sleep, sleep_forever, task_group, tree,
};
use std::sync::Arc;
use std::time::Duration;

every_backend!(
    the_one_that_asks_runs_and_the_rest_is_parked,
    a_shield_and_what_it_keeps_are_shielded,
    what_waits_for_a_group_after_its_cancel_is_frozen,
    a_cut_task_is_finalising,
    a_group_that_waits_for_its_children_is_done,
    leaves_say_what_is_waited_for,
    an_idle_as_completed_does_not_run,
);

// TX2
fn the_one_that_asks_runs_and_the_rest_is_parked(root: Root) {
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        group.named("waits").spawn_ok(sleep_forever());
        let tree = parked("waits", "sleep_forever").await;
        let waits = entry(&tree, "waits");
        assert_eq!((waits.state, waits.holds), (EntryState::Parked, 0));
        assert!(tree.to_string().contains("parked on sleep_forever"));
        for entry in tree.entries() {
            let asks = entry.kind != EntryKind::Task;
            assert_eq!(entry.state == EntryState::Running, asks, "{tree}");
        }
        group.cancel("seen");
        Ok(())
    }));
    done.unwrap();
}

// TX2, TX3
fn a_shield_and_what_it_keeps_are_shielded(root: Root) {
    let gate = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let opens = Opens(gate.clone());
        let child = group.named("kept").spawn_ok(async move {
            let scope = CancelScope::new().name("shield").shielded();
            let _ = scope.run(gate.wait()).await;
            sleep_forever().await
        });
        let host = current_task().expect("the root's body is a task").id();
        let tree = parked("shield", "Event::wait").await;
        assert_eq!(entry(&tree, "shield").state, EntryState::Shielded);
        assert_eq!(entry(&tree, "kept").state, EntryState::Parked);
        assert_eq!(entry(&tree, "kept").holds, 1);
        child.cancel("stop");
        let tree =
            until(|tree| entry(tree, "kept").polls >= 2 && is(tree, "kept", EntryState::Shielded))
                .await;
        let (task, shield) = (entry(&tree, "kept"), entry(&tree, "shield"));
        assert_eq!(task.state, EntryState::Shielded, "{tree}");
        assert_eq!(shield.state, EntryState::Shielded);
        assert_eq!(
            task.cause.as_ref().map(|cause| cause.reason()),
            Some("stop")
        );
        assert!(shield.cause.is_none(), "outer cancels are hidden from it");
        let text = tree.to_string();
        let line = text.lines().find(|line| line.contains("task kept"));
        let line = line.expect("it has a line");
        assert!(line.contains("shielded"), "{line}");
        assert!(
            line.contains(&format!("cancelled: Explicit \"stop\" by {host}")),
            "{line}"
        );
        drop(opens);
        assert!(child.join().await.is_err());
        Ok(())
    }));
    done.unwrap();
}

// TX2
fn what_waits_for_a_group_after_its_cancel_is_frozen(root: Root) {
    let gate = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let opens = Opens(gate.clone());
        let outer = group.named("outer").spawn(async move {
            let inner = TaskGroup::builder().name("inner");
            let inner = inner.run(|group| async move {
                group.named("shielded").spawn_ok(shield(async move {
                    gate.wait().await;
                }));
                sleep_forever().await;
                Ok::<(), ()>(())
            });
            inner.await.map_err(|_| ())
        });
        parked("shielded", "Event::wait").await;
        outer.cancel("stop");
        let tree = until(|tree| {
            is(tree, "inner", EntryState::Done) && is(tree, "outer", EntryState::Frozen)
        })
        .await;
        let outer_entry = entry(&tree, "outer");
        assert_eq!(outer_entry.holds, 1);
        // The outer one may be in the poll that ends the inner one's body: it is read before that.
        until(|tree| {
            let shielded = entry(tree, "shielded").state == EntryState::Shielded;
            shielded && tree.to_string().contains("frozen on children")
        })
        .await;
        drop(opens);
        assert!(outer.join().await.is_err());
        Ok(())
    }));
    done.unwrap();
}

// TX2
fn a_cut_task_is_finalising(root: Root) {
    let gate = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let opens = Opens(gate.clone());
        let child = group.named("closes").spawn_ok(async move {
            let _close = on_cancel(move |_| async move { gate.wait().await });
            sleep_forever().await
        });
        parked("closes", "sleep_forever").await;
        child.cancel("stop");
        parked("finalisers", "Event::wait").await;
        let tree = until(|tree| is(tree, "closes", EntryState::Finalising)).await;
        let task = entry(&tree, "closes");
        assert_eq!(task.state, EntryState::Finalising);
        assert_eq!(task.waiting_on, Some("Event::wait"));
        assert_eq!(entry(&tree, "finalisers").parent, Some(task.id));
        assert!(
            entry(&tree, "finalisers").deadline.is_some(),
            "they are bounded"
        );
        drop(opens);
        assert!(child.join().await.is_err());
        Ok(())
    }));
    done.unwrap();
}

// TX2
fn a_group_that_waits_for_its_children_is_done(root: Root) {
    let gate = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let opens = Opens(gate.clone());
        group.named("host").spawn(async move {
            let inner = TaskGroup::builder().name("inner");
            let inner = inner.run(|group| async move {
                group
                    .named("late")
                    .spawn_ok(async move { gate.wait().await });
                Ok::<(), ()>(())
            });
            inner.await.map_err(|_| ())
        });
        let tree = parked("host", "children").await;
        let inner = entry(&tree, "inner");
        assert_eq!((inner.state, inner.tasks), (EntryState::Done, 1));
        assert_eq!(entry(&tree, "host").state, EntryState::Parked);
        let text = tree.to_string();
        assert!(text.contains("done on children  children 1"), "{text}");
        drop(opens);
        Ok(())
    }));
    done.unwrap();
}

fn leaves_say_what_is_waited_for(root: Root) {
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let (lock, permits) = (Arc::new(Lock::new(())), Arc::new(Semaphore::new(0)));
        let held = lock.clone().lock_owned().await;
        let queue: Arc<Queue<u8>> = Arc::new(Queue::bounded(1).expect("one is allowed"));
        let other = queue.clone();
        group
            .named("lock")
            .spawn_ok(async move { drop(lock.lock().await) });
        group
            .named("permit")
            .spawn_ok(async move { drop(permits.acquire().await) });
        group
            .named("recv")
            .spawn_ok(async move { queue.recv().await.is_ok() });
        group
            .named("sleep")
            .spawn_ok(sleep(Duration::from_secs(3600)));
        group.named("cancelled").spawn_ok(cancelled());
        let waits = group.named("join").spawn_ok(sleep_forever());
        group.named("joins").spawn_ok(waits.join());
        for (name, what) in [
            ("lock", "Lock::lock"),
            ("permit", "Semaphore::acquire"),
            ("recv", "Queue::recv"),
            ("sleep", "sleep"),
            ("cancelled", "cancelled"),
            ("joins", "TaskHandle::join"),
        ] {
            let tree = parked(name, what).await;
            assert_eq!(entry(&tree, name).state, EntryState::Parked);
        }
        // The name goes with the wait.
        other.send(1).await.expect("it is open");
        let over = |tree: &bowline_concurrency::Tree| {
            tree.entries().iter().all(|entry| entry.name != "recv")
        };
        until(over).await;
        drop(held);
        let mine = tree();
        assert_eq!(mine.entries()[0].waiting_on, None, "it runs");
        group.cancel("seen");
        Ok(())
    }));
    done.unwrap();
}

// TX2
fn an_idle_as_completed_does_not_run(root: Root) {
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        group.named("reads").spawn_ok(async {
            let mut answers = as_completed([Duration::ZERO, Duration::from_secs(60)].map(sleep));
            answers.next().await;
            sleep_forever().await;
        });
        let tree = parked("reads", "sleep_forever").await;
        let task = tree
            .entries()
            .iter()
            .position(|entry| entry.name == "reads");
        let mut below = tree.entries().iter().filter(|entry| entry.parent == task);
        assert_eq!(below.next().unwrap().state, EntryState::Parked, "{tree}");
        group.cancel("seen");
        Ok(())
    }));
    done.unwrap();
}
