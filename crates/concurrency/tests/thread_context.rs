//! Futures that a thread waits for, in the scopes of its host.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_backend::task::RunOptions;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CauseKind, Deadline, GroupError, Outcome, Root, ThreadContext, ThreadError, cancel_scope,
    check_cancelled, current_effective_deadline, current_task, is_cancelled, move_on_after, now,
    on_cancel, propagate, run_in_thread, scope_local, sleep, sleep_forever, task_group, timeout_at,
};
use every_backend::every_backend;
use futures_util::future::{join, poll_immediate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

every_backend!(
    a_simulated_world_refuses_to_park;
    real:
    a_thread_runs_a_future_in_the_scopes_of_its_host,
    a_cancel_of_the_host_ends_what_the_thread_waits_for,
    a_deadline_of_the_host_ends_what_the_thread_waits_for,
    a_task_of_a_thread_may_have_children,
    a_panic_goes_on_in_the_thread,
    a_lost_host_cancels_what_the_thread_waits_for,
    an_abandoned_thread_has_a_place_of_its_own,
    what_a_thread_waits_for_when_abandoned_is_cancelled,
    the_end_of_the_root_ends_what_an_abandoned_thread_waits_for,
    behind_the_end_of_the_root_nothing_runs,
    a_foreign_executor_on_a_thread_hears_of_cancels,
);

fn context() -> ThreadContext {
    ThreadContext::current().expect("this is a closure of `run_in_thread`")
}

fn cause_of<T>(result: Result<T, ThreadError>) -> (CauseKind, String) {
    match result {
        Err(ThreadError::Cancelled(cause)) => (cause.kind(), cause.reason().to_owned()),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not cancelled"),
    }
}

scope_local! {
    static USER: &'static str, inherit;
}

// TH8
fn a_thread_runs_a_future_in_the_scopes_of_its_host(root: Root) {
    root.block_on(async {
        let at = now() + Duration::from_secs(3600);
        let host = current_task().expect("the root's own task");
        let run = run_in_thread(|| {
            let on_thread = thread::current().id();
            context().block_on(async move {
                sleep(Duration::from_millis(1)).await;
                let task = current_task().expect("it is a task");
                let deadline = current_effective_deadline();
                let elsewhere = thread::current().id() != on_thread;
                (elsewhere, task, deadline, USER.with(|user| *user).ok())
            })
        });
        let seen = timeout_at(at, USER.scope("anna", run.name("digger"))).await;
        let seen = seen.expect("there is time").expect("nothing is cancelled");
        let (elsewhere, task, deadline, user) = seen;
        assert!(elsewhere, "the thread is parked meanwhile");
        assert_eq!(task.parent(), Some(host.id()));
        assert_eq!(task.name(), "digger");
        assert_eq!(deadline, Deadline::At(at));
        assert_eq!(user, Some("anna"));
    });
}

// TH8
fn a_cancel_of_the_host_ends_what_the_thread_waits_for(root: Root) {
    root.block_on(async {
        let started = Arc::new(Event::new());
        let (starts, finalised) = (started.clone(), Arc::new(AtomicBool::new(false)));
        let flag = finalised.clone();
        let seen = Arc::new(OnceLock::new());
        let tells = seen.clone();
        let outcome = cancel_scope(|scope| async move {
            let run = run_in_thread(move || {
                let result = context().block_on(async move {
                    let _guard = on_cancel(|_| async move {
                        sleep(Duration::from_millis(1)).await;
                        flag.store(true, Ordering::SeqCst);
                    });
                    starts.set();
                    sleep_forever().await;
                });
                assert!(is_cancelled());
                // One more is cancelled at its first await.
                let polled = Arc::new(AtomicBool::new(false));
                let polls = polled.clone();
                let again = context().block_on(async move {
                    polls.store(true, Ordering::SeqCst);
                    sleep_forever().await;
                });
                assert!(again.is_err());
                let polled = polled.load(Ordering::SeqCst);
                tells.set((cause_of(result), polled)).expect("it runs once");
            });
            join(run, async {
                started.wait().await;
                scope.cancel("stop");
            })
            .await;
            sleep_forever().await;
        })
        .await;
        assert!(matches!(outcome, Outcome::Cancelled(_)));
        let stop = (CauseKind::Explicit, "stop".to_owned());
        assert_eq!(seen.get(), Some(&(stop, true)));
        assert!(
            finalised.load(Ordering::SeqCst),
            "finalisers ran before the thread went on"
        );
    });
}

// TH8
fn a_deadline_of_the_host_ends_what_the_thread_waits_for(root: Root) {
    root.block_on(async {
        let run = run_in_thread(|| cause_of(context().block_on(sleep_forever())));
        let mut kind = None;
        let outcome = move_on_after(Duration::from_millis(1), async {
            kind = Some(run.await.0);
            sleep_forever().await
        })
        .await;
        assert_eq!(outcome.cause().map(|c| c.kind()), Some(CauseKind::Deadline));
        assert_eq!(kind, Some(CauseKind::Deadline));
    });
}

// TH8
fn a_task_of_a_thread_may_have_children(root: Root) {
    root.block_on(async {
        let sum: Result<u32, GroupError<String>> = run_in_thread(|| {
            let group = task_group(|group| async move {
                let children: Vec<_> = (1..=4).map(|n| group.spawn_ok(async move { n })).collect();
                let mut sum = 0;
                for child in children {
                    sum += child.join().await.map_err(|e| e.to_string())?;
                }
                Ok(sum)
            });
            context().block_on(group).expect("nothing is cancelled")
        })
        .await;
        assert_eq!(sum.expect("nothing fails"), 10);
    });
}

// TH8
fn a_panic_goes_on_in_the_thread(root: Root) {
    root.block_on(async {
        let text = run_in_thread(|| {
            let waits = || context().block_on(async { panic!("inside") });
            let caught = catch_unwind(AssertUnwindSafe(waits)).map(|_: Result<(), _>| ());
            let panic = caught.expect_err("it panics");
            let text = panic.downcast_ref::<&str>().copied();
            // The context goes on.
            assert_eq!(context().block_on(async { 7 }).ok(), Some(7));
            text
        })
        .await;
        assert_eq!(text, Some("inside"));
    });
}

fn a_lost_host_cancels_what_the_thread_waits_for(root: Root) {
    let (tells, told) = mpsc::channel();
    let options = RunOptions::default().blocking_grace(Duration::ZERO);
    root.options(options).block_on(async move {
        let started = Arc::new(Event::new());
        let starts = started.clone();
        let mut run = Box::pin(run_in_thread(move || {
            let waits = async move {
                starts.set();
                sleep_forever().await;
            };
            tells
                .send(cause_of(context().block_on(waits)))
                .expect("it is read");
        }));
        assert!(poll_immediate(&mut run).await.is_none());
        started.wait().await;
        drop(run);
    });
    let (kind, _) = told.try_recv().expect("the root waited for the thread");
    assert_eq!(kind, CauseKind::Dropped);
}

/// A thread whose cancelled host has left it; what it does then is told.
async fn abandoned<T: Send + 'static>(
    then: impl FnOnce() -> T + Send + 'static,
) -> mpsc::Receiver<T> {
    let (tells, told) = mpsc::channel();
    let (started, left) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (starts, leaves) = (started.clone(), left.clone());
    let run = run_in_thread(move || {
        starts.set();
        leaves.wait_blocking();
        let cause = check_cancelled().expect_err("nobody waits");
        assert_eq!(cause.reason(), "leave it");
        let _ = tells.send(then());
    });
    let outcome = cancel_scope(|scope| async move {
        join(run.abandon_on_cancel(), async {
            started.wait().await;
            scope.cancel("leave it");
        })
        .await
    })
    .await;
    assert!(matches!(outcome, Outcome::Cancelled(_)));
    left.set();
    told
}

// TH9
fn an_abandoned_thread_has_a_place_of_its_own(root: Root) {
    root.block_on(async {
        let root = current_task().expect("the root's body is a task").id();
        let done = Arc::new(Event::new());
        let sets = done.clone();
        let told = abandoned(move || {
            let value = context().block_on(async {
                assert!(check_cancelled().is_ok(), "the host's cancel is not seen");
                sleep(Duration::from_millis(1)).await;
                let task = current_task().expect("it is a task");
                assert_eq!(current_effective_deadline(), Deadline::Never);
                task.parent()
            });
            sets.set();
            value
        })
        .await;
        done.wait().await;
        let parent = told
            .recv()
            .expect("it is told")
            .expect("nothing is cancelled");
        assert_eq!(parent, Some(root), "it stands below the root");
    });
}

fn what_a_thread_waits_for_when_abandoned_is_cancelled(root: Root) {
    let (tells, told) = mpsc::channel();
    root.block_on(async move {
        let started = Arc::new(Event::new());
        let starts = started.clone();
        let run = run_in_thread(move || {
            let first = context().block_on(async move {
                starts.set();
                sleep_forever().await;
            });
            let then = context().block_on(async { 7 });
            let _ = tells.send((cause_of(first), then.ok()));
        });
        let outcome = cancel_scope(|scope| async move {
            join(run.abandon_on_cancel(), async {
                started.wait().await;
                scope.cancel("leave it");
            })
            .await;
        })
        .await;
        assert!(matches!(outcome, Outcome::Cancelled(_)));
    });
    let (first, then) = told.recv().expect("it is told");
    assert_eq!(first, (CauseKind::Explicit, "leave it".to_owned()));
    // The root may have ended in between.
    assert!(matches!(then, Some(7) | None));
}

// TH9
fn the_end_of_the_root_ends_what_an_abandoned_thread_waits_for(root: Root) {
    let (dropped, watch) = (Arc::new(()), Arc::new(Event::new()));
    let alive = Arc::downgrade(&dropped);
    let told = root.block_on({
        let starts = watch.clone();
        async move {
            let told = abandoned(move || {
                let waits = async move {
                    let _dropped = dropped;
                    starts.set();
                    sleep_forever().await;
                };
                cause_of(context().block_on(waits)).0
            })
            .await;
            watch.wait().await;
            told
        }
    });
    assert!(alive.upgrade().is_none(), "the root waited for the task");
    assert_eq!(told.recv(), Ok(CauseKind::Shutdown));
}

// TH9
fn behind_the_end_of_the_root_nothing_runs(root: Root) {
    let release = Arc::new(Event::new());
    let waits = release.clone();
    let options = RunOptions::default().blocking_grace(Duration::ZERO);
    let told = root.options(options).block_on(async move {
        abandoned(move || {
            waits.wait_blocking();
            let ran = Arc::new(AtomicBool::new(false));
            let flag = ran.clone();
            let result = context().block_on(async move { flag.store(true, Ordering::SeqCst) });
            assert!(!ran.load(Ordering::SeqCst));
            cause_of(result)
        })
        .await
    });
    release.set();
    let ended = (CauseKind::Shutdown, "the root has ended".to_owned());
    assert_eq!(told.recv(), Ok(ended));
}

/// An executor of another crate, as small as can be.
fn foreign_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

// CS57
fn a_foreign_executor_on_a_thread_hears_of_cancels(root: Root) {
    root.block_on(async {
        let started = Arc::new(Event::new());
        let starts = started.clone();
        let outcome = cancel_scope(|scope| async move {
            let run = run_in_thread(move || {
                // On its own a future there belongs to nobody, and no cancel freezes it.
                foreign_block_on(async { assert!(!is_cancelled()) });
                foreign_block_on(propagate(async {
                    starts.set();
                    sleep_forever().await
                }))
            });
            let (inner, ()) = join(run, async {
                started.wait().await;
                scope.cancel("stop");
            })
            .await;
            inner
        })
        .await;
        let inner = outcome.done().expect("its body had ended");
        assert_eq!(inner.cause().map(|cause| cause.reason()), Some("stop"));
    });
}

fn a_simulated_world_refuses_to_park(root: Root) {
    root.block_on(async {
        let simulated = Backend::current() == Ok(Backend::Sim);
        let result = run_in_thread(|| context().block_on(async { 7 })).await;
        match result {
            Err(ThreadError::WouldDeadlock) => assert!(simulated),
            Ok(value) => assert!(!simulated && value == 7),
            Err(error) => panic!("{error}"),
        }
    });
}
