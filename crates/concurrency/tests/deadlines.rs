//! Deadlines, exactly on the simulator's clock and roughly on the others.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_backend::time::Instant;
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, Elapsed, Root, checkpoint, current_effective_deadline,
    move_on_after, move_on_at, now, sleep, sleep_forever, sleep_until, task_group, timeout,
    timeout_at, yield_now,
};
use bowline_sim::{Choice, Sim};
use every_backend::every_backend;
use futures_util::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

every_backend!(
    timeout_cuts_what_is_slower,
    inner_deadline_leaves_the_outer_body_running,
    zero_polls_once,
    maximum_means_never,
    deadlines_reach_through_foreign_combinators,
    a_task_has_its_own_timer,
    move_on_says_deadline,
);

/// Milliseconds of virtual time since `start`, poll costs cut off.
fn since(start: Instant) -> u128 {
    (now() - start).as_millis()
}

// CS22
fn timeout_cuts_what_is_slower(root: Root) {
    root.block_on(async {
        let start = now();
        let late = timeout(20 * MS, sleep(10 * SECOND)).await;
        assert!(late.is_err());
        assert!(now() - start >= 20 * MS);
        assert!(now() - start < SECOND);
        assert_eq!(timeout(10 * SECOND, sleep(5 * MS)).await, Ok(()));
    });
}

// CS22
#[test]
fn timeout_is_exact_in_the_simulator() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let late = timeout(SECOND, sleep(2 * SECOND)).await;
        assert_eq!(since(start), 1000);
        let deadline = late.expect_err("it is slower").deadline();
        assert_eq!((deadline - start).as_millis(), 1000);
        assert_eq!(timeout(2 * SECOND, sleep(SECOND)).await, Ok(()));
        assert_eq!(since(start), 2000);
    });
}

// CS9
fn inner_deadline_leaves_the_outer_body_running(root: Root) {
    let outcome = root.block_on(CancelScope::new().timeout(10 * SECOND).run(async {
        let inner = timeout(MS, sleep_forever()).await;
        assert!(inner.is_err());
        checkpoint().await;
        7
    }));
    assert_eq!(outcome.done(), Some(7));
}

// CS23
fn zero_polls_once(root: Root) {
    let polls = AtomicUsize::new(0);
    root.block_on(async {
        assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7));
        let late: Result<(), Elapsed> = timeout(
            Duration::ZERO,
            poll_fn(|_| {
                polls.fetch_add(1, Ordering::SeqCst);
                Poll::Pending
            }),
        )
        .await;
        assert!(late.is_err());
        let past = timeout_at(now() - SECOND, sleep_forever()).await;
        assert!(past.is_err());
        sleep_until(now() - SECOND).await;
    });
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

// CS24
fn maximum_means_never(root: Root) {
    root.block_on(async {
        let inside = timeout(Duration::MAX, async {
            yield_now().await;
            assert_eq!(current_effective_deadline(), Deadline::Never);
            7
        });
        assert_eq!(inside.await, Ok(7));
        let nearly = Duration::MAX - Duration::from_nanos(1);
        assert_eq!(timeout(nearly, async { 8 }).await, Ok(8));
    });
}

// CS24
#[test]
fn maximum_arms_no_timer() {
    // With a timer armed the world would jump to it; with none it has nothing to wait for.
    let stuck = std::panic::catch_unwind(|| {
        Root::new()
            .backend(Backend::Sim)
            .block_on(timeout(Duration::MAX, sleep_forever()))
    });
    let panic = stuck.expect_err("nothing can ever run");
    let report = panic.downcast_ref::<String>().expect("a report");
    assert!(report.contains("nothing can run"), "{report}");
}

// CS56
#[test]
fn simulated_time_counts_in_a_simulated_task() {
    let former = Backend::set_default(Backend::Tokio);
    let wall = bowline_backend::Backend::Tokio.now();
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let late = timeout(3600 * SECOND, sleep_forever()).await;
        assert!(late.is_err());
        assert_eq!(since(start), 3_600_000);
        let result = task_group::<_, (), _, _>(|group| async move {
            group.spawn_ok(async {
                let late = timeout(3600 * SECOND, sleep_forever()).await;
                assert!(late.is_err());
            });
            Ok(())
        });
        assert!(result.await.is_ok());
        assert_eq!(since(start), 7_200_000);
    });
    assert!(Backend::Tokio.now() - wall < 600 * SECOND);
    Backend::set_default(former);
}

#[test]
fn nested_deadlines_in_the_simulator() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        // The outer one returns, the inner never does.
        let outer = move_on_after(SECOND, async {
            let _ = timeout(2 * SECOND, sleep_forever()).await;
            unreachable!("the outer deadline is earlier");
        });
        assert!(outer.await.cause().is_some());
        assert_eq!(since(start), 1000);
        // A stale timer of a scope that has ended does not disturb a later one.
        assert!(timeout(SECOND, yield_now()).await.is_ok());
        assert!(timeout(5 * SECOND, sleep_forever()).await.is_err());
        assert_eq!(since(start), 6000);
        let at = now() + 3 * SECOND;
        let seen = timeout_at(at, async {
            timeout(9 * SECOND, async { current_effective_deadline() }).await
        });
        assert_eq!(seen.await, Ok(Ok(Deadline::At(at))));
    });
}

// CS36
fn deadlines_reach_through_foreign_combinators(root: Root) {
    use futures_util::stream::{FuturesUnordered, StreamExt};
    root.block_on(async {
        let mut set: FuturesUnordered<_> = (0..3)
            .map(|n| timeout((n + 1) * MS, sleep_forever()))
            .collect();
        let mut late = 0;
        while let Some(result) = set.next().await {
            late += usize::from(result.is_err());
        }
        assert_eq!(late, 3);
    });
}

fn a_task_has_its_own_timer(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let tasks: Vec<_> = (1..=20)
            .map(|n| group.spawn_ok(timeout(n * MS, sleep_forever())))
            .collect();
        let mut late = 0;
        for task in tasks {
            late += usize::from(task.join().await.is_ok_and(|result| result.is_err()));
        }
        Ok(late)
    }));
    assert_eq!(result.ok(), Some(20));
}

// CS25
fn move_on_says_deadline(root: Root) {
    root.block_on(async {
        let line = line!() + 1;
        let outcome = move_on_after(MS, sleep_forever()).await;
        let cause = outcome.into_result().expect_err("it has a deadline");
        assert_eq!(cause.kind(), CauseKind::Deadline);
        assert_eq!(cause.at().line(), line);
        assert!(move_on_at(now(), sleep_forever()).await.cause().is_some());
    });
}

// CS41
#[test]
fn a_scope_works_under_foreign_mains() {
    // No root of ours: the scope is the task's outermost wrapper and keeps its own timer.
    Backend::Tokio.block_on(async {
        assert!(timeout(MS, sleep_forever()).await.is_err());
    });
    for backend in [Backend::Smol, Backend::AsyncStd] {
        backend.block_on(async {
            assert!(timeout(MS, sleep_forever()).await.is_err());
        });
    }
}

/// How often a backend timer was armed while `body` ran in a root of a world of its own.
fn timers_armed<F: Future<Output = ()> + 'static>(body: fn() -> F) -> usize {
    let world = Sim::builder().ignore_leaks().record_choices(1_000_000);
    let world = world.client("main", move || {
        Root::new().backend(Backend::Sim).entered(body())
    });
    let report = world.run().expect("the world runs to its end");
    assert!(report.choices().is_complete());
    // The world chooses how a timer stands to others of its time whenever one is armed.
    let armed = |choice: &&Choice| choice.label() == "timer tie";
    report.choices().as_slice().iter().filter(armed).count()
}

/// Far more timeouts than timers, all of them over within the first second.
async fn many_timeouts() {
    let start = now();
    for _ in 0..10_000 {
        assert!(timeout(SECOND, yield_now()).await.is_ok());
    }
    assert!(now() - start < SECOND);
}

// CS35
#[test]
fn a_task_arms_its_timer_lazily() {
    let within_another = || async {
        assert!(timeout(2 * SECOND, many_timeouts()).await.is_ok());
    };
    assert!(timers_armed(many_timeouts) <= 2);
    assert!(timers_armed(within_another) <= 2);
    // The count is not blind.
    let one_each = || async {
        for _ in 0..10 {
            sleep(MS).await;
        }
    };
    assert_eq!(timers_armed(one_each), 10);
}

// CS35
#[test]
fn an_outer_deadline_is_met_behind_many_inner_ones() {
    Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let outer = timeout(2 * SECOND, async {
            many_timeouts().await;
            sleep_forever().await
        });
        assert!(outer.await.is_err());
        assert_eq!(since(start), 2000);
    });
}
