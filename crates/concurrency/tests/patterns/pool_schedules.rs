//! `Pool` under random schedules in the simulator: never more items than places, none lost, none
//! closed twice.

use bowline_backend::Backend;
use bowline_concurrency::{
    CancelScope, Pool, PoolError, Root, gather, sleep, task_group, timeout, yield_now,
};
use bowline_sim::Sim;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Worlds; each has its own seed.
const WORLDS: u64 = 400;
/// Schedules per world, one after the other.
const SCHEDULES: usize = 10;

const MILLISECOND: Duration = Duration::from_millis(1);

const USERS: usize = 4;
const USES: usize = 4;

/// What happens to the items of one pool.
#[derive(Default)]
struct Ledger {
    max: usize,
    /// Items that are being made, exist, or are being closed.
    there: AtomicUsize,
    made: AtomicUsize,
    closed: Mutex<Vec<usize>>,
    /// Items dropped without having been closed.
    leaked: AtomicUsize,
    used: AtomicUsize,
    cut: AtomicUsize,
}

/// One item, which knows whether it is used, and by one only.
struct Thing {
    number: usize,
    in_use: AtomicBool,
    closing: bool,
    ledger: Arc<Ledger>,
}

/// One that is there; also one that is being made.
struct There(Arc<Ledger>);

impl There {
    fn new(ledger: &Arc<Ledger>) -> There {
        let there = ledger.there.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(there <= ledger.max, "{there} of {}", ledger.max);
        There(ledger.clone())
    }
}

impl Drop for There {
    fn drop(&mut self) {
        self.0.there.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        if !self.closing {
            self.ledger.leaked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Lets others run a few times.
async fn pause(name: &'static str) {
    for _ in 0..Sim::choose(name, 0..3) {
        yield_now().await;
    }
}

/// A closing, with or without scopes of its own.
async fn goodbye() {
    let part = |_: usize| async {
        pause("closes").await;
        if Sim::choose("sleeps", 0..2) == 0 {
            sleep(MILLISECOND).await;
        }
        Ok::<_, ()>(())
    };
    let said = match Sim::choose("goodbye", 0..3) {
        0 => part(0).await.is_ok(),
        1 => timeout(1000 * MILLISECOND, part(0)).await.is_ok(),
        _ => gather((0..2).map(part)).await.is_ok(),
    };
    assert!(said);
}

type Item = (Thing, There);

fn pool(ledger: &Arc<Ledger>, max: usize) -> Pool<Item, ()> {
    let ledger = ledger.clone();
    let factory = Pool::builder(move || {
        let ledger = ledger.clone();
        async move {
            let there = There::new(&ledger);
            pause("makes").await;
            if Sim::choose("fails", 0..8) == 0 {
                return Err(());
            }
            let number = ledger.made.fetch_add(1, Ordering::SeqCst);
            let (in_use, closing) = (AtomicBool::new(false), false);
            let thing = Thing {
                number,
                in_use,
                closing,
                ledger,
            };
            Ok((thing, there))
        }
    });
    factory
        .check_with(|(thing, _)| {
            Box::pin(async move {
                assert!(!*thing.in_use.get_mut());
                pause("checks").await;
                Sim::choose("good", 0..5) != 0
            })
        })
        .close_with(|(mut thing, there): Item| {
            assert!(!*thing.in_use.get_mut() && !thing.closing);
            thing.closing = true;
            async move {
                goodbye().await;
                thing.ledger.closed.lock().unwrap().push(thing.number);
                drop(there);
            }
        })
        .max_idle(Sim::choose("max idle", 0..3) as usize)
        .max(max)
        .build()
        .expect("it has places")
}

/// One user: takes an item and gives it back, or discards it.
async fn one_use(pool: &Pool<Item, ()>, ledger: &Ledger) -> Result<(), PoolError<()>> {
    let lease = match pool.acquire().await {
        Err(PoolError::Failed(())) => return Ok(()),
        lease => lease?,
    };
    assert!(!lease.0.in_use.swap(true, Ordering::SeqCst), "two use one");
    let used = Used(&lease.0.in_use);
    pause("uses").await;
    drop(used);
    ledger.used.fetch_add(1, Ordering::SeqCst);
    if Sim::choose("discards", 0..4) == 0 {
        lease.discard();
    }
    Ok(())
}

struct Used<'a>(&'a AtomicBool);

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Runs an operation to its end, or drops or cancels it after some time; whether it ended.
async fn maybe<F: Future>(operation: F) -> Option<F::Output> {
    let polls = Sim::choose("polls", 1..8) as usize;
    match Sim::choose("manner", 0..4) {
        0 | 1 => Some(operation.await),
        2 => {
            let mut operation = pin!(operation);
            let ends = crate::cut_after(polls, operation.as_mut());
            let mut ends = pin!(ends);
            // So that it is polled again and not left waiting for a wake.
            std::future::poll_fn(|cx| {
                let polled = ends.as_mut().poll(cx);
                if polled.is_pending() {
                    cx.waker().wake_by_ref();
                }
                polled
            })
            .await
        }
        _ => {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cancels = async {
                for _ in 0..polls {
                    yield_now().await;
                }
                handle.cancel("meanwhile");
            };
            let (outcome, ()) = futures_util::future::join(scope.run(operation), cancels).await;
            outcome.done()
        }
    }
}

async fn run_schedule() -> Arc<Ledger> {
    let max = Sim::choose("places", 1..4) as usize;
    let ledger = Arc::new(Ledger {
        max,
        ..Ledger::default()
    });
    let pool = pool(&ledger, max);
    let (shared, all) = (pool.clone(), ledger.clone());
    let result = task_group::<_, (), _, _>(|group| async move {
        for _ in 0..USERS {
            let (pool, ledger) = (shared.clone(), all.clone());
            group.spawn_ok(async move {
                for _ in 0..USES {
                    match maybe(one_use(&pool, &ledger)).await {
                        Some(Ok(())) => {}
                        Some(Err(closed)) => return assert_eq!(closed, PoolError::Closed),
                        None => {
                            ledger.cut.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
        for _ in 0..Sim::choose("close after", 8..60) {
            yield_now().await;
        }
        if Sim::choose("sweeps", 0..2) == 0 {
            maybe(shared.close_retired()).await;
        }
        for _ in 0..Sim::choose("closers", 1..4) {
            let pool = shared.clone();
            group.spawn_ok(async move { maybe(pool.close()).await.is_some() });
        }
        shared.close().await;
        let end = shared.statistics();
        assert_eq!((end.held, end.idle, end.retired), (0, 0, 0));
        Ok(())
    });
    assert!(result.await.is_ok());
    assert_eq!(pool.statistics().waiting, 0);
    ledger
}

fn check(ledger: &Ledger) {
    let mut closed = ledger.closed.lock().unwrap().clone();
    closed.sort_unstable();
    let made = ledger.made.load(Ordering::SeqCst);
    let all: Vec<_> = (0..made).collect();
    assert_eq!(closed, all, "every item is closed once");
    assert_eq!(ledger.there.load(Ordering::SeqCst), 0);
    assert_eq!(ledger.leaked.load(Ordering::SeqCst), 0);
}

/// Runs half of the schedules; two tests, for two cores.
fn run_half(half: u64) {
    let (mut used, mut cut, mut made) = (0, 0, 0);
    for seed in half * WORLDS / 2..(half + 1) * WORLDS / 2 {
        let root = Root::new().backend(Backend::Sim);
        bowline_sim::block_on(
            seed,
            root.entered(async {
                for _ in 0..SCHEDULES {
                    let ledger = run_schedule().await;
                    check(&ledger);
                    used += ledger.used.load(Ordering::SeqCst);
                    cut += ledger.cut.load(Ordering::SeqCst);
                    made += ledger.made.load(Ordering::SeqCst);
                }
            }),
        );
    }
    // All outcomes are common, or the test would show little.
    assert!(used > 4000, "{used} used");
    assert!(cut > 4000, "{cut} cut");
    assert!(made > 4000, "{made} made");
}

// PT1, PT3, PT4, PT6
#[test]
fn no_item_is_lost_or_closed_twice_in_schedules_of_the_first_half() {
    run_half(0);
}

// PT1, PT3, PT4, PT6
#[test]
fn no_item_is_lost_or_closed_twice_in_schedules_of_the_second_half() {
    run_half(1);
}
