//! Children whose runtime ends before they do.

#[path = "suite/alive.rs"]
mod alive;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    ChildErrorKind, GroupError, JoinError, StartError, Started, TaskGroup, TaskHandle, TaskStatus,
    sleep_forever, task_group, yield_now,
};
use futures_util::future::{BoxFuture, FutureExt, poll_immediate};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// Those whose tasks end with their `block_on`; async-std's threads belong to the process.
const ENDING: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::Sim];

type Handles = Arc<Mutex<Vec<TaskHandle<()>>>>;

/// A group with three children that wait for ever, as does its body.
fn waiting(
    handles: &Handles,
    alive: &Arc<AtomicUsize>,
) -> BoxFuture<'static, Result<(), GroupError<&'static str>>> {
    let (handles, alive) = (handles.clone(), alive.clone());
    let group = task_group(move |group: TaskGroup<&str>| async move {
        for _ in 0..3 {
            let probe = Alive::new(&alive);
            let child = group.named("lost").spawn_ok(async move {
                let _probe = probe;
                sleep_forever().await;
            });
            handles.lock().unwrap().push(child);
        }
        sleep_forever().await;
        Ok(())
    });
    group.boxed()
}

fn assert_lost(result: Result<(), GroupError<&'static str>>) {
    let error = result.expect_err("three children are lost");
    assert_eq!(error.children().len(), 3);
    for child in error.children() {
        assert_eq!(child.name(), "lost");
        assert!(matches!(child.kind(), ChildErrorKind::Lost));
    }
}

// TG32
#[test]
fn children_that_the_runtime_drops_are_lost() {
    for backend in ENDING {
        let (handles, alive) = (Handles::default(), Arc::new(AtomicUsize::new(0)));
        let mut group = waiting(&handles, &alive);
        let mut joins = Vec::new();
        backend.block_on(async {
            assert!(poll_immediate(&mut group).await.is_none());
            yield_now().await;
            // One is being joined, one waited for later, one looked at.
            let first = handles.lock().unwrap().remove(0);
            let mut join = first.join();
            assert!(poll_immediate(&mut join).await.is_none());
            joins.push(join);
        });
        assert_eq!(alive.load(Ordering::SeqCst), 0, "{backend:?}");
        for join in joins {
            assert!(matches!(join.now_or_never(), Some(Err(JoinError::Lost))));
        }
        let mut handles = handles.lock().unwrap();
        let last = handles.pop().expect("there are two left");
        assert_eq!(last.status(), TaskStatus::Lost);
        assert!(matches!(last.try_join(), Ok(Err(JoinError::Lost))));
        let wait = handles[0].wait().now_or_never();
        assert_eq!(wait, Some(TaskStatus::Lost));
        let polled = (0..3).find_map(|_| group.as_mut().now_or_never());
        assert_lost(polled.expect("nobody is left to wait for"));
    }
}

// TG32
#[test]
fn a_host_elsewhere_is_woken_when_its_children_are_lost() {
    for backend in [Backend::Tokio, Backend::Smol] {
        let (handles, alive) = (Handles::default(), Arc::new(AtomicUsize::new(0)));
        let mut group = waiting(&handles, &alive);
        let (parked, is_parked) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let runtime = move || {
            backend.block_on(async move {
                assert!(poll_immediate(&mut group).await.is_none());
                ready.send(group).expect("the other thread waits for it");
                // The children run on until the group is awaited elsewhere.
                is_parked.recv().expect("the other thread parks");
            });
        };
        std::thread::scope(|scope| {
            scope.spawn(runtime);
            let mut group: BoxFuture<'_, _> = is_ready.recv().expect("the group has begun");
            let result = Backend::AsyncStd.block_on(async {
                assert!(poll_immediate(&mut group).await.is_none());
                parked.send(()).expect("the runtime waits for it");
                group.await
            });
            assert_lost(result);
        });
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}

// TG32
#[test]
fn a_start_whose_child_is_lost_is_told() {
    for backend in ENDING {
        let mut group = task_group::<_, (), _, _>(|group| async move {
            let start = group.start(|_started: Started<()>| async {
                sleep_forever().await;
                Ok(())
            });
            Ok(matches!(start.await, Err(StartError::Lost)))
        })
        .boxed();
        let begun = backend.block_on(poll_immediate(&mut group));
        assert!(begun.is_none());
        let ended = (0..3).find_map(|_| group.as_mut().now_or_never());
        assert_eq!(ended.and_then(|result| result.ok()), Some(true));
    }
}
