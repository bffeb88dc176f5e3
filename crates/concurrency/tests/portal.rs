//! Calls from threads into a group of tasks.
#![expect(
    clippy::disallowed_methods,
    reason = "threads that run no tasks are what calls here"
)]

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CancelScope, CauseKind, Close, GroupError, Portal, PortalError, PortalHandle, PortalStartError,
    Root, Started, cancel_scope, current_task, on_cancel, run_in_thread, scope_local, sleep,
    sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::{join, poll_immediate};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

every_backend!(
    a_simulated_world_refuses_every_call;
    real:
    a_plain_thread_calls,
    a_root_is_not_needed,
    a_call_comes_from_its_caller,
    a_panic_is_the_callers_alone,
    a_poll_of_the_same_root_is_refused,
    a_closed_portal_calls_nothing,
    a_spawned_call_is_joined,
    a_spawned_call_is_cancelled,
    a_call_cancelled_in_the_queue_never_runs,
    a_dropped_handle_leaves_the_call,
    a_task_starts_with_a_value,
    a_task_that_does_not_start_is_the_callers,
    the_end_of_the_body_drains_the_calls,
    a_failed_body_cancels_the_calls,
    a_cancelled_body_cancels_the_calls,
    closing_drains_or_cancels,
    a_full_queue_holds_its_callers,
    a_portal_of_a_group_ends_with_its_last_clone,
    a_portal_of_an_ended_group_is_closed,
    a_call_from_another_backend,
);

type Nothing = Result<(), GroupError<()>>;

/// Runs `thread` on a plain thread, with the portal of a root, and waits for its end.
fn from_a_thread<T: Send + 'static>(
    root: Root,
    thread: impl FnOnce(Portal) -> T + Send + 'static,
) -> T {
    let (sends, sent) = mpsc::channel::<Portal>();
    let caller = thread::spawn(move || thread(sent.recv().expect("the portal opens")));
    let done = Arc::new(Event::new());
    let sets = done.clone();
    let watched = thread::spawn(move || {
        let result = caller.join();
        sets.set();
        result
    });
    let result: Nothing = root.block_on(Portal::open(|portal| async move {
        sends.send(portal).expect("the thread waits");
        done.wait().await;
        Ok(())
    }));
    result.expect("nothing fails");
    let result = watched.join().expect("it passes on");
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn cancelled<T>(result: Result<T, PortalError>) -> (CauseKind, String) {
    match result {
        Err(PortalError::Cancelled(cause)) => (cause.kind(), cause.reason().to_owned()),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not cancelled"),
    }
}

// TH11
fn a_plain_thread_calls(root: Root) {
    let (value, there, sync, again) = from_a_thread(root, |portal| {
        let here = thread::current().id();
        let value = portal.call(|| async {
            sleep(Duration::from_millis(1)).await;
            7
        });
        let there = portal.call(move || async move {
            let task = current_task().expect("it is a task");
            (thread::current().id() != here, task.parent().is_some())
        });
        let sync = portal.call_sync(|| current_task().is_some());
        // A worker thread of the same root may call, too.
        let inner = portal.clone();
        let again = portal.call(move || run_in_thread(move || inner.call(|| async { 8 })));
        (value, there, sync, again)
    });
    assert_eq!(value.ok(), Some(7));
    assert_eq!(there.ok(), Some((true, true)));
    assert_eq!(sync.ok(), Some(true));
    assert_eq!(again.ok().and_then(Result::ok), Some(8));
}

scope_local! {
    static USER: &'static str, inherit;
}

// TH11, CS59
fn a_call_comes_from_its_caller(root: Root) {
    let result: Nothing = root.block_on(USER.scope(
        "the portal's",
        Portal::open(|portal| async move {
            let user = || async { USER.with(|user| *user).ok() };
            let plain = portal.clone();
            let (done, told) = (Arc::new(Event::new()), mpsc::channel());
            let sets = done.clone();
            thread::spawn(move || {
                let seen = plain.call(user).ok().flatten();
                let place = plain.call(|| async { current_task().map(|task| task.location()) });
                told.0.send((seen, place)).expect("it is read");
                sets.set();
            });
            done.wait().await;
            let (seen, place) = told.1.recv().expect("it is told");
            assert_eq!(seen, None, "a plain thread has none");
            let place = place.expect("it is called").expect("it is a task");
            assert!(place.file().ends_with("portal.rs") && place.file().contains("tests"));
            let call = run_in_thread(move || portal.call(user).ok().flatten());
            assert_eq!(USER.scope("the caller's", call).await, Some("the caller's"));
            Ok(())
        }),
    ));
    result.expect("nothing fails");
}

// TH12
fn a_panic_is_the_callers_alone(root: Root) {
    from_a_thread(root, |portal| {
        let message = |result: Result<(), PortalError>| match result {
            Err(PortalError::Panicked(panic)) => panic.message().to_owned(),
            other => panic!("{other:?}"),
        };
        let body = portal.call(|| async {
            yield_now().await;
            panic!("in the future")
        });
        assert_eq!(message(body), "in the future");
        let closure = portal.call(|| -> std::future::Ready<()> { panic!("in the closure") });
        assert_eq!(message(closure), "in the closure");
        assert_eq!(message(portal.call_sync(|| panic!("in sync"))), "in sync");
        let spawned = portal.spawn(|| async { panic!("spawned") });
        assert_eq!(message(spawned.join_blocking()), "spawned");
        assert_eq!(portal.call(|| async { 7 }).ok(), Some(7), "it goes on");
    });
}

// TH13
fn a_poll_of_the_same_root_is_refused(root: Root) {
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    let result: Nothing = root.block_on(Portal::open(|portal| async move {
        let runs = |flag: &Arc<AtomicBool>| {
            let flag = flag.clone();
            move || async move { flag.store(true, Ordering::SeqCst) }
        };
        let refused = |result: Result<(), PortalError>| {
            assert!(
                matches!(result, Err(PortalError::WouldDeadlock)),
                "{result:?}"
            );
        };
        refused(portal.call(runs(&flag)));
        let there = flag.clone();
        refused(portal.call_sync(move || there.store(true, Ordering::SeqCst)));
        refused(portal.spawn(runs(&flag)).join_blocking());
        refused(portal.spawn(runs(&flag)).join().await);
        let there = flag.clone();
        let started = portal.start(move |started: Started<()>| async move {
            there.store(true, Ordering::SeqCst);
            drop(started);
            Ok::<(), ()>(())
        });
        let Err(PortalStartError::Portal(error)) = started else {
            panic!("{started:?}");
        };
        refused(Err(error));
        // Also from another group of the root, and from a call.
        let inner = portal.clone();
        let there = flag.clone();
        let nested = run_in_thread(move || {
            let last = inner.clone();
            inner.call(move || async move { last.call(runs(&there)) })
        });
        refused(nested.await.expect("the outer call is fine"));
        Ok(())
    }));
    result.expect("nothing fails");
    assert!(!ran.load(Ordering::SeqCst));
}

// TH13
fn a_closed_portal_calls_nothing(root: Root) {
    from_a_thread(root, |portal| {
        portal.close(Close::Wait);
        let ran = Arc::new(AtomicUsize::new(0));
        let counts = || {
            let ran = ran.clone();
            move || {
                ran.fetch_add(1, Ordering::SeqCst);
                std::future::ready(())
            }
        };
        let closed = |result| assert!(matches!(result, Err(PortalError::Closed)));
        closed(portal.call(counts()));
        closed(portal.call_sync(|| ()));
        let spawned = portal.spawn(counts());
        assert!(!spawned.cancel("too late"));
        closed(spawned.join_blocking());
        let started = portal.start(|_: Started<()>| async { Ok::<(), ()>(()) });
        let Err(PortalStartError::Portal(error)) = started else {
            panic!("{started:?}");
        };
        closed(Err(error));
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    });
}

// TH14
fn a_spawned_call_is_joined(root: Root) {
    from_a_thread(root, |portal| {
        let release = Arc::new(Event::new());
        let waits = release.clone();
        let slow = portal.spawn(move || async move {
            waits.wait().await;
            7
        });
        let fast = portal.spawn(|| async { 8 });
        assert_eq!(fast.join_blocking().ok(), Some(8));
        release.set();
        assert_eq!(slow.join_blocking().ok(), Some(7));
        // In a task of another root, by waiting.
        let waited = portal.spawn(|| async { 9 });
        assert_eq!(Backend::Smol.block_on(waited.join()).ok(), Some(9));
    });
}

// TH14
fn a_spawned_call_is_cancelled(root: Root) {
    from_a_thread(root, |portal| {
        let (started, finalised) = (Arc::new(Event::new()), Arc::new(AtomicBool::new(false)));
        let (starts, flag) = (started.clone(), finalised.clone());
        let call: PortalHandle<Infallible> = portal.spawn(move || async move {
            let _guard = on_cancel(|_| async move {
                sleep(Duration::from_millis(1)).await;
                flag.store(true, Ordering::SeqCst);
            });
            starts.set();
            sleep_forever().await
        });
        started.wait_blocking();
        assert!(call.cancel("enough"));
        assert!(!call.cancel("again"));
        let expected = (CauseKind::Explicit, "enough".to_owned());
        assert_eq!(cancelled(call.join_blocking()), expected);
        assert!(finalised.load(Ordering::SeqCst));
        // Cancelled by itself, it does not harm the others.
        assert_eq!(portal.call(|| async { 7 }).ok(), Some(7));
    });
}

/// A portal none of whose calls is begun until `go`, on one thread; and what holds them back.
struct Held {
    release: Arc<Event>,
}

impl Held {
    /// Keeps the only thread that runs tasks busy.
    fn new(portal: &Portal) -> Held {
        let (busy, release) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (starts, waits) = (busy.clone(), release.clone());
        drop(portal.spawn(move || async move {
            starts.set();
            while !waits.is_set() {
                thread::yield_now();
            }
        }));
        busy.wait_blocking();
        Held { release }
    }

    fn go(self) {
        self.release.set();
    }
}

/// As [`from_a_thread`], where one thread runs all tasks of the portal.
fn with_one_thread<T>(backend: Backend, f: impl FnOnce(Portal) -> T) -> T {
    Portal::thread(backend, f)
}

fn backend_of(root: Root) -> Backend {
    root.block_on(async { Backend::current().expect("it runs") })
}

// TH14
fn a_call_cancelled_in_the_queue_never_runs(root: Root) {
    let backend = backend_of(root);
    if !backend.capabilities().drops_tasks_on_exit {
        // Its executor is the process's and has more threads.
        return;
    }
    with_one_thread(backend, |portal| {
        let held = Held::new(&portal);
        let ran = Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        let call = portal.spawn(move || async move { flag.store(true, Ordering::SeqCst) });
        assert!(call.cancel("not needed"));
        assert!(!call.cancel("again"));
        // Known at once, while the call is still in the queue.
        let expected = (CauseKind::Explicit, "not needed".to_owned());
        assert_eq!(cancelled(call.join_blocking()), expected);
        held.go();
        assert_eq!(portal.call(|| async { 7 }).ok(), Some(7));
        assert!(!ran.load(Ordering::SeqCst));
    });
}

// TH14
fn a_dropped_handle_leaves_the_call(root: Root) {
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    from_a_thread(root, move |portal| {
        drop(portal.spawn(move || async move {
            for _ in 0..100 {
                yield_now().await;
            }
            flag.store(true, Ordering::SeqCst);
        }));
    });
    assert!(done.load(Ordering::SeqCst), "the portal waited for it");
}

// TH15
fn a_task_starts_with_a_value(root: Root) {
    from_a_thread(root, |portal| {
        let release = Arc::new(Event::new());
        let waits = release.clone();
        let start = portal.start(move |started: Started<u16>| async move {
            yield_now().await;
            started.send(4000).expect("the thread waits");
            waits.wait().await;
            Err::<(), _>("afterwards")
        });
        let (server, port) = start.expect("it starts");
        assert_eq!(port, 4000);
        release.set();
        assert_eq!(server.join_blocking().ok(), Some(Err("afterwards")));
        // One that has ended by the time anybody looks has started all the same.
        for _ in 0..100 {
            let start = portal.start(|started: Started<u16>| async move {
                started.send(1).expect("the thread waits");
                Ok::<_, ()>(2)
            });
            let (task, value) = start.expect("it starts");
            assert_eq!((value, task.join_blocking().ok()), (1, Some(Ok(2))));
        }
    });
}

// TH15
fn a_task_that_does_not_start_is_the_callers(root: Root) {
    from_a_thread(root, |portal| {
        let failed = portal.start(|_: Started<()>| async { Err::<(), _>("no port") });
        assert!(matches!(failed, Err(PortalStartError::Failed("no port"))));
        let early = portal.start(|_: Started<()>| async { Ok::<(), ()>(()) });
        assert!(matches!(early, Err(PortalStartError::ExitedEarly)));
        let panics = |_: Started<()>| async { panic!("no start") };
        let panicked = portal.start::<(), (), (), _, _>(panics);
        let Err(PortalStartError::Portal(PortalError::Panicked(panic))) = panicked else {
            panic!("{panicked:?}");
        };
        assert_eq!(panic.message(), "no start");
        let closer = portal.clone();
        let cancelled = portal.start(move |_: Started<()>| async move {
            closer.close(Close::Cancel);
            sleep_forever().await;
            Ok::<(), ()>(())
        });
        let Err(PortalStartError::Portal(PortalError::Cancelled(cause))) = cancelled else {
            panic!("{cancelled:?}");
        };
        assert_eq!(cause.reason(), "the portal was closed");
    });
}

/// Runs the body of a portal with a thread that has a call running in it; gives what the call
/// ended with. The body goes on once the call runs.
fn with_a_running_call<E, F>(
    root: Root,
    release: &Arc<Event>,
    body: impl FnOnce(Portal) -> F + Send,
) -> (Result<(), GroupError<E>>, Result<u8, PortalError>)
where
    E: Send + 'static,
    F: Future<Output = Result<(), E>> + Send,
{
    let (tells, told) = mpsc::channel();
    let waits = release.clone();
    let result = root.block_on(async {
        let open = Portal::open(|portal| async move {
            let running = Arc::new(Event::new());
            let (runs, inner) = (running.clone(), portal.clone());
            thread::spawn(move || {
                let result = inner.call(move || async move {
                    runs.set();
                    waits.wait().await;
                    7
                });
                tells.send(result).expect("it is read");
            });
            running.wait().await;
            body(portal).await
        });
        open.await
    });
    (result, told.recv().expect("every call returns"))
}

// TH16
fn the_end_of_the_body_drains_the_calls(root: Root) {
    let release = Arc::new(Event::new());
    let frees = release.clone();
    let (result, call) = with_a_running_call::<(), _>(root, &release, |portal| async move {
        // Queued behind, by a thread that does not wait: still drained.
        let (done, sets) = (Arc::new(Event::new()), frees.clone());
        let queued = done.clone();
        thread::spawn(move || {
            drop(portal.spawn(move || async move { sets.set() }));
            done.set();
        });
        queued.wait().await;
        Ok(())
    });
    result.expect("nothing fails");
    assert_eq!(call.ok(), Some(7));
    assert!(release.is_set());
}

// TH16
fn a_failed_body_cancels_the_calls(root: Root) {
    let release = Arc::new(Event::new());
    let (result, call) = with_a_running_call(root, &release, |_| async { Err("broken") });
    assert_eq!(
        result.expect_err("it failed").into_single().ok(),
        Some("broken")
    );
    assert_eq!(cancelled(call).0, CauseKind::HostFailed);
}

// TH16
fn a_cancelled_body_cancels_the_calls(root: Root) {
    let (tells, told) = mpsc::channel();
    let outcome = root.block_on(cancel_scope(|scope| async move {
        let open = Portal::open(|portal| async move {
            let running = Arc::new(Event::new());
            let runs = running.clone();
            thread::spawn(move || {
                let result = portal.call(move || async move {
                    runs.set();
                    sleep_forever().await;
                });
                let late = portal.call(|| async {});
                tells.send((result, late)).expect("it is read");
            });
            running.wait().await;
            scope.cancel("stop");
            sleep_forever().await;
            Ok::<(), ()>(())
        });
        let _ = open.await;
    }));
    assert_eq!(outcome.cause().map(|cause| cause.reason()), Some("stop"));
    let (running, late) = told.recv().expect("every call returns");
    assert_eq!(cancelled(running), (CauseKind::Explicit, "stop".to_owned()));
    match late {
        // It came before the portal had noticed.
        Err(PortalError::Cancelled(_)) | Err(PortalError::Closed) => {}
        other => panic!("{other:?}"),
    }
}

// TH16
fn closing_drains_or_cancels(root: Root) {
    let backend = backend_of(root);
    for how in [Close::Wait, Close::Cancel] {
        Portal::thread(backend, |portal| {
            let (started, release) = (Arc::new(Event::new()), Arc::new(Event::new()));
            let (starts, waits) = (started.clone(), release.clone());
            let call = portal.spawn(move || async move {
                starts.set();
                waits.wait().await;
                7
            });
            started.wait_blocking();
            portal.close(how);
            assert!(matches!(portal.call(|| async {}), Err(PortalError::Closed)));
            if how == Close::Wait {
                release.set();
                assert_eq!(call.join_blocking().ok(), Some(7));
                return;
            }
            let expected = (CauseKind::Explicit, "the portal was closed".to_owned());
            assert_eq!(cancelled(call.join_blocking()), expected);
        });
    }
}

// TH16
fn a_full_queue_holds_its_callers(root: Root) {
    let backend = backend_of(root);
    if !backend.capabilities().drops_tasks_on_exit {
        return;
    }
    with_one_thread(backend, |portal| {
        let held = Held::new(&portal);
        let ran = Arc::new(AtomicUsize::new(0));
        let call = || {
            let ran = ran.clone();
            portal.spawn(move || async move {
                ran.fetch_add(1, Ordering::SeqCst);
                sleep_forever().await
            })
        };
        let queued: Vec<_> = (0..1024).map(|_| call()).collect();
        thread::scope(|scope| {
            let waits = scope.spawn(|| call().join_blocking());
            // It has no room, and begins to wait.
            while !format!("{portal:?}").contains("senders: 1") {
                thread::yield_now();
            }
            portal.close(Close::Cancel);
            // It was never taken.
            let waited = waits.join().expect("it returns");
            assert!(matches!(waited, Err(PortalError::Closed)));
        });
        held.go();
        for call in queued {
            assert_eq!(cancelled(call.join_blocking()).1, "the portal was closed");
        }
        // The first of them had been given to whoever begins them, and was polled once.
        assert!(ran.load(Ordering::SeqCst) <= 1);
    });
}

// TH14, TH16
fn a_portal_of_a_group_ends_with_its_last_clone(root: Root) {
    let (tells, told) = mpsc::channel();
    let result: Nothing = root.block_on(task_group(|group| async move {
        let portal = Portal::in_group(&group);
        let clone = portal.clone();
        thread::spawn(move || {
            let spawned = clone.spawn(|| async { 7 });
            drop(clone);
            let joined = spawned.join_blocking();
            tells.send(joined.ok()).expect("it is read");
        });
        drop(portal);
        // The group waits for the thread to be done with the portal.
        Ok(())
    }));
    result.expect("nothing fails");
    assert_eq!(told.recv(), Ok(Some(7)));
}

// TH13
fn a_portal_of_an_ended_group_is_closed(root: Root) {
    root.block_on(async {
        let group = task_group(|group| async move { Ok::<_, ()>(group) });
        let group = group.await.expect("nothing fails");
        let portal = Portal::in_group(&group);
        let call = run_in_thread(move || portal.call(|| async { 7 }));
        assert!(matches!(call.await, Err(PortalError::Closed)));
    });
}

// TH17
fn a_call_from_another_backend(root: Root) {
    from_a_thread(root, |portal| {
        for other in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
            let inner = portal.clone();
            let result: Result<_, GroupError<()>> =
                Root::new()
                    .backend(other)
                    .block_on(task_group(|_| async move {
                        // Also where the caller is cancelled: what blocks is no await.
                        let scope = CancelScope::new();
                        let handle = scope.handle();
                        let outcome = scope.run(async {
                            handle.cancel("meanwhile");
                            inner.call(|| async { Backend::current().map(Backend::name) })
                        });
                        let called = outcome.await.done().expect("it completes");
                        let (joined, ()) = join(inner.spawn(|| async { 8 }).join(), async {}).await;
                        Ok((called.ok(), joined.ok()))
                    }));
            let (called, joined) = result.expect("nothing fails");
            assert!(called.expect("it is called").is_ok());
            assert_eq!(joined, Some(8));
        }
    });
}

// TH11, TH13
fn a_root_is_not_needed(root: Root) {
    let backend = backend_of(root);
    let result: Result<_, GroupError<()>> = backend.block_on(Portal::open(|portal| async move {
        let refused = portal.call(|| async {});
        assert!(matches!(refused, Err(PortalError::WouldDeadlock)));
        Ok(run_in_thread(move || portal.call(|| async { 7 })).await)
    }));
    assert_eq!(result.expect("nothing fails").ok(), Some(7));
}

fn a_simulated_world_refuses_every_call(root: Root) {
    let result: Nothing = root.block_on(Portal::open(|portal| async move {
        let simulated = Backend::current() == Ok(Backend::Sim);
        let inner = portal.clone();
        let called = run_in_thread(move || inner.call(|| async { 7 })).await;
        match called {
            Err(PortalError::WouldDeadlock) => assert!(simulated),
            Ok(value) => assert!(!simulated && value == 7),
            other => panic!("{other:?}"),
        }
        Ok(())
    }));
    result.expect("nothing fails");
}

#[test]
fn a_waiting_join_may_be_dropped() {
    Portal::thread(Backend::Smol, |portal| {
        let release = Arc::new(Event::new());
        let waits = release.clone();
        let done = Arc::new(Event::new());
        let sets = done.clone();
        let call = portal.spawn(move || async move {
            waits.wait().await;
            sets.set();
        });
        Backend::Tokio.block_on(async {
            let mut join = Box::pin(call.join());
            assert!(poll_immediate(&mut join).await.is_none());
        });
        release.set();
        // The call goes on without it.
        done.wait_blocking();
    });
}

// TG42
#[test]
fn what_is_awaited_may_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn generic<T: Send + 'static, E: Send + 'static>(result: Result<T, E>) -> impl Send {
        is_send(Portal::open(|portal| async move {
            is_send(run_in_thread(|| ())).await;
            let _ = is_send(portal.spawn(|| async {}).join()).await;
            result
        }))
    }
    drop(generic(Ok::<u8, ()>(7)));
    fn is_sync<T: Send + Sync>() {}
    is_sync::<Portal>();
    is_sync::<PortalHandle<u8>>();
}
