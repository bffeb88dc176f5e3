//! Closures on threads that may block: who waits for them, and what a cancel does.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_backend::task::RunOptions;
use bowline_concurrency::sync::{CapacityLimiter, Event};
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, GroupError, Outcome, Root, ThreadContext, cancel_scope,
    check_cancelled, current_effective_deadline, current_task, is_cancelled, now, run_in_thread,
    scope_local, shield, sleep, sleep_forever, task_group, timeout_at, yield_now,
};
use every_backend::every_backend;
use futures_util::future::{join, poll_immediate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

every_backend!(
    a_cancelled_scope_starts_no_thread,
    a_place_that_came_with_the_cancel_goes_back,
    a_cancel_waits_for_the_thread,
    an_abandoned_thread_keeps_its_place,
    a_limiter_bounds_the_threads,
    a_thread_sees_the_scopes_of_its_host,
    no_context_outside_of_a_thread,
    the_root_waits_for_a_thread_that_lost_its_host,
    no_places_let_nobody_start;
    real:
    a_value_comes_back_from_another_thread,
    a_root_is_not_needed,
    an_abandoned_thread_is_told,
    a_thread_may_block_on_what_is_shared,
    abandoned_threads_are_named_at_the_end,
);

fn in_sim() -> bool {
    Backend::current() == Ok(Backend::Sim)
}

/// Waits, on a thread that may block, until its host is cancelled. A simulated job takes no time:
/// there everything that happens to its host happened before.
fn wait_for_cancel() {
    while !in_sim() && !is_cancelled() {
        thread::yield_now();
    }
}

/// Sets an event when it is dropped.
struct OnDrop(Arc<Event>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

// TH1
fn a_value_comes_back_from_another_thread(root: Root) {
    let panicked = root.block_on(async {
        let here = thread::current().id();
        let (value, there) = run_in_thread(|| (7, thread::current().id())).await;
        assert_eq!(value, 7);
        assert_ne!(here, there);
        let mut failing = pin!(run_in_thread(|| -> u8 { panic!("it fails") }));
        std::future::poll_fn(|cx| {
            match catch_unwind(AssertUnwindSafe(|| failing.as_mut().poll(cx))) {
                Ok(polled) => polled.map(|_| None),
                Err(panic) => std::task::Poll::Ready(Some(panic)),
            }
        })
        .await
    });
    let panicked = panicked.expect("the panic goes on in the caller");
    assert_eq!(panicked.downcast_ref(), Some(&"it fails"));
}

// TH2
fn a_cancelled_scope_starts_no_thread(root: Root) {
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    root.block_on(async {
        let scope = CancelScope::new();
        scope.handle().cancel("before");
        let limiter = Arc::new(CapacityLimiter::new(1));
        let run = run_in_thread(move || flag.store(true, Ordering::SeqCst)).limiter(&limiter);
        let outcome = scope.run(run).await;
        assert_eq!(outcome.cause().map(|c| c.reason()), Some("before"));
        assert_eq!((limiter.borrowed(), limiter.statistics().waiting), (0, 0));
        // The pool is not in use either.
        run_in_thread(|| ()).await;
    });
    assert!(!ran.load(Ordering::SeqCst));
}

// TH2, TH5
fn a_place_that_came_with_the_cancel_goes_back(root: Root) {
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    root.block_on(async {
        let limiter = Arc::new(CapacityLimiter::new(1));
        let place = limiter.acquire().await;
        let scope = CancelScope::new();
        let handle = scope.handle();
        let run = run_in_thread(move || flag.store(true, Ordering::SeqCst)).limiter(&limiter);
        let mut first = pin!(scope.run(run));
        assert!(poll_immediate(&mut first).await.is_none());
        let mut second = pin!(run_in_thread(|| 7).limiter(&limiter));
        assert!(poll_immediate(&mut second).await.is_none());
        assert_eq!(limiter.statistics().waiting, 2);
        drop(place);
        assert_eq!(limiter.statistics().waiting, 1, "the first has its place");
        handle.cancel("a moment later");
        let outcome = first.await;
        assert_eq!(outcome.cause().map(|c| c.reason()), Some("a moment later"));
        assert_eq!(limiter.statistics().waiting, 0, "now the second has it");
        assert_eq!(second.await, 7);
        assert_eq!(limiter.borrowed(), 0);
    });
    assert!(!ran.load(Ordering::SeqCst));
}

// TH3
fn a_cancel_waits_for_the_thread(root: Root) {
    let whole = Arc::new(AtomicBool::new(false));
    let flag = whole.clone();
    let mut code_behind_it = false;
    let outcome = root.block_on(cancel_scope(|scope| {
        let behind = &mut code_behind_it;
        async move {
            let run = run_in_thread(move || {
                wait_for_cancel();
                flag.store(true, Ordering::SeqCst);
                7
            });
            let (value, ()) = join(run, async { assert!(scope.cancel("while it runs")) }).await;
            assert_eq!(value, 7);
            *behind = true;
            sleep_forever().await;
        }
    }));
    assert_eq!(outcome.cause().map(|c| c.reason()), Some("while it runs"));
    assert!(whole.load(Ordering::SeqCst), "the closure ran to its end");
    assert!(code_behind_it, "its value was delivered");
}

// TH4
fn an_abandoned_thread_keeps_its_place(root: Root) {
    root.block_on(async {
        let limiter = Arc::new(CapacityLimiter::new(1));
        let (started, release) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let outcome = cancel_scope(|scope| {
            let limiter = &limiter;
            let (starts, releases) = (started.clone(), release.clone());
            let started = started.clone();
            async move {
                let run = run_in_thread(move || {
                    starts.set();
                    if !in_sim() {
                        releases.wait_blocking();
                    }
                });
                let run = run.limiter(limiter).abandon_on_cancel();
                join(run, async {
                    if !in_sim() {
                        started.wait().await;
                    }
                    scope.cancel("enough");
                })
                .await
            }
        })
        .await;
        assert_eq!(outcome.cause().map(|c| c.reason()), Some("enough"));
        assert_eq!(limiter.borrowed(), 1, "the thread has not ended");
        assert!(limiter.try_acquire().is_err());
        release.set();
        drop(limiter.acquire().await);
        assert_eq!(limiter.borrowed(), 0);
    });
}

/// How many there are, and how many there were at most.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    runs: AtomicUsize,
}

impl Crowd {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.runs.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

// TH5
fn a_limiter_bounds_the_threads(root: Root) {
    let result: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let limiter = Arc::new(CapacityLimiter::new(3));
        let (crowd, release) = (Arc::new(Crowd::default()), Arc::new(Event::new()));
        let call = || {
            let (crowd, release, limiter) = (crowd.clone(), release.clone(), limiter.clone());
            group.spawn_ok(async move {
                let run = run_in_thread(move || {
                    crowd.enter();
                    if !in_sim() {
                        release.wait_blocking();
                        // The others have their chance to be here as well.
                        (0..100).for_each(|_| thread::yield_now());
                    }
                    crowd.leave();
                });
                run.limiter(&limiter).await;
            })
        };
        let mut calls: Vec<_> = (0..3).map(|_| call()).collect();
        while limiter.borrowed() < 3 {
            yield_now().await;
        }
        let late = CancelScope::new();
        let handle = late.handle();
        let ran = Arc::new(AtomicBool::new(false));
        let (flag, there) = (ran.clone(), limiter.clone());
        let fourth = group.spawn_ok(late.run(async move {
            let run = run_in_thread(move || flag.store(true, Ordering::SeqCst));
            run.limiter(&there).await;
        }));
        while limiter.statistics().waiting == 0 {
            yield_now().await;
        }
        handle.cancel("too late");
        let outcome = fourth.join().await.expect("the scope returns");
        assert!(matches!(outcome, Outcome::Cancelled(_)));
        assert_eq!(limiter.statistics().waiting, 0);
        // Others compete with the three, which hold their places until all of them wait.
        for _ in 0..9 {
            calls.push(call());
        }
        while limiter.statistics().waiting < 9 {
            yield_now().await;
        }
        if !in_sim() {
            while crowd.now.load(Ordering::SeqCst) < 3 {
                yield_now().await;
            }
        }
        release.set();
        for call in calls {
            call.join().await.expect("it ends");
        }
        assert_eq!(crowd.runs.load(Ordering::SeqCst), 12);
        // A simulated job runs in no time: two never meet.
        let most = if in_sim() { 1 } else { 3 };
        assert_eq!(crowd.most.load(Ordering::SeqCst), most);
        assert_eq!(limiter.borrowed(), 0, "free before the caller goes on");
        run_in_thread(|| ()).limiter(&limiter).await;
        assert!(!ran.load(Ordering::SeqCst), "the fourth never started");
        Ok(())
    }));
    result.expect("nothing fails");
}

scope_local! {
    static USER: &'static str, inherit;
    static SECRET: &'static str;
}

// TH6
fn a_thread_sees_the_scopes_of_its_host(root: Root) {
    root.block_on(async {
        assert!(run_in_thread(|| check_cancelled().is_ok()).await);
        let seen = Arc::new(OnceLock::new());
        let tells = seen.clone();
        let outcome = cancel_scope(|scope| async move {
            let run = run_in_thread(move || {
                wait_for_cancel();
                tells.set(check_cancelled()).expect("it runs once");
            });
            join(run, async { scope.cancel("stop") }).await;
            // Hidden from the host by a shield, it is from the thread, too.
            assert!(shield(run_in_thread(|| check_cancelled().is_ok())).await);
            sleep_forever().await;
        })
        .await;
        let seen = seen.get().expect("the closure ran").clone();
        assert_eq!(seen.expect_err("it was cancelled").reason(), "stop");
        assert!(outcome.cause().is_some());

        let at = now() + Duration::from_secs(3600);
        let deadline = timeout_at(at, run_in_thread(current_effective_deadline)).await;
        assert_eq!(deadline, Ok(Deadline::At(at)));
        let task = run_in_thread(|| current_task().map(|task| task.id())).await;
        assert_eq!(task, current_task().map(|task| task.id()));
        let locals = || (USER.with(|user| *user).ok(), SECRET.with(|s| *s).ok());
        let set = USER.scope("anna", SECRET.scope("hush", run_in_thread(locals)));
        assert_eq!(set.await, (Some("anna"), None));
        assert_eq!(run_in_thread(locals).await, (None, None));
    });
}

// TH6
fn an_abandoned_thread_is_told(root: Root) {
    root.block_on(async {
        // With a cause of a scope, and by foreign code.
        let (told, started) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Event::new()));
        let run = |name: &'static str| {
            let (told, started) = (told.clone(), started.clone());
            run_in_thread(move || {
                assert!(check_cancelled().is_ok());
                started.set();
                wait_for_cancel();
                let cause = check_cancelled().expect_err("nobody waits any more");
                let mut told = told.lock().expect("nobody panics");
                told.push((name, cause.kind(), cause.reason().to_owned()));
            })
            .abandon_on_cancel()
        };
        let outcome = cancel_scope(|scope| {
            let (run, started) = (run("scope"), &started);
            async move {
                join(run, async {
                    started.wait().await;
                    scope.cancel("leave it");
                })
                .await
            }
        })
        .await;
        assert!(outcome.cause().is_some());
        while told.lock().expect("nobody panics").is_empty() {
            yield_now().await;
        }
        started.reset();
        let mut dropped = Box::pin(run("foreign"));
        assert!(poll_immediate(&mut dropped).await.is_none());
        started.wait().await;
        drop(dropped);
        while told.lock().expect("nobody panics").len() < 2 {
            yield_now().await;
        }
        let told = told.lock().expect("nobody panics").clone();
        let expected = [
            ("scope", CauseKind::Explicit, "leave it".to_owned()),
            ("foreign", CauseKind::Dropped, String::new()),
        ];
        assert_eq!(told, expected);
    });
}

// TH7
fn no_context_outside_of_a_thread(root: Root) {
    assert!(ThreadContext::current().is_none());
    root.block_on(async {
        assert!(ThreadContext::current().is_none());
        assert!(run_in_thread(|| ThreadContext::current().is_some()).await);
        let backend = Backend::current().expect("one runs");
        let job = backend.spawn_blocking(|| ThreadContext::current().is_none());
        assert!(job.await.expect("it runs"), "the pool keeps none");
        assert!(ThreadContext::current().is_none());
    });
    assert!(ThreadContext::current().is_none());
}

// TH10
fn the_root_waits_for_a_thread_that_lost_its_host(root: Root) {
    let (gone, release) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let seen = Arc::new(OnceLock::new());
    let guard = OnDrop(gone.clone());
    let tells = seen.clone();
    // The backend itself waits for no thread.
    let options = RunOptions::default().blocking_grace(Duration::ZERO);
    let simulated = root.options(options).block_on({
        let release = release.clone();
        async move {
            // Set when the body of the root has ended.
            let _release = OnDrop(release.clone());
            let started = Arc::new(Event::new());
            let starts = started.clone();
            let mut run = Box::pin(run_in_thread(move || {
                let _guard = guard;
                starts.set();
                release.wait_blocking();
                for _ in 0..1000 {
                    thread::yield_now();
                }
                let kind = check_cancelled().map_err(|cause| cause.kind());
                tells.set(kind).expect("it runs once");
            }));
            assert!(poll_immediate(&mut run).await.is_none());
            if !in_sim() {
                started.wait().await;
            }
            drop(run);
            in_sim()
        }
    });
    assert!(gone.is_set(), "the thread has ended");
    // One that has not begun never does.
    let expected = (!simulated).then_some(&Err(CauseKind::Dropped));
    assert_eq!(seen.get(), expected);
}

// TH6
fn a_thread_may_block_on_what_is_shared(root: Root) {
    root.block_on(async {
        let (there, back) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (reaches, returns) = (there.clone(), back.clone());
        let outcome = cancel_scope(|scope| async move {
            let run = run_in_thread(move || {
                reaches.set();
                wait_for_cancel();
                // The cancel of a host that waits for the thread cannot park it for ever.
                returns.wait_blocking();
            });
            join(run, async {
                there.wait().await;
                scope.cancel("while it blocks");
                back.set();
            })
            .await;
        })
        .await;
        assert!(matches!(outcome, Outcome::Done(())));
    });
}

fn no_places_let_nobody_start(root: Root) {
    root.threads(0).block_on(async {
        let mut waits = Box::pin(run_in_thread(|| ()));
        for _ in 0..3 {
            assert!(poll_immediate(&mut waits).await.is_none());
            yield_now().await;
        }
        drop(waits);
        // One with a limiter of its own is not concerned.
        let own = Arc::new(CapacityLimiter::new(1));
        run_in_thread(|| ()).limiter(&own).await;
    });
}

#[test]
fn the_places_of_a_root_are_forty() {
    Root::new().backend(Backend::Sim).block_on(async {
        let crowd = |most: usize| async move {
            let calls = Arc::new(AtomicUsize::new(0));
            let mut waiting: Vec<_> = (0..most + 1)
                .map(|_| {
                    let calls = calls.clone();
                    Box::pin(run_in_thread(move || calls.fetch_add(1, Ordering::SeqCst)))
                })
                .collect();
            for call in &mut waiting {
                assert!(poll_immediate(call).await.is_none());
            }
            // Nobody polls them any more: those that have a place run, and keep it.
            sleep(Duration::from_secs(1)).await;
            assert_eq!(calls.load(Ordering::SeqCst), most);
        };
        crowd(40).await;
    });
}

// A part of CP8.
#[test]
fn dropped_at_any_time_the_place_comes_back() {
    const STEP: Duration = Duration::from_micros(700);
    for abandons in [true, false] {
        Root::new().backend(Backend::Sim).block_on(async move {
            let (mut ran, mut steps) = (0, 0);
            loop {
                let limiter = Arc::new(CapacityLimiter::new(1));
                let there = Arc::new(());
                let calls = Arc::new(AtomicUsize::new(0));
                let mut both = {
                    let call = || {
                        let (there, calls) = (there.clone(), calls.clone());
                        let run = run_in_thread(move || {
                            let _there = there;
                            calls.fetch_add(1, Ordering::SeqCst)
                        });
                        let run = run.limiter(&limiter);
                        if abandons {
                            run.abandon_on_cancel()
                        } else {
                            run
                        }
                    };
                    // The second one waits for the place of the first.
                    Box::pin(join(call(), call()))
                };
                let mut ended = false;
                for _ in 0..steps {
                    ended |= !ended && poll_immediate(&mut both).await.is_some();
                    sleep(STEP).await;
                }
                drop(both);
                assert_eq!(limiter.statistics().waiting, 0);
                sleep(Duration::from_secs(1)).await;
                assert_eq!(limiter.borrowed(), 0, "after {steps} steps");
                assert_eq!(Arc::strong_count(&there), 1, "after {steps} steps");
                let now = calls.load(Ordering::SeqCst);
                ran += usize::from(now == 1);
                if ended {
                    assert_eq!(now, 2);
                    break;
                }
                steps += 1;
            }
            assert!(ran > 0 && steps > 3, "{ran} of {steps}");
        });
    }
}

// TH1
fn a_root_is_not_needed(root: Root) {
    let backend = root.block_on(async { Backend::current().expect("it runs") });
    let value = backend.block_on(async {
        let outcome = cancel_scope(|scope| async move {
            let run = run_in_thread(|| {
                wait_for_cancel();
                check_cancelled().is_err()
            });
            join(run, async { scope.cancel("now") }).await.0
        });
        let told = outcome.await.done().expect("it completes");
        let left = ThreadContext::current().is_none();
        let context = run_in_thread(|| {
            let context = ThreadContext::current().expect("this is one");
            context.block_on(sleep(Duration::from_millis(1))).is_ok()
        });
        (told, left, context.await)
    });
    assert_eq!(value, (true, true, true));
}

/// Set in the process that runs the case below.
const CHILD: &str = "BOWLINE_NAMES_ABANDONED_THREADS";

// TH10
fn abandoned_threads_are_named_at_the_end(root: Root) {
    if std::env::var_os(CHILD).is_some() {
        return leave_a_thread_behind(root);
    }
    let case = thread::current()
        .name()
        .expect("a test has a name")
        .to_owned();
    let child = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", &case, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("it starts");
    assert!(child.status.success(), "{child:?}");
    let told = String::from_utf8_lossy(&child.stderr);
    let line = "bowline: an abandoned thread \"digger\" started at ";
    let named: Vec<&str> = told.lines().filter(|l| l.starts_with(line)).collect();
    // Once for each thread count.
    assert_eq!(named.len(), 2, "{told}");
    assert!(named.iter().all(|l| l.contains("run_in_thread.rs:")));
    assert!(!told.contains("\"sprinter\""), "it has ended: {told}");
}

fn leave_a_thread_behind(root: Root) {
    let release = Arc::new(Event::new());
    let options = RunOptions::default().blocking_grace(Duration::ZERO);
    root.options(options).block_on(async {
        for name in ["sprinter", "digger"] {
            let limiter = Arc::new(CapacityLimiter::new(1));
            let (started, waits) = (Arc::new(Event::new()), release.clone());
            let starts = started.clone();
            let run = run_in_thread(move || {
                starts.set();
                waits.wait_blocking();
            });
            let run = run.name(name).limiter(&limiter).abandon_on_cancel();
            let mut run = Box::pin(run);
            assert!(poll_immediate(&mut run).await.is_none());
            started.wait().await;
            drop(run);
            if name == "sprinter" {
                release.set();
                drop(limiter.acquire().await);
                release.reset();
            }
        }
    });
    release.set();
}
