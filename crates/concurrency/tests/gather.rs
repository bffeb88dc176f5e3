//! `gather` and `gather_bounded`: order, failure, limit.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;
#[path = "suite/witness.rs"]
mod witness;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    CauseKind, Root, gather, gather_bounded, now, sleep, sleep_forever, yield_now,
};
use every_backend::every_backend;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use witness::{Causes, Witness};

const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    values_come_in_argument_order,
    the_first_failure_cancels_the_rest,
    errors_in_the_last_poll_are_kept,
    never_more_than_the_limit_are_under_way,
    a_limit_above_a_polls_share_is_reached_and_kept,
    a_failure_starts_nobody_else,
    a_limit_of_zero_polls_nothing,
);

type Answer<'a, T> = BoxFuture<'a, Result<T, &'static str>>;

// TG44
#[test]
fn gathered_sleeps_take_as_long_as_one() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let values = gather([3, 1, 2].map(|n| async move {
            sleep(SECOND).await;
            Ok::<_, ()>(n)
        }));
        assert_eq!(values.await.ok(), Some(vec![3, 1, 2]));
        assert_eq!((now() - start).as_millis(), 1000);
        let start = now();
        let values = gather_bounded(
            2,
            (0..5).map(|n| async move {
                sleep(SECOND).await;
                Ok::<_, ()>(n)
            }),
        );
        assert_eq!(values.await.ok(), Some(vec![0, 1, 2, 3, 4]));
        assert_eq!((now() - start).as_millis(), 3000);
    });
}

// TG44
fn values_come_in_argument_order(root: Root) {
    let words = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let values = root.block_on(gather(words.iter().enumerate().map(
        |(n, word)| async move {
            for _ in n..3 {
                yield_now().await;
            }
            Ok::<_, ()>(word.as_str())
        },
    )));
    assert_eq!(values.ok(), Some(vec!["a", "b", "c"]));
}

// TG44
fn the_first_failure_cancels_the_rest(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let causes = Causes::default();
    let futures = [0, 1, 2].map(|n| {
        let probe = Alive::new(&alive);
        let witness = Witness(causes.clone());
        async move {
            if n == 1 {
                drop(witness);
                yield_now().await;
                return Err("second");
            }
            let _kept = (probe, witness);
            sleep_forever().await;
            Ok(n)
        }
    });
    let (result, left) =
        root.block_on(async { (gather(futures).await, alive.load(Ordering::SeqCst)) });
    let error = result.expect_err("the second failed");
    assert_eq!(left, 0);
    assert_eq!(error.children().len(), 1);
    assert_eq!(error.children()[0].name(), "1");
    let cause = error.cause().expect("the rest was cancelled");
    assert_eq!(
        (cause.kind(), cause.reason()),
        (CauseKind::SiblingFailed, "1")
    );
    assert_eq!(error.into_single().ok(), Some("second"));
    assert_eq!(*causes.lock().unwrap(), [CauseKind::SiblingFailed; 2]);
}

fn errors_in_the_last_poll_are_kept(root: Root) {
    let gone = AtomicBool::new(false);
    let futures: [Answer<'_, ()>; 2] = [
        Box::pin(async {
            while !gone.load(Ordering::SeqCst) {
                yield_now().await;
            }
            Err("last")
        }),
        Box::pin(async {
            yield_now().await;
            gone.store(true, Ordering::SeqCst);
            Err("first")
        }),
    ];
    let result = root.block_on(gather(futures));
    let error = result.expect_err("both failed");
    assert_eq!(error.iter().copied().collect::<Vec<_>>(), ["first", "last"]);
}

// TG45
fn never_more_than_the_limit_are_under_way(root: Root) {
    let (under_way, most, begun) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let result = root.block_on(gather_bounded(
        2,
        (0..5).map(|n| {
            let (under_way, most, begun) = (&under_way, &most, &begun);
            async move {
                // They begin in their order.
                assert_eq!(begun.fetch_add(1, Ordering::SeqCst), n);
                let count = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                // And end in another.
                for _ in 0..(7 * n + 3) % 5 {
                    yield_now().await;
                }
                under_way.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, ()>(n)
            }
        }),
    ));
    assert_eq!(result.ok(), Some(vec![0, 1, 2, 3, 4]));
    assert_eq!(most.into_inner(), 2);
}

// TG45
fn a_limit_above_a_polls_share_is_reached_and_kept(root: Root) {
    // More than one poll of the task gives their turn.
    const LIMIT: usize = 150;
    const FUTURES: usize = 400;
    let (under_way, most, begun) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let result = root.block_on(gather_bounded(
        LIMIT,
        (0..FUTURES).map(|n| {
            let (under_way, most, begun) = (&under_way, &most, &begun);
            async move {
                assert_eq!(begun.fetch_add(1, Ordering::SeqCst), n);
                let count = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                // None ends before as many are there as may be.
                while most.load(Ordering::SeqCst) < LIMIT {
                    yield_now().await;
                }
                for _ in 0..(7 * n + 3) % 5 {
                    yield_now().await;
                }
                under_way.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, ()>(n)
            }
        }),
    ));
    assert!(result.expect("nothing fails").into_iter().eq(0..FUTURES));
    assert_eq!(most.into_inner(), LIMIT);
}

fn a_failure_starts_nobody_else(root: Root) {
    let begun = AtomicUsize::new(0);
    let alive = Arc::new(AtomicUsize::new(0));
    let result = root.block_on(gather_bounded(
        2,
        (0..5).map(|n| {
            let (begun, probe) = (&begun, Alive::new(&alive));
            async move {
                let _probe = probe;
                begun.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
                if n == 1 { Err(n) } else { Ok(()) }
            }
        }),
    ));
    let error = result.expect_err("one failed");
    assert_eq!(error.into_single().ok(), Some(1));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    // The first one had ended: its place was taken.
    assert_eq!(begun.into_inner(), 3);
}

fn a_limit_of_zero_polls_nothing(root: Root) {
    let polled = AtomicBool::new(false);
    let future = async {
        polled.store(true, Ordering::SeqCst);
        Ok::<_, ()>(1)
    };
    let result = root.block_on(gather_bounded(0, [future]));
    let error = result.expect_err("nobody may run");
    let invalid = error.invalid().expect("the limit is wrong");
    assert_eq!((invalid.given(), *invalid.allowed().start()), (0, 1));
    assert!(error.is_empty() && !error.is_cancelled());
    assert!(!polled.into_inner());
}
