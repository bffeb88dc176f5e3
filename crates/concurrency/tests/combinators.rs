//! `gather`, `as_completed` and `race`: what they return, and when the others are gone.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;
#[path = "suite/witness.rs"]
mod witness;

use alive::Alive;
use bowline_concurrency::sync::{Event, Lock};
use bowline_concurrency::{
    CauseKind, Root, as_completed, cancel_scope, checkpoint, gather, gather_bounded, race, shield,
    sleep, sleep_forever, task_group, timeout, yield_now,
};
use every_backend::every_backend;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_fn, ready};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use witness::{Causes, Witness};

const MS: Duration = Duration::from_millis(1);

every_backend!(
    results_come_as_they_complete,
    a_dropped_stream_drops_the_rest,
    the_first_value_wins_and_losers_are_gone,
    a_shielded_loser_is_awaited,
    a_race_that_all_lose_keeps_all_errors,
    nothing_is_not_an_error_but_for_a_race,
    panics_go_on_when_all_are_gone,
    an_outer_cancel_is_not_answered,
    what_is_ready_passes_in_a_cancelled_scope,
    a_foreign_drop_drops_all,
    branches_borrow_and_wake_each_other,
    shields_hold_while_the_next_one_is_awaited,
    between_two_waits_nothing_holds,
);

type Answer<'a, T> = BoxFuture<'a, Result<T, &'static str>>;

// TG46
fn results_come_as_they_complete(root: Root) {
    root.block_on(async {
        let gates = [Event::new(), Event::new(), Event::new()];
        let mut results = as_completed(gates.iter().enumerate().map(|(n, gate)| async move {
            gate.wait().await;
            if n == 2 { Err("third") } else { Ok(10 * n) }
        }));
        assert_eq!(results.len(), 3);
        let mut seen = Vec::new();
        gates[2].set();
        seen.push(results.next().await);
        gates[0].set();
        seen.push(results.next().await);
        assert_eq!(
            results.next().now_or_never(),
            None,
            "the second waits still"
        );
        gates[1].set();
        seen.push(results.next().await);
        assert_eq!(
            seen,
            [Some((2, Err("third"))), Some((0, Ok(0))), Some((1, Ok(10)))]
        );
        assert!(results.is_empty());
        assert_eq!(results.next().await, None);
        assert_eq!(results.next().await, None);
    });
}

// TG46
fn a_dropped_stream_drops_the_rest(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let mut results = as_completed((0..3).map(|n| {
            let probe = Alive::new(&alive);
            async move {
                let _probe = probe;
                if n != 1 {
                    sleep_forever().await;
                }
                n
            }
        }));
        assert_eq!(results.next().await, Some((1, 1)));
        assert_eq!(alive.load(Ordering::SeqCst), 2);
        drop(results);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

// TG47
fn the_first_value_wins_and_losers_are_gone(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let causes = Causes::default();
        let winner = race((0..4).map(|n| {
            let probe = Alive::new(&alive);
            let witness = Witness(causes.clone());
            async move {
                let _probe = probe;
                match n {
                    0 => return Err("an error ends no race"),
                    2 => {
                        drop(witness);
                        yield_now().await;
                        yield_now().await;
                    }
                    _ => {
                        let _witness = witness;
                        sleep_forever().await;
                    }
                }
                Ok(n)
            }
        }));
        assert_eq!(winner.await.ok(), Some(2));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(*causes.lock().unwrap(), [CauseKind::Satisfied; 2]);
    });
}

// TG47
fn a_shielded_loser_is_awaited(root: Root) {
    root.block_on(async {
        let finished = AtomicBool::new(false);
        let alive = Arc::new(AtomicUsize::new(0));
        let probe = Alive::new(&alive);
        let runners: [Answer<'_, _>; 3] = [
            Box::pin(async {
                shield(async {
                    // Only once the other loser is gone.
                    while alive.load(Ordering::SeqCst) > 0 {
                        checkpoint().await;
                    }
                    sleep(MS).await;
                    finished.store(true, Ordering::SeqCst);
                })
                .await;
                Ok("too late")
            }),
            Box::pin(async move {
                let _probe = probe;
                sleep_forever().await;
                Ok("never")
            }),
            Box::pin(async {
                yield_now().await;
                Ok("first")
            }),
        ];
        assert_eq!(race(runners).await.ok(), Some("first"));
        assert!(finished.into_inner());
    });
}

// TG48
fn a_race_that_all_lose_keeps_all_errors(root: Root) {
    let result = root.block_on(race((0..3_usize).map(|n| async move {
        for _ in n..3 {
            yield_now().await;
        }
        Err::<(), _>(n)
    })));
    let error = result.expect_err("all failed");
    assert_eq!(error.iter().copied().collect::<Vec<_>>(), [2, 1, 0]);
    let names: Vec<_> = error.children().iter().map(|child| child.name()).collect();
    assert_eq!(names, ["2", "1", "0"]);
    assert!(error.cause().is_none() && error.host().is_none());
}

// TG44, TG46, TG48
fn nothing_is_not_an_error_but_for_a_race(root: Root) {
    type Never = std::future::Pending<Result<(), ()>>;
    root.block_on(async {
        assert_eq!(gather([] as [Never; 0]).await.ok(), Some(Vec::new()));
        assert_eq!(as_completed([] as [Never; 0]).next().await, None);
        let error = race([] as [Never; 0]).await.expect_err("nobody won");
        assert!(error.is_empty() && error.invalid().is_none());
    });
}

fn panics_go_on_when_all_are_gone(root: Root) {
    async fn run<T>(alive: &Arc<AtomicUsize>, future: impl Future<Output = T>) {
        let caught = AssertUnwindSafe(future).catch_unwind().await;
        let payload = caught.err().expect("the panic goes on");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"one"));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let three = || {
            let (alive, panics) = (alive.clone(), Arc::new(Event::new()));
            (0..3).map(move |n| {
                let (probe, panics) = (Alive::new(&alive), panics.clone());
                async move {
                    let _probe = probe;
                    match n {
                        0 => {
                            // By its sleep alone it could be first, on a machine that stalls.
                            let after = async {
                                panics.wait().await;
                                sleep(MS).await;
                            };
                            shield(after).await;
                        }
                        1 => {
                            panics.set();
                            panic!("one");
                        }
                        _ => {
                            sleep_forever().await;
                        }
                    }
                    Ok::<_, ()>(n)
                }
            })
        };
        run(&alive, gather(three())).await;
        run(&alive, gather_bounded(2, three())).await;
        run(&alive, race(three())).await;
        run(&alive, async {
            // The value that comes after the panic is not told.
            as_completed(three()).next().await
        })
        .await;
    });
}

fn an_outer_cancel_is_not_answered(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        for kind in 0..4 {
            let outcome = cancel_scope(|outer| {
                let alive = &alive;
                let futures = (0..3).map(move |n| {
                    let (probe, outer) = (Alive::new(alive), outer.clone());
                    async move {
                        let _probe = probe;
                        yield_now().await;
                        if n == 1 {
                            outer.cancel("outer");
                        }
                        sleep_forever().await;
                        Ok::<(), ()>(())
                    }
                });
                async move {
                    match kind {
                        0 => drop(gather(futures).await),
                        1 => drop(gather_bounded(2, futures).await),
                        2 => drop(race(futures).await),
                        _ => drop(as_completed(futures).next().await),
                    }
                    unreachable!("the outer scope returns");
                }
            });
            let outcome: Result<(), _> = outcome.await.into_result();
            assert_eq!(outcome.expect_err("cancelled").reason(), "outer");
            assert_eq!(alive.load(Ordering::SeqCst), 0);
        }
    });
}

fn what_is_ready_passes_in_a_cancelled_scope(root: Root) {
    let outcome = root.block_on(cancel_scope(|scope| async move {
        scope.cancel("before");
        let values = gather([ready(Ok::<_, ()>(1)), ready(Ok(2))]).await;
        let winner = race([ready(Err(1)), ready(Ok(2))]).await;
        let next = as_completed([ready(3)]).next().await;
        (values.ok(), winner.ok(), next)
    }));
    let expected = (Some(vec![1, 2]), Some(2), Some((0, 3)));
    assert_eq!(outcome.done(), Some(expected));
}

fn a_foreign_drop_drops_all(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let probes = || {
            let alive = alive.clone();
            (0..5).map(move |_| {
                let probe = Alive::new(&alive);
                async move {
                    let _probe = probe;
                    sleep_forever().await;
                    Ok::<(), ()>(())
                }
            })
        };
        let mut gathered = Box::pin(gather_bounded(2, probes()));
        let mut raced = Box::pin(race(probes()));
        poll_fn(|cx| {
            assert!(gathered.as_mut().poll(cx).is_pending());
            assert!(raced.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(alive.load(Ordering::SeqCst), 10);
        drop(gathered);
        assert_eq!(alive.load(Ordering::SeqCst), 5);
        drop(raced);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        drop((gather(probes()), race(probes()), as_completed(probes())));
        assert_eq!(alive.load(Ordering::SeqCst), 0, "never polled");
    });
}

fn branches_borrow_and_wake_each_other(root: Root) {
    let sum = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let counter = Lock::new(0);
        let gate = Arc::new(Event::new());
        let opener = gate.clone();
        group.spawn_ok(async move {
            yield_now().await;
            opener.set();
        });
        let result = gather((0..200).map(|_| async {
            gate.wait().await;
            let mut counter = counter.lock().await;
            checkpoint().await;
            *counter += 1;
            Ok::<_, ()>(())
        }));
        assert_eq!(result.await.map(|all| all.len()).ok(), Some(200));
        Ok(counter.into_inner())
    }));
    assert_eq!(sum.ok(), Some(200));
}

// TG46
fn shields_hold_while_the_next_one_is_awaited(root: Root) {
    let said = Cell::new(0);
    let outcome = root.block_on(cancel_scope(|scope| {
        let said = &said;
        async move {
            let gates = [Event::new(), Event::new()];
            let mut results = as_completed(gates.iter().map(|gate| shield(gate.wait())));
            assert_eq!(results.next().now_or_never(), None);
            scope.cancel("stop");
            for n in 1..=2 {
                gates[n - 1].set();
                assert!(results.next().await.is_some(), "it was waited for");
                said.set(n);
            }
            assert!(results.next().await.is_none());
            sleep_forever().await
        }
    }));
    assert_eq!(outcome.cause().map(|cause| cause.reason()), Some("stop"));
    assert_eq!(said.get(), 2);
}

thread_local! {
    static DROPPED: Cell<usize> = const { Cell::new(0) };
}

// TG46
fn between_two_waits_nothing_holds(root: Root) {
    /// How the waits end that come before the cancel.
    #[derive(Clone, Copy, PartialEq)]
    enum Wait {
        Completed,
        Dropped,
        TimedOut,
        TakenUp,
    }
    // Shields are counted on the thread of the test.
    let backend = root.block_on(async { bowline_backend::Backend::current() });
    let backend = backend.expect("it runs");
    for wait in [
        Wait::Completed,
        Wait::Dropped,
        Wait::TimedOut,
        Wait::TakenUp,
    ] {
        let before = DROPPED.get();
        let root = Root::new().backend(backend);
        let root = root.on_shield_dropped(|_| DROPPED.set(DROPPED.get() + 1));
        let outcome = root.block_on(cancel_scope(|scope| async move {
            let mut results = as_completed([true, false].map(|waits| async move {
                shield(async {
                    match waits {
                        true => match sleep_forever().await {},
                        false => yield_now().await,
                    }
                })
                .await;
            }));
            match wait {
                Wait::Completed => assert!(results.next().await.is_some()),
                Wait::Dropped => assert_eq!(results.next().now_or_never(), None),
                Wait::TimedOut | Wait::TakenUp => {
                    assert!(results.next().await.is_some());
                    let late = timeout(MS, results.next()).await;
                    assert!(late.is_err(), "the other one sleeps for ever");
                }
            }
            if wait == Wait::TakenUp {
                assert_eq!(results.next().now_or_never(), None);
            }
            scope.cancel("stop");
            // Nobody will ever poll the shield again.
            sleep_forever().await
        }));
        assert_eq!(outcome.cause().map(|cause| cause.reason()), Some("stop"));
        let dropped = if wait == Wait::Dropped { 2 } else { 1 };
        assert_eq!(DROPPED.get() - before, dropped, "half-way");
    }
}
