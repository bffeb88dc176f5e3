//! Attempts, pauses and when to give up.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_backend::time::Instant;
use bowline_concurrency::{
    Backoff, Jitter, Retry, RetryErrorKind, Root, cancel_scope, move_on_after, now, sleep,
    sleep_forever, timeout, timeout_at,
};
use every_backend::every_backend;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    attempts_count_the_first,
    some_errors_are_not_worth_it,
    nonsense_is_refused,
    a_hanging_attempt_counts_as_failed,
    a_cancelled_pause_never_ends,
    the_pause_asked_for_takes_the_place_of_the_backoff,
    no_pause_is_begun_that_a_deadline_would_cut,
);

fn plain(base: Duration) -> Backoff {
    Backoff::exponential(base).jitter(Jitter::None)
}

/// Runs in a simulated world of this seed; answers when each attempt began, in milliseconds.
fn attempts_at(seed: u64, retry: Retry<u32>, well_at: usize) -> (Vec<u128>, u128, usize) {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let times = begun.clone();
    let root = Root::new().backend(Backend::Sim);
    let (end, attempts) = bowline_sim::block_on(
        seed,
        root.entered(async move {
            let start = now();
            let result = retry
                .run(move |attempt| {
                    times.lock().unwrap().push((now() - start).as_micros());
                    async move {
                        if attempt == well_at {
                            Ok(attempt)
                        } else {
                            Err(7)
                        }
                    }
                })
                .await;
            let attempts = match result {
                Ok(attempt) => attempt,
                Err(error) => error.attempts(),
            };
            ((now() - start).as_millis(), attempts)
        }),
    );
    let times = begun.lock().unwrap().clone();
    (times, end, attempts)
}

fn in_ms(times: &[u128]) -> Vec<u128> {
    times.iter().map(|micros| micros / 1000).collect()
}

// PT13
#[test]
fn pauses_grow() {
    let retry = Retry::attempts(3).backoff(plain(100 * MS));
    let (times, end, attempts) = attempts_at(1, retry, 3);
    assert_eq!(in_ms(&times), [0, 100, 300]);
    assert_eq!((end, attempts), (300, 3));
}

// PT14
#[test]
fn there_is_no_pause_after_the_last_attempt() {
    let retry = Retry::attempts(3).backoff(plain(100 * MS));
    let (times, end, attempts) = attempts_at(1, retry, 99);
    assert_eq!(in_ms(&times), [0, 100, 300]);
    assert_eq!((end, attempts), (300, 3));
}

// PT14
fn attempts_count_the_first(root: Root) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let retry = Retry::attempts(3).backoff(plain(MS));
    let result = root.block_on(retry.run(move |attempt| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { Err::<(), _>(attempt) }
    }));
    let error = result.expect_err("it always fails");
    assert_eq!((error.attempts(), calls.load(Ordering::SeqCst)), (3, 3));
    assert!(matches!(error.into_last(), RetryErrorKind::Failed(3)));
}

// PT15
fn a_hanging_attempt_counts_as_failed(root: Root) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let retry = Retry::<()>::attempts(3)
        .backoff(plain(MS))
        .per_attempt(2 * MS);
    let result = root.block_on(retry.run(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(sleep_forever().await) }
    }));
    let error = result.expect_err("it hangs");
    assert_eq!((error.attempts(), calls.load(Ordering::SeqCst)), (3, 3));
    assert!(matches!(error.last(), RetryErrorKind::Elapsed(_)));
}

// PT15
#[test]
fn hanging_attempts_take_their_time_and_the_pauses_theirs() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let times = begun.clone();
        let retry = Retry::<()>::attempts(3).backoff(plain(100 * MS));
        let result = retry.per_attempt(SECOND).run(move |_| {
            times.lock().unwrap().push((now() - start).as_millis());
            async { Ok(sleep_forever().await) }
        });
        let error: Result<std::convert::Infallible, _> = result.await;
        let error = error.expect_err("it hangs");
        assert_eq!(*begun.lock().unwrap(), [0, 1100, 2300]);
        assert_eq!((now() - start).as_millis(), 3300);
        assert!(matches!(error.last(), RetryErrorKind::Elapsed(_)));
    });
}

// PT16
fn some_errors_are_not_worth_it(root: Root) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let retry = Retry::attempts(9)
        .backoff(plain(MS))
        .when(|error: &usize| *error < 2);
    let result = root.block_on(retry.run(move |attempt| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { Err::<(), _>(attempt) }
    }));
    let error = result.expect_err("the second is not worth a third");
    assert_eq!((error.attempts(), calls.load(Ordering::SeqCst)), (2, 2));
}

fn nonsense_is_refused(root: Root) {
    root.block_on(async {
        for retry in [
            Retry::<()>::attempts(0),
            Retry::<()>::attempts(2).backoff(plain(MS).factor(0)),
        ] {
            let result = retry.run(|_| async { unreachable!("it is not called") });
            let error: Result<(), _> = result.await;
            let error = error.expect_err("it makes no sense");
            assert_eq!(error.attempts(), 0);
            assert!(matches!(error.last(), RetryErrorKind::Invalid(_)));
        }
    });
}

// PT17
#[test]
fn jitter_stays_within_the_pause_and_follows_the_seed() {
    let run = |seed, jitter| {
        let backoff = Backoff::exponential(100 * MS).max(SECOND).jitter(jitter);
        attempts_at(seed, Retry::attempts(8).backoff(backoff), 99).0
    };
    let bounds = [100, 200, 400, 800, 1000, 1000, 1000];
    let (mut seen, mut halves) = (Vec::new(), Vec::new());
    for seed in 0..50 {
        let times = run(seed, Jitter::Full);
        assert_eq!(times, run(seed, Jitter::Full), "the same seed");
        for (pause, bound) in times.windows(2).map(|w| w[1] - w[0]).zip(bounds) {
            // A poll takes some time of its own.
            assert!(pause <= bound * 1000 + 100, "{pause} µs of {bound} ms");
            seen.push(pause * 10 / (bound * 1000 + 100));
        }
        let equal = run(seed, Jitter::Equal);
        assert_eq!(equal, run(seed, Jitter::Equal), "the same seed");
        for (pause, bound) in equal.windows(2).map(|w| w[1] - w[0]).zip(bounds) {
            let half = bound * 500;
            assert!(
                pause >= half && pause <= 2 * half + 100,
                "{pause} µs of {bound} ms"
            );
            halves.push((pause - half) * 10 / (half + 100));
        }
    }
    for tenth in 0..10 {
        assert!(seen.contains(&tenth), "no pause in tenth {tenth}");
        assert!(
            halves.contains(&tenth),
            "none in tenth {tenth} of the second half"
        );
    }
}

// PT18
#[test]
fn an_error_may_ask_for_its_own_pause() {
    let retry = || {
        Retry::attempts(3)
            .backoff(plain(100 * MS))
            .after(|error| (*error == 7).then_some(2 * SECOND))
    };
    let (times, end, attempts) = attempts_at(1, retry(), 99);
    assert_eq!(in_ms(&times), [0, 2000, 4000]);
    assert_eq!((end, attempts), (4000, 3));
    // Not beyond the overall bound.
    let (times, end, attempts) = attempts_at(1, retry().overall(3 * SECOND), 99);
    assert_eq!(in_ms(&times), [0, 2000]);
    assert_eq!((end, attempts), (2000, 2));
}

// PT18
fn the_pause_asked_for_takes_the_place_of_the_backoff(root: Root) {
    const HOUR: Duration = Duration::from_secs(3600);
    let error = root.block_on(async {
        // An hour by the backoff, a millisecond by the first error, two hours by the second: more
        // than there are overall.
        let retry = Retry::attempts(9).backoff(plain(HOUR)).overall(HOUR);
        let retry = retry.after(|attempt| match attempt {
            1 => Some(MS),
            _ => Some(2 * HOUR),
        });
        let run = retry.run(|attempt| async move { Err::<(), _>(attempt) });
        move_on_after(HOUR / 60, run).await.done()
    });
    let error = error
        .expect("no pause takes long")
        .expect_err("it always fails");
    assert_eq!(error.attempts(), 2);
    assert!(matches!(error.into_last(), RetryErrorKind::Failed(2)));
}

// PT18
#[test]
fn the_overall_bound_cuts_an_attempt() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let retry = Retry::<()>::attempts(9).overall(SECOND);
        let result = retry.run(|_| async { Ok(sleep_forever().await) }).await;
        let error = result.expect_err("it hangs");
        assert_eq!((error.attempts(), (now() - start).as_millis()), (1, 1000));
        assert!(matches!(error.last(), RetryErrorKind::Elapsed(_)));
    });
}

// PT19
fn no_pause_is_begun_that_a_deadline_would_cut(root: Root) {
    const MINUTE: Duration = Duration::from_secs(60);
    let (error, cut) = root.block_on(async {
        let begun = now();
        let retry = Retry::attempts(9).backoff(plain(2 * MINUTE));
        let run = retry.run(|attempt| async move { Err::<(), _>(attempt) });
        // It returns its error, and does not wait to be cut.
        let error = timeout(MINUTE, run).await.expect("it gives up at once");
        (error.expect_err("it always fails"), now() - begun >= MINUTE)
    });
    assert_eq!((error.attempts(), cut), (1, false));
    assert!(matches!(error.into_last(), RetryErrorKind::Failed(1)));
}

// PT19
#[test]
fn a_pause_beyond_the_deadline_is_not_begun() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start: Instant = now();
        let retry = Retry::attempts(9).backoff(plain(SECOND));
        let result = timeout(
            2 * SECOND,
            retry.run(|attempt| async move {
                sleep(MS).await;
                Err::<(), _>(attempt)
            }),
        );
        // Attempts at 0 s and 1 s; the third would be at 3 s.
        let error = result.await.expect("it gives up in time");
        assert_eq!(error.expect_err("it always fails").attempts(), 2);
        assert_eq!((now() - start).as_millis(), 1002);
    });
}

// PT19
#[test]
fn a_pause_that_ends_with_the_deadline_is_not_begun() {
    Root::new().backend(Backend::Sim).block_on(async {
        for (short_of_it, attempts) in [(Duration::ZERO, 1), (MS, 2)] {
            let end = now() + SECOND;
            // The second attempt has a pause of its own to ask for, which is too long.
            let retry = Retry::attempts(9).after(move |attempt| match attempt {
                1 => Some(end - now() - short_of_it),
                _ => Some(SECOND),
            });
            let run = retry.run(|attempt| async move { Err::<(), _>(attempt) });
            let error = timeout_at(end, run).await.expect("it gives up in time");
            assert_eq!(
                error.expect_err("it always fails").attempts(),
                attempts,
                "{short_of_it:?} before the deadline"
            );
            let left = if attempts == 1 { SECOND } else { MS };
            // A poll takes some time of its own.
            let seen = (end - now()).as_micros().div_ceil(1000);
            assert_eq!(seen, left.as_millis(), "at once");
        }
    });
}

// PT20
fn a_cancelled_pause_never_ends(root: Root) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let outcome = root.block_on(cancel_scope(|scope| async move {
        let retry = Retry::attempts(9).backoff(plain(MS));
        let result = retry.run(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            scope.cancel("stop");
            async { Err::<(), _>(()) }
        });
        let _ = result.await;
        unreachable!("the pause was cancelled");
    }));
    let cause = outcome.into_result();
    let cause: Result<(), _> = cause;
    assert_eq!(cause.expect_err("it was cancelled").reason(), "stop");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
