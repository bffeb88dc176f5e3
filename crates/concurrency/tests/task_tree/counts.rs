//! Polls, wakes and time.

use super::{Opens, entry, parked, until};
use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    EntryKind, EntryState, GroupError, Root, ThreadContext, TreeEntry, now, run_in_thread, shield,
    sleep_forever, task_group, tree, yield_now,
};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

every_backend!(
    polls_and_wakes_are_those_of_the_test,
    a_cancel_is_a_wake,
    the_root_is_counted_too,
    time_is_measured_where_it_is_asked_for;
    real: what_a_thread_blocks_on_is_counted,
);

// TX4
fn polls_and_wakes_are_those_of_the_test(root: Root) {
    const OWN: u64 = 5;
    const FOREIGN: u64 = 3;
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let polled = Arc::new(AtomicU64::new(0));
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let (keeps, counts) = (waker.clone(), polled.clone());
        group.named("counted").spawn_ok(shield(poll_fn(move |cx| {
            // The first ones wake it twice each.
            if counts.load(Ordering::SeqCst) < OWN {
                cx.waker().wake_by_ref();
                let own = cx.waker().clone();
                own.wake();
            }
            *keeps.lock().unwrap() = Some(cx.waker().clone());
            match counts.fetch_add(1, Ordering::SeqCst) > OWN + FOREIGN {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })));
        let has_polled = async |times: u64| {
            while polled.load(Ordering::SeqCst) < times {
                yield_now().await;
            }
        };
        has_polled(OWN + 1).await;
        for n in 1..=FOREIGN {
            let tree = until(|tree| entry(tree, "counted").polls == OWN + n).await;
            let task = entry(&tree, "counted");
            assert_eq!(task.wakes, 2 * OWN + n - 1);
            assert_eq!(task.busy, Duration::ZERO);
            assert_eq!(task.age, None);
            let shield = &tree.entries()[task.children[0]];
            assert_eq!((shield.polls, shield.wakes), (OWN + n, 0));
            let said = format!("polls {}  wakes {}", OWN + n, 2 * OWN + n - 1);
            assert!(tree.to_string().contains(&said), "{tree}");
            let waker = waker.lock().unwrap().take().expect("it was polled");
            waker.wake();
            has_polled(OWN + 1 + n).await;
        }
        let waker = waker.lock().unwrap().take().expect("it was polled");
        waker.wake();
        Ok(())
    }));
    done.unwrap();
}

// TX4
fn a_cancel_is_a_wake(root: Root) {
    let gate = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let opens = Opens(gate.clone());
        let child = group
            .named("stays")
            .spawn_ok(shield(async move { gate.wait().await }));
        let tree = parked("stays", "Event::wait").await;
        let task = entry(&tree, "stays");
        assert_eq!((task.polls, task.wakes), (1, 0));
        child.cancel("stop");
        let tree = until(|tree| entry(tree, "stays").polls == 2).await;
        assert_eq!(entry(&tree, "stays").wakes, 1);
        drop(opens);
        Ok(())
    }));
    done.unwrap();
}

// TX4
fn the_root_is_counted_too(root: Root) {
    root.name("main").block_on(async {
        let before = entry(&tree(), "main").clone();
        for n in 1..10 {
            yield_now().await;
            let tree = tree();
            let after = entry(&tree, "main");
            assert_eq!(after.polls, before.polls + n);
            assert_eq!(after.wakes, before.wakes + n);
        }
        assert!(before.age.is_some());
    });
}

// TX4
fn what_a_thread_blocks_on_is_counted(root: Root) {
    const TIMES: u64 = 5;
    let gate = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> =
        root.measure().block_on(task_group(|group| async move {
            let waits = gate.clone();
            let thread = group.spawn_ok(
                run_in_thread(move || {
                    let context = ThreadContext::current().expect("this is such a closure");
                    let guest = async move {
                        for _ in 0..TIMES {
                            yield_now().await;
                        }
                        waits.wait().await;
                    };
                    context.block_on(guest).expect("nothing is cancelled");
                })
                .name("visits"),
            );
            let is_guest =
                |entry: &&TreeEntry| entry.kind == EntryKind::Task && entry.name == "visits";
            let tree = until(|tree| {
                let guest = tree.entries().iter().find(is_guest);
                guest.is_some_and(|guest| guest.waiting_on == Some("Event::wait"))
            })
            .await;
            let guest = tree.entries().iter().find(is_guest).expect("it waits");
            assert_eq!((guest.polls, guest.wakes), (TIMES + 1, TIMES), "{tree}");
            assert!(guest.age.is_some(), "{tree}");
            gate.set();
            assert!(thread.join().await.is_ok());
            Ok(())
        }));
    done.unwrap();
}

// TX4
fn time_is_measured_where_it_is_asked_for(root: Root) {
    const SPAN: Duration = Duration::from_millis(2);
    root.measure().block_on(async {
        // The clock of a world stands still while a task runs.
        let simulated = Backend::current() == Ok(Backend::Sim);
        let done: Result<(), GroupError<()>> = task_group(|group| async move {
            group.named("busy").spawn_ok(async move {
                let start = now();
                while !simulated && now() - start < SPAN {}
                sleep_forever().await
            });
            let is_timed = |busy: Duration| simulated || !busy.is_zero();
            until(|tree| {
                let task = entry(tree, "busy");
                task.state == EntryState::Parked && is_timed(task.busy)
            })
            .await;
            let tree = tree();
            let task = entry(&tree, "busy");
            assert_eq!(task.polls, 1);
            assert!(task.age.expect("it is measured") >= task.busy);
            if simulated {
                assert_eq!(task.busy, Duration::ZERO);
            } else {
                assert!(task.busy >= SPAN, "{tree}");
                assert!(tree.to_string().contains("  busy "), "{tree}");
            }
            assert_eq!(tree.entries()[1].busy, Duration::ZERO, "a group has none");
            group.cancel("seen");
            Ok(())
        })
        .await;
        done.unwrap();
    });
}
