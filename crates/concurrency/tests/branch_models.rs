//! Random futures in scopes and combinators against models of them, and random nets of wake-ups.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    GroupError, Root, Scope, as_completed, gather_bounded, now, race, scope, shield, sleep,
    task_group, yield_now,
};
use every_backend::every_backend;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

every_backend!(no_wake_up_is_lost);

/// A small generator, so that a seed says all.
struct Random(Cell<u64>);

impl Random {
    fn new(seed: u64) -> Random {
        Random(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    fn below(&self, bound: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        (x >> 16) % bound
    }
}

/// One future: how long it takes, how it ends, whether a cancel can stop it.
#[derive(Copy, Clone, Debug)]
struct Plan {
    pause: u64,
    fails: bool,
    shielded: bool,
}

impl Plan {
    fn draw(random: &Random) -> Plan {
        Plan {
            // Millions of ways: no two end at the same time.
            pause: 1 + random.below(1 << 22),
            fails: random.below(6) == 0,
            shielded: random.below(4) == 0,
        }
    }

    async fn run(self, index: usize) -> Result<usize, usize> {
        let pause = sleep(Duration::from_millis(self.pause));
        match self.shielded {
            true => shield(pause).await,
            false => pause.await,
        }
        if self.fails { Err(index) } else { Ok(index) }
    }
}

/// Who ends when, if `decides` says which end cancels the rest: the ends that are told, in their
/// order, and when all are gone.
fn model(plans: &[Plan], limit: usize, decides: impl Fn(Plan) -> bool) -> (Vec<usize>, u64) {
    let mut waiting = 0..plans.len();
    let mut running: Vec<(u64, usize)> = Vec::new();
    let (mut told, mut time, mut cancelled) = (Vec::new(), 0, false);
    loop {
        while running.len() < limit && !cancelled {
            let Some(index) = waiting.next() else { break };
            running.push((time + plans[index].pause, index));
        }
        let Some(next) = running.iter().copied().min() else {
            return (told, time);
        };
        running.retain(|other| *other != next);
        let (end, index) = next;
        time = end;
        told.push(index);
        if decides(plans[index]) {
            cancelled = true;
            running.retain(|(_, other)| plans[*other].shielded);
        }
    }
}

fn run_seeds(case: impl AsyncFn(&[Plan], &Random)) {
    Root::new().backend(Backend::Sim).block_on(async {
        for seed in 0..400 {
            let random = Random::new(seed);
            let plans: Vec<_> = (0..random.below(9)).map(|_| Plan::draw(&random)).collect();
            case(&plans, &random).await;
        }
    });
}

/// Runs a future and says how many milliseconds it took.
async fn timed<F: Future>(future: F) -> (F::Output, u64) {
    let start = now();
    let output = future.await;
    (
        output,
        u64::try_from((now() - start).as_millis()).expect("it ends"),
    )
}

fn runs(plans: &[Plan]) -> impl Iterator<Item = impl Future<Output = Result<usize, usize>>> {
    plans
        .iter()
        .enumerate()
        .map(|(index, plan)| plan.run(index))
}

// TG44, TG45
#[test]
fn gathers_are_as_their_model() {
    run_seeds(async |plans, random| {
        let limit = 1 + random.below(5) as usize;
        let (told, end) = model(plans, limit, |plan| plan.fails);
        let failed: Vec<_> = told.into_iter().filter(|i| plans[*i].fails).collect();
        let (result, took) = timed(gather_bounded(limit, runs(plans))).await;
        assert_eq!(took, end, "{limit} of {plans:?}");
        match result {
            Ok(values) => assert!(values.into_iter().eq(0..plans.len()) && failed.is_empty()),
            Err(error) => assert!(error.iter().eq(&failed) && !failed.is_empty()),
        }
    });
}

// TG46
#[test]
fn completions_are_as_their_model() {
    run_seeds(async |plans, random| {
        let (told, _) = model(plans, usize::MAX, |_| false);
        let enough = random.below(9) as usize;
        let mut results = as_completed(runs(plans));
        let (seen, took) = timed(async {
            let mut seen = Vec::new();
            while seen.len() < enough
                && let Some((index, result)) = results.next().await
            {
                assert_eq!(result.is_err(), plans[index].fails);
                assert_eq!(result.unwrap_or_else(|index| index), index);
                seen.push(index);
            }
            seen
        })
        .await;
        assert_eq!(seen, told[..enough.min(told.len())]);
        assert_eq!(took, seen.last().map_or(0, |last| plans[*last].pause));
        assert_eq!(results.len(), plans.len() - seen.len());
    });
}

// TG47, TG48
#[test]
fn races_are_as_their_model() {
    run_seeds(async |plans, _| {
        let won = Cell::new(None);
        let (told, end) = model(plans, usize::MAX, |plan| !plan.fails);
        for index in &told {
            if !plans[*index].fails && won.get().is_none() {
                won.set(Some(*index));
            }
        }
        let (result, took) = timed(race(runs(plans))).await;
        assert_eq!(took, end, "{plans:?}");
        match result {
            Ok(value) => assert_eq!(Some(value), won.get()),
            Err(error) => assert!(won.get().is_none() && error.iter().eq(&told)),
        }
    });
}

// TG38, TG40
#[test]
fn scopes_are_as_their_model() {
    run_seeds(async |plans, random| {
        // The body is the first.
        let Some(body) = plans.first() else { return };
        let deep = random.below(3);
        let (told, end) = model(plans, usize::MAX, |plan| plan.fails);
        let failed = || told.iter().filter(|i| plans[**i].fails);
        let running = scope(|scope: Scope<'_, usize>| {
            for (index, plan) in plans.iter().enumerate().skip(1) {
                let inner = scope.clone();
                scope.spawn_ok(async move {
                    // Some are spawned by others, for whom nobody waits.
                    for _ in 0..deep {
                        yield_now().await;
                    }
                    inner.spawn(plan.run(index));
                });
            }
            body.run(0)
        });
        let (result, took) = timed(running).await;
        assert_eq!(took, end, "{plans:?}");
        match result {
            Ok(value) => assert!(value == 0 && failed().next().is_none()),
            Err(error) => {
                // A body that was cut has no error, one that failed tells its own apart.
                let children = error.children().iter().filter_map(|child| child.error());
                assert!(children.eq(failed().filter(|i| **i != 0)), "{plans:?}");
                assert_eq!(error.host().is_some(), failed().any(|i| *i == 0));
            }
        }
    });
}

/// A net: each waits for some of those before it, then tells those behind. Every other one is a
/// child of the scope, the rest are tasks, which on several threads wake it at any moment.
fn no_wake_up_is_lost(root: Root) {
    const LENGTH: usize = 60;
    root.block_on(async {
        for seed in 0..20 {
            let random = Random::new(seed);
            let events: Arc<Vec<Event>> = Arc::new((0..LENGTH).map(|_| Event::new()).collect());
            let waits: Vec<Vec<usize>> = (0..LENGTH)
                .map(|n| {
                    let some = (0..n.min(3)).map(|_| random.below(n as u64) as usize);
                    some.collect()
                })
                .collect();
            let ended = Arc::new(AtomicUsize::new(0));
            let counter = ended.clone();
            let link = move |n: usize, waits: Vec<usize>| {
                let (events, ended) = (events.clone(), counter.clone());
                async move {
                    for before in waits {
                        events[before].wait().await;
                    }
                    if n.is_multiple_of(5) {
                        yield_now().await;
                    }
                    events[n].set();
                    ended.fetch_add(1, Ordering::SeqCst);
                }
            };
            let result = task_group::<_, (), _, _>(|group| async move {
                let inside: Result<(), GroupError<()>> = scope(|scope| async move {
                    // Backwards: most of them wait.
                    for (n, waits) in waits.into_iter().enumerate().rev() {
                        if n.is_multiple_of(2) {
                            scope.spawn_ok(link(n, waits));
                        } else {
                            group.spawn_ok(link(n, waits));
                        }
                    }
                    Ok(())
                })
                .await;
                assert!(inside.is_ok());
                Ok(())
            });
            assert!(result.await.is_ok());
            assert_eq!(ended.load(Ordering::SeqCst), LENGTH);
        }
    });
}
