//! `parallel` and `parallel_with`.

use crate::alive::Alive;
use crate::cut_after;
use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_concurrency::sync::Barrier;
use bowline_concurrency::{
    CauseKind, ChildErrorKind, OrCancelled, Policy, Root, checkpoint, now, parallel, parallel_with,
    shield, sleep, sleep_forever, task_group, yield_now,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    at_most_the_limit_runs_and_the_order_stays,
    the_first_failure_cancels_the_rest,
    every_call_has_an_answer_of_its_own,
    an_endless_iterator_ends_with_the_first_failure,
    a_quorum_is_enough,
    a_quorum_that_is_missed_has_the_errors,
    panics_go_on_or_are_answers,
    nothing_is_taken_for_a_limit_of_zero,
    what_runs_in_the_caller_may_borrow,
    a_cancel_from_outside_cancels_the_calls,
);

// PT7
fn at_most_the_limit_runs_and_the_order_stays(root: Root) {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, high) = (running.clone(), most.clone());
    let together = Arc::new(Barrier::new(3).expect("three is not zero"));
    let values = root.block_on(parallel(3, 0..10_usize, move |n| {
        let (running, most, together) = (now.clone(), high.clone(), together.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if n < 3 {
                together.wait().await;
            }
            // The later ones are done sooner.
            for _ in n..20 {
                yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ()>(n * n)
        }
    }));
    let expected: Vec<_> = (0..10).map(|n| n * n).collect();
    assert_eq!(values.expect("no call fails"), expected);
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

// PT7
fn the_first_failure_cancels_the_rest(root: Root) {
    let (alive, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (lives, begins) = (alive.clone(), begun.clone());
    let error = root.block_on(async move {
        let result = parallel(3, 0..10, move |n| {
            let alive = Alive::new(&lives);
            begins.fetch_add(1, Ordering::SeqCst);
            async move {
                let _alive = alive;
                if n == 2 {
                    checkpoint().await;
                    return Err("two");
                }
                sleep_forever().await;
                Ok(())
            }
        });
        let error = result.await.expect_err("the second fails");
        assert_eq!(alive.load(Ordering::SeqCst), 0, "all have ended");
        error
    });
    assert_eq!(begun.load(Ordering::SeqCst), 3);
    assert_eq!(error.children()[0].name(), "item 2");
    let cause = error.cause().expect("the rest was cancelled");
    assert_eq!(cause.kind(), CauseKind::SiblingFailed);
    assert_eq!(error.into_single().ok(), Some("two"));
}

// PT7
#[test]
fn a_failure_is_returned_at_once() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let result = parallel(3, 0..10, |n| async move {
            match n {
                2 => sleep(SECOND).await,
                _ => sleep(10 * SECOND).await,
            }
            if n == 2 { Err("two") } else { Ok(()) }
        });
        assert!(result.await.is_err());
        assert_eq!((now() - start).as_millis(), 1000);
        // A call that is shielded is waited for.
        let start = now();
        let result = parallel(3, 0..3, |n| async move {
            match n {
                2 => sleep(SECOND).await,
                1 => shield(sleep(5 * SECOND)).await,
                _ => sleep(10 * SECOND).await,
            }
            if n == 2 { Err("two") } else { Ok(()) }
        });
        assert!(result.await.is_err());
        assert_eq!((now() - start).as_millis(), 5000);
    });
}

// PT7
#[test]
fn ten_calls_of_a_second_three_at_a_time_take_four() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let result = parallel(3, 0..10, |n| async move {
            sleep(SECOND).await;
            Ok::<_, ()>(n)
        });
        assert_eq!(result.await.ok(), Some((0..10).collect::<Vec<_>>()));
        assert_eq!((now() - start).as_millis(), 4000);
    });
}

// PT8
fn every_call_has_an_answer_of_its_own(root: Root) {
    root.block_on(async {
        for policy in [Policy::CollectAll, Policy::Isolate] {
            let answers = parallel_with(policy, 4, 0..10_usize, |n| async move {
                for _ in n..10 {
                    yield_now().await;
                }
                // A success without a value is one.
                if n % 3 == 0 { Err(n) } else { Ok(()) }
            });
            let answers = answers.await.expect("every call has an answer");
            assert_eq!(answers.len(), 10);
            for (n, answer) in answers.into_iter().enumerate() {
                match answer {
                    Ok(()) => assert_ne!(n % 3, 0),
                    Err(error) => {
                        assert_eq!((n % 3, error.error()), (0, Some(&n)));
                        assert_eq!(error.name(), format!("item {n}"));
                        assert!(!error.id().is_outside());
                    }
                }
            }
        }
    });
}

// PT9
fn an_endless_iterator_ends_with_the_first_failure(root: Root) {
    const LIMIT: usize = 4;
    let pulled = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let (pulls, ends) = (pulled.clone(), done.clone());
    let items = (0..).inspect(move |_| {
        let pulled = pulls.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(pulled <= LIMIT + ends.load(Ordering::SeqCst));
    });
    let ends = done.clone();
    let result = root.block_on(parallel(LIMIT, items, move |n: usize| {
        let done = ends.clone();
        async move {
            yield_now().await;
            if n == 100 {
                return Err(n);
            }
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }));
    let error = result.expect_err("the hundredth fails");
    assert_eq!(error.into_single().ok(), Some(100));
    assert!(pulled.load(Ordering::SeqCst) > 100);
}

fn a_quorum_is_enough(root: Root) {
    let answers = root.block_on(parallel_with(Policy::Quorum(2), 5, 0.., |n| async move {
        match n {
            0 => Err("zero"),
            2 | 4 => {
                checkpoint().await;
                Ok(n)
            }
            _ => match sleep_forever().await {},
        }
    }));
    let answers = answers.expect("two are enough");
    assert!(answers.len() >= 5, "it takes what there is room for");
    let well: Vec<_> = answers.iter().filter_map(|a| a.as_ref().ok()).collect();
    assert_eq!(well, [&2, &4]);
    assert_eq!(answers[0].as_ref().unwrap_err().error(), Some(&"zero"));
    for n in (1..answers.len()).filter(|n| ![2, 4].contains(n)) {
        match answers[n].as_ref().expect_err("it waits for ever").kind() {
            ChildErrorKind::Cancelled(cause) => assert_eq!(cause.kind(), CauseKind::Satisfied),
            other => panic!("{other:?}"),
        }
    }
}

fn a_quorum_that_is_missed_has_the_errors(root: Root) {
    root.block_on(async {
        let result = parallel_with(Policy::Quorum(2), 5, 0..3, |n| async move {
            if n == 0 {
                return Ok(());
            }
            Err(n)
        });
        let error = result.await.expect_err("there is one");
        let mut errors: Vec<_> = error.iter().copied().collect();
        errors.sort_unstable();
        assert_eq!(errors, [1, 2]);
        assert!(error.invalid().is_none() && error.host().is_none());
        let few = parallel_with(Policy::Quorum(3), 5, 0..2, |_| async { Ok::<(), ()>(()) });
        let error = few.await.expect_err("there are two items");
        let invalid = error.invalid().expect("three of two is nonsense");
        assert_eq!((invalid.given(), *invalid.allowed().end()), (3, 2));
        let none = parallel_with(Policy::Quorum(0), 5, 0.., |_: u32| async {
            Ok::<(), ()>(())
        });
        assert_eq!(none.await.map(|answers| answers.len()).ok(), Some(0));
    });
}

fn panics_go_on_or_are_answers(root: Root) {
    let call = |n: usize| async move {
        checkpoint().await;
        assert!(n != 1, "one");
        Ok::<_, ()>(n)
    };
    root.block_on(async {
        let answers = parallel_with(Policy::CollectAll, 2, 0..3, call).await;
        let answers = answers.expect("every call has an answer");
        assert!(answers[0].is_ok() && answers[2].is_ok());
        match answers[1].as_ref().expect_err("it panicked").kind() {
            ChildErrorKind::Panicked(panic) => assert_eq!(panic.message(), "one"),
            other => panic!("{other:?}"),
        }
    });
    let root = Root::new().backend(Backend::Smol);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        root.block_on(parallel(2, 0..3, call)).is_ok()
    }));
    let panic = caught.expect_err("it goes on");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"one"));
}

// SY37
fn nothing_is_taken_for_a_limit_of_zero(root: Root) {
    root.block_on(async {
        let items = || std::iter::from_fn(|| -> Option<u32> { panic!("it is not asked") });
        let call = |_| async { Ok::<(), ()>(()) };
        let error = parallel(0, items(), call).await.expect_err("zero");
        let invalid = error.invalid().expect("zero is no limit");
        let what = (invalid.what(), invalid.given(), *invalid.allowed().start());
        assert_eq!(what, ("the limit of parallel calls", 0, 1));
        for policy in [Policy::FailFast, Policy::CollectAll, Policy::Quorum(1)] {
            let error = parallel_with(policy, 0, items(), call).await;
            assert_eq!(error.expect_err("zero").invalid(), Some(invalid));
        }
        // No items are no error.
        let none = parallel(9, Vec::<u32>::new(), call).await;
        assert_eq!(none.ok(), Some(Vec::new()));
    });
}

fn what_runs_in_the_caller_may_borrow(root: Root) {
    root.block_on(async {
        let words = ["a".to_owned(), "bc".to_owned()];
        let mut rest = words.iter();
        let mut seen = Vec::new();
        let values = parallel(1, rest.by_ref(), |word| {
            seen.push(word.len());
            let word = word.clone();
            async move { Ok::<_, ()>(word + "!") }
        });
        assert_eq!(values.await.expect("no call fails"), ["a!", "bc!"]);
        assert_eq!((seen.as_slice(), rest.next()), ([1, 2].as_slice(), None));
    });
}

fn a_cancel_from_outside_cancels_the_calls(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let lives = alive.clone();
    let result = root.block_on(task_group::<(), (), _, _>(|group| async move {
        let calls = parallel(4, 0..9, move |_| {
            let alive = Alive::new(&lives);
            let group = group.clone();
            async move {
                let _alive = alive;
                group.cancel("enough");
                sleep_forever().await;
                Ok::<(), ()>(())
            }
        });
        let _ = calls.await;
        unreachable!("it never returns");
    }));
    let outcome = result.or_cancelled().expect("nothing failed");
    let cause = outcome.cause().expect("it was cancelled");
    assert_eq!(cause.reason(), "enough");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

// A part of CP8.
#[test]
fn dropped_at_any_await_every_call_ends_before_the_root() {
    let mut polls = 1;
    loop {
        let alive = Arc::new(AtomicUsize::new(0));
        let lives = alive.clone();
        let calls = parallel(2, 0..5, move |_| {
            let alive = Alive::new(&lives);
            async move {
                let _alive = alive;
                yield_now().await;
                Ok::<(), ()>(())
            }
        });
        let root = Root::new().backend(Backend::Sim);
        let values = root.block_on(cut_after(polls, calls));
        assert_eq!(alive.load(Ordering::SeqCst), 0, "dropped at poll {polls}");
        if let Some(values) = values {
            break assert_eq!(values.expect("no call fails").len(), 5);
        }
        polls += 1;
    }
    assert!(polls >= 4, "{polls}");
}
