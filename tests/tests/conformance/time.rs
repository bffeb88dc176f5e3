//! Time: B20 to B28.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_backend::task::{RunOptions, Threads, spawn_detached};
use bowline_backend::time::{Instant, now, sleep_until};
use bowline_tests::latch::Latch;

use crate::conformance;

const MS: Duration = Duration::from_millis(1);

conformance! {
    all: [
        sleeps_never_fire_early,
        a_past_deadline_is_ready_at_the_first_poll,
        never_does_not_fire,
        a_sleep_can_be_reset,
        armed_sleeps_can_be_dropped,
        a_sleep_of_years_is_fine,
    ]
    real: [now_is_monotone_over_threads]
    dropping: []
    real_dropping: []
}

// B20
fn sleeps_never_fire_early(backend: Backend, options: RunOptions) {
    const SLEEPS: usize = 1_000;
    backend.block_on_with(options, async {
        let latch = Latch::new(SLEEPS);
        let early = Arc::new(AtomicUsize::new(0));
        for _ in 0..SLEEPS {
            let (latch, early) = (latch.clone(), early.clone());
            let deadline = now() + Duration::from_micros(random_u64() % 50_000);
            spawn_detached(async move {
                sleep_until(deadline).await;
                if now() < deadline {
                    early.fetch_add(1, Ordering::SeqCst);
                }
                latch.count_down();
            });
        }
        latch.wait().await;
        assert_eq!(early.load(Ordering::SeqCst), 0, "sleeps fired early");
    });
}

// B21
fn a_past_deadline_is_ready_at_the_first_poll(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        for deadline in [Instant::from_nanos(0), now() - MS, now()] {
            let mut sleep = pin!(sleep_until(deadline));
            let first = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await;
            assert!(first.is_ready(), "{deadline:?}");
            assert_eq!(sleep.deadline(), deadline);
            assert_eq!(sleep.backend(), backend);
        }
    });
}

// B22
fn never_does_not_fire(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let mut never = pin!(sleep_until(Instant::NEVER));
        let mut other = pin!(sleep_until(now() + 20 * MS));
        poll_fn(|cx| {
            assert!(never.as_mut().poll(cx).is_pending());
            other.as_mut().poll(cx)
        })
        .await;
    });
}

// B22
#[test]
fn a_sleep_until_never_does_not_hide_a_deadlock() {
    let deadlock = std::panic::catch_unwind(|| {
        Backend::Sim.block_on(async { sleep_until(Instant::NEVER).await });
    });
    let text = crate::message(deadlock.unwrap_err());
    assert!(text.to_lowercase().contains("deadlock"), "{text}");
}

// B23
fn a_sleep_can_be_reset(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let start = now();
        // Before the first poll, earlier.
        let mut sleep = pin!(sleep_until(start + Duration::from_secs(3_600)));
        sleep.as_mut().reset(start + 5 * MS);
        sleep.as_mut().await;
        assert!(now() >= start + 5 * MS);
        // After firing: armed again.
        let again = now() + 5 * MS;
        sleep.as_mut().reset(again);
        sleep.as_mut().await;
        assert!(now() >= again);
        // Later, after a poll, from another place than the task that waits.
        let late = now() + 20 * MS;
        sleep.as_mut().reset(now() + 10 * MS);
        let mut first = true;
        poll_fn(|cx| {
            let outcome = sleep.as_mut().poll(cx);
            if std::mem::take(&mut first) {
                assert!(outcome.is_pending());
                sleep.as_mut().reset(late);
            }
            outcome
        })
        .await;
        assert!(now() >= late);
        // Earlier, after a poll: the waker stays registered.
        sleep.as_mut().reset(now() + Duration::from_secs(3_600));
        let mut first = true;
        poll_fn(|cx| {
            let outcome = sleep.as_mut().poll(cx);
            if std::mem::take(&mut first) {
                sleep.as_mut().reset(now() + 5 * MS);
            }
            outcome
        })
        .await;
        // From NEVER, after a poll.
        let mut sleep = pin!(sleep_until(Instant::NEVER));
        let mut first = true;
        poll_fn(|cx| {
            let outcome = sleep.as_mut().poll(cx);
            if std::mem::take(&mut first) {
                assert!(outcome.is_pending());
                sleep.as_mut().reset(now() + 5 * MS);
            }
            outcome
        })
        .await;
    });
}

// B24
fn armed_sleeps_can_be_dropped(backend: Backend, options: RunOptions) {
    const SLEEPS: u64 = 100_000;
    struct Kept;
    impl std::task::Wake for Kept {
        fn wake(self: Arc<Self>) {}
    }
    backend.block_on_with(options, async {
        // What a timer needs to wake its task: as many as there are timers, and no more.
        let kept = Arc::new(Kept);
        let waker = Waker::from(kept.clone());
        let start = now() + Duration::from_secs(3_600);
        // First armed, last dropped; then the other way round; then neither.
        for order in [0, SLEEPS - 1, 0x5555] {
            let mut sleeps: Vec<_> = (0..SLEEPS)
                .map(|index| {
                    (
                        index ^ order,
                        Box::pin(sleep_until(start + (index as u32) * MS)),
                    )
                })
                .collect();
            for (_, sleep) in &mut sleeps {
                let mut cx = Context::from_waker(&waker);
                assert!(sleep.as_mut().poll(&mut cx).is_pending());
            }
            sleeps.sort_unstable_by_key(|(place, _)| *place);
            // Were a drop to look at every timer, these would be 10^10 looks, which take long; that they
            // are not is not asserted otherwise.
            while sleeps.pop().is_some() {}
            // A reactor takes note of the drops when it turns next; a sleep that was past at its
            // first poll, for this thread had no turn, did not wait for that.
            for _ in 0..1_000 {
                if Arc::strong_count(&kept) == 2 {
                    break;
                }
                sleep_until(now() + MS).await;
            }
            assert_eq!(Arc::strong_count(&kept), 2, "timers are left");
        }
    });
}

// B25
#[test]
fn deadlines_apart_complete_in_order_on_one_thread() {
    for backend in Backend::available() {
        let options = RunOptions::default().threads(Threads::One);
        let order = backend.block_on_with(options, async {
            let (start, latch) = (now(), Latch::new(4));
            let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            for index in [3, 1, 2, 0] {
                let (latch, order) = (latch.clone(), order.clone());
                spawn_detached(async move {
                    sleep_until(start + (index + 1) * 50 * MS).await;
                    order.lock().unwrap().push(index);
                    latch.count_down();
                });
            }
            latch.wait().await;
            order.lock().unwrap().clone()
        });
        if *backend == Backend::AsyncStd {
            // Its executor has the threads of the process; only completeness is promised.
            assert_eq!(order.len(), 4);
        } else {
            assert_eq!(order, [0, 1, 2, 3], "{backend}");
        }
    }
}

// B26
fn now_is_monotone_over_threads(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let mut before = now();
        for _ in 0..200 {
            let after = backend
                .spawn_blocking(move || (before, now()))
                .await
                .unwrap();
            assert!(after.1 >= after.0);
            before = now();
            assert!(before >= after.1);
        }
    });
}

// B28
fn a_sleep_of_years_is_fine(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let years = Duration::from_secs(3 * 365 * 24 * 3_600);
        let mut long = pin!(sleep_until(now() + years));
        let mut longest = pin!(sleep_until(Instant::from_nanos(u64::MAX - 1)));
        poll_fn(|cx| {
            assert!(long.as_mut().poll(cx).is_pending());
            assert!(longest.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        if backend == Backend::Sim {
            let deadline = long.deadline();
            long.await;
            assert!(now() >= deadline);
        }
    });
}

// B28
#[test]
fn a_sleep_past_tokios_wheel_comes_in_legs() {
    let paused = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // A paused clock goes to the next timer when there is nothing to do.
    paused.block_on(async {
        let deadline = now() + Duration::from_secs(5 * 365 * 24 * 3_600);
        sleep_until(deadline).await;
        assert!(now() >= deadline);
        assert!(now() - deadline < Duration::from_secs(1));
    });
}
