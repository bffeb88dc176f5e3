//! `Workers` whose jobs fail.

use super::workers::in_group;
use crate::alive::Alive;
use crate::every_backend::every_backend;
use bowline_concurrency::sync::{Event, QueueSendError};
use bowline_concurrency::{
    ChildErrorKind, PanicPolicy, Policy, Root, TaskGroup, Workers, checkpoint, sleep_forever,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

every_backend!(
    an_error_and_a_panic_are_counted_and_harm_nobody,
    with_fail_fast_an_error_fails_the_group,
    with_fail_fast_a_panic_goes_on,
    with_fail_fast_those_without_a_job_end_too,
    with_fail_fast_the_workers_end_also_in_a_group_that_goes_on,
    with_collect_all_each_worker_fails_with_its_first,
    with_collect_all_a_cancelled_worker_fails_with_its_first,
);

/// What goes wrong with some jobs.
async fn some_fail(job: u32) -> Result<(), &'static str> {
    checkpoint().await;
    assert!(job != 5, "five");
    if job % 4 == 3 { Err("of four") } else { Ok(()) }
}

// PT12
fn an_error_and_a_panic_are_counted_and_harm_nobody(root: Root) {
    let result = in_group(root, |group| async move {
        let workers = Workers::start(&group, 2, 4, some_fail).expect("neither number is zero");
        for job in 0..20 {
            workers.send(job).await.expect("they are open");
        }
        workers.close().await;
        let end = workers.statistics();
        assert_eq!((end.done, end.failed, end.panicked), (14, 5, 1));
        assert_eq!((end.running, end.waiting, end.dropped), (0, 0, 0));
        // A panic before the first await is one of the job as well.
        let workers = Workers::start(&group, 1, 4, |job: u32| {
            assert!(job != 1, "at once");
            async { Ok(()) }
        });
        let workers = workers.expect("neither number is zero");
        for job in 0..3 {
            workers.send(job).await.expect("they are open");
        }
        workers.close().await;
        let end = workers.statistics();
        assert_eq!((end.done, end.failed, end.panicked), (2, 0, 1));
        Ok(group.statistics())
    });
    let group = result.expect("no worker fails");
    assert_eq!((group.done, group.failed, group.panicked), (3, 0, 0));
}

// PT12
fn with_fail_fast_an_error_fails_the_group(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let lives = alive.clone();
    let result = in_group(root, |group| async move {
        let workers = Workers::start_with(&group, Policy::FailFast, 3, 8, move |job: u32| {
            let alive = Alive::new(&lives);
            async move {
                let _alive = alive;
                match job {
                    2 => Err("two"),
                    _ => match sleep_forever().await {},
                }
            }
        });
        let workers = workers.expect("neither number is zero");
        for job in 0..3 {
            workers.send(job).await.expect("they are open");
        }
        sleep_forever().await;
        Ok(())
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    let error = result.expect_err("a job failed");
    assert!(error.children()[0].name().starts_with("worker "));
    assert_eq!(error.into_single().ok(), Some("two"));
}

// PT12
fn with_fail_fast_a_panic_goes_on(root: Root) {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let result = in_group(root, |group| async move {
            let workers = Workers::start_with(&group, Policy::FailFast, 2, 8, some_fail);
            let workers = workers.expect("neither number is zero");
            workers.send(5).await.expect("they are open");
            sleep_forever().await;
            Ok(())
        });
        result.is_ok()
    }));
    let panic = caught.expect_err("it goes on in the host");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"five"));
}

// PT12
fn with_fail_fast_those_without_a_job_end_too(root: Root) {
    let isolated = TaskGroup::builder().policy(Policy::Isolate);
    let result = root.block_on(isolated.run(|group| async move {
        let workers = Workers::start_with(&group, Policy::FailFast, 3, 4, |job: u32| async move {
            Err::<(), _>(job)
        });
        let workers = workers.expect("neither number is zero");
        workers.send(0).await.expect("they are open");
        // Nobody closes them.
        while workers.statistics().workers > 0 {
            checkpoint().await;
        }
        assert_eq!(workers.send(9).await, Err(QueueSendError(9)));
        workers.close().await;
        let end = workers.statistics();
        assert_eq!((end.failed, end.dropped, end.waiting), (1, 0, 0));
        Ok(group.statistics())
    }));
    let group = result.expect("the group goes on");
    assert_eq!((group.failed, group.live), (1, 0));
}

// PT12
fn with_fail_fast_the_workers_end_also_in_a_group_that_goes_on(root: Root) {
    let isolated = TaskGroup::builder().policy(Policy::Isolate);
    let result = root.block_on(isolated.run(|group| async move {
        let began = Arc::new(Event::new());
        let begins = began.clone();
        let workers = Workers::start_with(&group, Policy::FailFast, 2, 4, move |job: u32| {
            let began = begins.clone();
            async move {
                if job == 0 {
                    began.set();
                    sleep_forever().await;
                }
                began.wait().await;
                Err("it fails")
            }
        });
        let workers = workers.expect("neither number is zero");
        for job in 0..4 {
            // The later ones may find that the workers have ended.
            let _ = workers.send(job).await;
        }
        workers.close().await;
        assert_eq!(workers.send(9).await, Err(QueueSendError(9)));
        let end = workers.statistics();
        assert_eq!(
            (end.workers, end.done, end.waiting, end.running),
            (0, 0, 0, 0)
        );
        assert!((1..=2).contains(&end.failed), "{end:?}");
        assert!(end.dropped >= 1, "the first was cancelled: {end:?}");
        Ok(())
    }));
    assert!(result.is_ok());
}

fn with_collect_all_each_worker_fails_with_its_first(root: Root) {
    let collecting = TaskGroup::builder()
        .policy(Policy::CollectAll)
        .panics(PanicPolicy::Collect);
    let result = root.block_on(collecting.run(|group| async move {
        let all = |job: u32| async move {
            assert!(job != 0, "zero");
            if job.is_multiple_of(2) {
                Err("even")
            } else {
                Ok(())
            }
        };
        let one = Workers::start_with(&group, Policy::CollectAll, 1, 4, all);
        let one = one.expect("neither number is zero");
        for job in 1..8 {
            one.send(job).await.expect("they are open");
        }
        one.close().await;
        let end = one.statistics();
        assert_eq!((end.done, end.failed, end.panicked), (4, 3, 0));
        let other = Workers::start_with(&group, Policy::CollectAll, 1, 4, all);
        let other = other.expect("neither number is zero");
        for job in 0..3 {
            other.send(job).await.expect("they are open");
        }
        other.close().await;
        let end = other.statistics();
        assert_eq!((end.done, end.failed, end.panicked), (1, 1, 1));
        Ok(())
    }));
    let error = result.expect_err("both have failed");
    let [one, other] = error.children() else {
        panic!("{error:?}");
    };
    assert_eq!(one.error(), Some(&"even"));
    assert!(matches!(other.kind(), ChildErrorKind::Panicked(panic) if panic.message() == "zero"));
}

// PT12
fn with_collect_all_a_cancelled_worker_fails_with_its_first(root: Root) {
    let collecting = TaskGroup::builder()
        .policy(Policy::CollectAll)
        .panics(PanicPolicy::Collect);
    let result = root.block_on(collecting.run(|group| async move {
        let job = |job: u32| async move {
            match job {
                0 => panic!("zero"),
                1 => Err("one"),
                2 => Err("two"),
                3 => match sleep_forever().await {},
                _ => Ok(()),
            }
        };
        // When it is cancelled this one waits for a job, the next one runs one, the last one has
        // failed in none.
        let waits = Workers::start_with(&group, Policy::CollectAll, 1, 4, job);
        let runs = Workers::start_with(&group, Policy::CollectAll, 1, 4, job);
        let well = Workers::start_with(&group, Policy::CollectAll, 1, 4, job);
        let crews = [waits, runs, well].map(|crew| crew.expect("neither number is zero"));
        for (crew, jobs) in crews.iter().zip([[1, 2], [0, 3], [4, 4]]) {
            for job in jobs {
                crew.send(job).await.expect("they are open");
            }
        }
        let [waits, runs, well] = &crews;
        waits.join().await;
        well.join().await;
        while runs.statistics().panicked + runs.statistics().running < 2 {
            checkpoint().await;
        }
        group.cancel("enough");
        // The handles are not to be what ends them.
        Ok(crews)
    }));
    let error = result.expect_err("two have failed");
    let mut seen: Vec<_> = error.children().iter().map(|c| c.kind()).collect();
    seen.sort_by_key(|kind| matches!(kind, ChildErrorKind::Panicked(_)));
    match seen[..] {
        [ChildErrorKind::Failed(one), ChildErrorKind::Panicked(zero)] => {
            assert_eq!((*one, zero.message()), ("one", "zero"));
        }
        _ => panic!("{error:?}"),
    }
    let cause = error.cause().expect("it was cancelled");
    assert_eq!(cause.reason(), "enough");
}
