//! Tasks and life: B1 to B16.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads, spawn_detached, yield_now};
use bowline_backend::time::{now, sleep_until};
use bowline_tests::latch::{Latch, OnDrop};

use crate::{conformance, message};

conformance! {
    all: [
        many_detached_tasks_all_run,
        a_task_spawned_by_a_task_runs,
        a_panicking_task_disturbs_no_other,
        yields_in_a_loop_let_a_sibling_finish,
        block_on_returns_the_value_and_resumes_the_panic,
        block_on_takes_borrowing_futures,
        nested_block_on_is_refused,
        waking_after_completion_is_harmless,
        one_task_is_polled_by_one_thread_at_a_time,
    ]
    real: [
        a_foreign_thread_wakes_a_parked_backend,
        a_wake_before_pending_is_not_lost,
        a_waker_outlives_its_backend,
    ]
    dropping: []
    real_dropping: []
}

// B1
fn many_detached_tasks_all_run(backend: Backend, options: RunOptions) {
    let latch = Latch::new(10_000);
    backend.block_on_with(options, async {
        for _ in 0..10_000 {
            let latch = latch.clone();
            spawn_detached(async move { latch.count_down() });
        }
        latch.wait().await;
    });
}

// B2
fn a_task_spawned_by_a_task_runs(backend: Backend, options: RunOptions) {
    let latch = Latch::new(1);
    backend.block_on_with(options, async {
        let inner = latch.clone();
        spawn_detached(async move { spawn_detached(async move { inner.count_down() }) });
        latch.wait().await;
    });
}

// B3
fn a_panicking_task_disturbs_no_other(backend: Backend, options: RunOptions) {
    let (others, dropped) = (Latch::new(100), Latch::new(1));
    backend.block_on_with(options, async {
        for index in 0..101 {
            if index == 50 {
                let on_drop = OnDrop(dropped.clone());
                spawn_detached(async move {
                    let _on_drop = on_drop;
                    yield_now().await;
                    panic!("of a task, on purpose");
                });
                continue;
            }
            let others = others.clone();
            spawn_detached(async move {
                yield_now().await;
                others.count_down();
            });
        }
        others.wait().await;
        dropped.wait().await;
    });
}

// B4
#[test]
fn spawning_polls_nothing_inline_on_one_thread() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::Sim] {
        let touched = Arc::new(AtomicBool::new(false));
        let options = RunOptions::default().threads(Threads::One);
        backend.block_on_with(options, async {
            let (flag, latch) = (touched.clone(), Latch::new(1));
            let done = latch.clone();
            spawn_detached(async move {
                flag.store(true, Ordering::SeqCst);
                done.count_down();
            });
            assert!(!touched.load(Ordering::SeqCst), "{backend} polled inline");
            latch.wait().await;
        });
    }
}

// B5
fn yields_in_a_loop_let_a_sibling_finish(backend: Backend, options: RunOptions) {
    let latch = Latch::new(1);
    let one = options.threads == Threads::One;
    backend.block_on_with(options, async {
        let sibling = latch.clone();
        spawn_detached(async move {
            yield_now().await;
            sibling.count_down();
        });
        let mut yields = 0;
        // A sibling on another thread may need its time; on one it has 1 000 turns.
        let most = if one { 1_000 } else { 1_000_000 };
        while latch.left() > 0 {
            yield_now().await;
            yields += 1;
            assert!(yields < most, "the sibling starved");
        }
    });
}

// B6
fn block_on_returns_the_value_and_resumes_the_panic(backend: Backend, options: RunOptions) {
    assert_eq!(backend.block_on_with(options.clone(), async { 7 }), 7);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        backend.block_on_with(options.clone(), async {
            panic!("of the main future, on purpose")
        })
    }));
    assert_eq!(
        message(panic.unwrap_err()),
        "of the main future, on purpose"
    );
    assert_eq!(
        backend.block_on_with(options, async { 8 }),
        8,
        "usable after a panic"
    );
}

// B7
fn block_on_takes_borrowing_futures(backend: Backend, options: RunOptions) {
    let (count, text) = (Cell::new(0), String::from("borrowed"));
    let length = backend.block_on_with(options, async {
        yield_now().await;
        count.set(count.get() + 1);
        text.len()
    });
    assert_eq!((length, count.get()), (8, 1));
}

// B8
fn nested_block_on_is_refused(backend: Backend, options: RunOptions) {
    for inner in Backend::available() {
        backend.block_on_with(options.clone(), async {
            let nested = catch_unwind(AssertUnwindSafe(|| inner.block_on(async {})));
            let text = message(nested.unwrap_err());
            let expected = format!("Backend::block_on inside a run of backend {backend}");
            assert!(text.starts_with(&expected), "{text}");
        });
    }
}

/// Waits until the thread `id` of this process is asleep in the kernel.
fn await_asleep(id: &str) {
    let stat = format!("/proc/self/task/{id}/stat");
    loop {
        let text = std::fs::read_to_string(&stat).unwrap();
        let (_, state) = text.rsplit_once(") ").unwrap();
        if state.starts_with('S') {
            return;
        }
        thread::yield_now();
    }
}

// B12
fn a_foreign_thread_wakes_a_parked_backend(backend: Backend, options: RunOptions) {
    const WAKES: usize = 200;
    let (give, wakers) = std::sync::mpsc::channel::<(Waker, String, Arc<AtomicBool>)>();
    let foreign = thread::spawn(move || {
        for (waker, thread, flag) in wakers {
            await_asleep(&thread);
            flag.store(true, Ordering::SeqCst);
            waker.wake();
        }
    });
    backend.block_on_with(options, async {
        // Nothing else ends its sleep within the hour.
        let mut hour = pin!(sleep_until(now() + Duration::from_secs(3_600)));
        let here = std::fs::read_link("/proc/thread-self").unwrap();
        let here = here.file_name().unwrap().to_str().unwrap().to_owned();
        for _ in 0..WAKES {
            let flag = Arc::new(AtomicBool::new(false));
            let mut sent = false;
            poll_fn(|cx| {
                assert!(hour.as_mut().poll(cx).is_pending());
                if flag.load(Ordering::SeqCst) {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut sent, true) {
                    let all = (cx.waker().clone(), here.clone(), flag.clone());
                    give.send(all).unwrap();
                }
                Poll::Pending
            })
            .await;
        }
    });
    drop(give);
    foreign.join().unwrap();
}

// B13
fn a_wake_before_pending_is_not_lost(backend: Backend, options: RunOptions) {
    const RACES: usize = 100_000;
    let (give, wakers) = std::sync::mpsc::channel::<(Waker, Arc<AtomicBool>)>();
    let other = thread::spawn(move || {
        for (waker, flag) in wakers {
            flag.store(true, Ordering::SeqCst);
            waker.wake();
        }
    });
    backend.block_on_with(options, async {
        for _ in 0..RACES {
            let flag = Arc::new(AtomicBool::new(false));
            let mut sent = false;
            poll_fn(|cx| {
                if flag.load(Ordering::SeqCst) {
                    return Poll::Ready(());
                }
                if !sent {
                    sent = true;
                    give.send((cx.waker().clone(), flag.clone())).unwrap();
                }
                Poll::Pending
            })
            .await;
        }
    });
    drop(give);
    other.join().unwrap();
}

/// The waker of a task that has ended.
async fn waker_of_a_finished_task() -> Waker {
    let (latch, slot) = (Latch::new(1), Arc::new(Mutex::new(None)));
    let (done, left) = (OnDrop(latch.clone()), slot.clone());
    spawn_detached(async move {
        let _done = done;
        poll_fn(|cx| {
            *left.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    });
    latch.wait().await;
    let waker = slot.lock().unwrap().take();
    waker.unwrap()
}

// B14
fn waking_after_completion_is_harmless(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let waker = waker_of_a_finished_task().await;
        waker.wake_by_ref();
        yield_now().await;
        waker.wake();
        yield_now().await;
    });
}

// B15
fn a_waker_outlives_its_backend(backend: Backend, options: RunOptions) {
    let slot = Arc::new(Mutex::new(None));
    let left = slot.clone();
    let finished = backend.block_on_with(options, async {
        let started = Latch::new(1);
        let start = started.clone();
        spawn_detached(poll_fn(move |cx| {
            *left.lock().unwrap() = Some(cx.waker().clone());
            start.count_down();
            Poll::<()>::Pending
        }));
        started.wait().await;
        waker_of_a_finished_task().await
    });
    finished.wake_by_ref();
    let unfinished = slot.lock().unwrap().take().unwrap();
    unfinished.wake_by_ref();
    drop(unfinished.clone());
    thread::spawn(move || unfinished.wake()).join().unwrap();
    drop(finished);
}

// B16
fn one_task_is_polled_by_one_thread_at_a_time(backend: Backend, options: RunOptions) {
    const TASKS: usize = 8;
    let (latch, overlaps) = (Latch::new(TASKS), Arc::new(AtomicUsize::new(0)));
    backend.block_on_with(options, async {
        for _ in 0..TASKS {
            let (done, overlaps) = (latch.clone(), overlaps.clone());
            let (inside, mut polls) = (AtomicBool::new(false), 0);
            spawn_detached(poll_fn(move |cx| {
                if inside.swap(true, Ordering::SeqCst) {
                    overlaps.fetch_add(1, Ordering::SeqCst);
                }
                polls += 1;
                // Two wakes at once: a runtime that does not coalesce them polls twice.
                let again = cx.waker().clone();
                cx.waker().wake_by_ref();
                again.wake();
                inside.store(false, Ordering::SeqCst);
                if polls < 500 {
                    return Poll::Pending;
                }
                done.count_down();
                Poll::Ready(())
            }));
        }
        latch.wait().await;
    });
    assert_eq!(overlaps.load(Ordering::SeqCst), 0);
}
