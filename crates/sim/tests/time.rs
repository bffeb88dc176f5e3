//! Virtual time: it jumps, never fires early, and orders ties by draw.

use bowline_sim::host::{self, Sleep};
use bowline_sim::{Sim, block_on};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

// SIM20
#[test]
fn ten_years_take_no_time() {
    let ten_years = 10 * 365 * 24 * 3600 * SECOND;
    // The best of some: the machine may be busy with something else meanwhile.
    let best = (0..50)
        .map(|seed| {
            let start = Instant::now();
            let woke = block_on(seed, async {
                Sleep::new(ten_years).await;
                host::now()
            });
            assert!((ten_years..ten_years + 1000).contains(&woke));
            start.elapsed()
        })
        .min();
    assert!(best < Some(Duration::from_millis(1)), "{best:?}");
}

// SIM21
#[test]
fn a_yield_between_read_and_write_loses_an_update() {
    let total = |seed| {
        block_on(seed, async {
            let counter = Arc::new(AtomicU64::new(0));
            let done = Arc::new(AtomicU64::new(0));
            for _ in 0..2 {
                let (counter, done) = (Arc::clone(&counter), Arc::clone(&done));
                host::spawn(async move {
                    let read = counter.load(Ordering::Relaxed);
                    host::yield_now().await;
                    counter.store(read + 1, Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
            while done.load(Ordering::Relaxed) < 2 {
                host::yield_now().await;
            }
            counter.load(Ordering::Relaxed)
        })
    };
    let totals: BTreeSet<u64> = (0..100).map(total).collect();
    assert_eq!(totals, BTreeSet::from([1, 2]));
}

// SIM22
#[test]
fn never_early() {
    for jitter in [0, 1_000_000] {
        Sim::builder()
            .seed(3)
            .timer_jitter(Duration::from_nanos(jitter))
            .client("sleeper", move || async move {
                for _ in 0..1000 {
                    let deadline = host::now() + host::random_u64() % SECOND;
                    Sleep::new(deadline).await;
                    let late = host::now().checked_sub(deadline).expect("early");
                    assert!(late <= jitter + 1000, "late by {late}");
                }
            })
            .run()
            .expect("the sleeper ends");
    }
}

// SIM22
#[test]
fn equal_deadlines_fire_in_both_orders() {
    let order = |seed| {
        block_on(seed, async {
            let order = Arc::new(Mutex::new(Vec::new()));
            for name in ["first", "second"] {
                let order = Arc::clone(&order);
                host::spawn(async move {
                    Sleep::new(SECOND).await;
                    order.lock().expect("not poisoned").push(name);
                });
            }
            Sleep::new(2 * SECOND).await;
            order.lock().expect("not poisoned").clone()
        })
    };
    let orders: BTreeSet<_> = (0..50).map(order).collect();
    assert_eq!(orders.len(), 2);
    // The order of the timers themselves is drawn, not only that of the tasks they wake.
    let timers = |seed| {
        let report = Sim::builder()
            .seed(seed)
            .strategy(bowline_sim::Strategy::Fifo)
            .trace(bowline_sim::Keep::Full)
            .client("a", || Sleep::new(SECOND))
            .client("b", || Sleep::new(SECOND))
            .run()
            .expect("both wake");
        let mut fired = report
            .trace()
            .iter()
            .filter(|line| line.event().kind() == bowline_sim::EventKind::Timer);
        fired.next().expect("a timer fired").host().to_owned()
    };
    let first: BTreeSet<_> = (0..50).map(timers).collect();
    assert_eq!(first.len(), 2);
}

async fn poll(mut sleep: Pin<&mut Sleep>) -> bool {
    poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await
}

// SIM22
#[test]
fn reset_moves_a_sleep() {
    block_on(1, async {
        let mut sleep = pin!(Sleep::new(5 * SECOND));
        assert!(!poll(sleep.as_mut()).await);
        sleep.as_mut().reset(SECOND);
        sleep.as_mut().await;
        assert!((SECOND..2 * SECOND).contains(&host::now()));
        // After completion, to never and back again, then into the past.
        sleep.as_mut().reset(Sleep::NEVER);
        assert!(!poll(sleep.as_mut()).await);
        sleep.as_mut().reset(9 * SECOND);
        assert!(!poll(sleep.as_mut()).await);
        sleep.as_mut().reset(Sleep::NEVER);
        sleep.as_mut().reset(7 * SECOND);
        sleep.as_mut().await;
        assert!((7 * SECOND..8 * SECOND).contains(&host::now()));
        sleep.as_mut().reset(1);
        assert!(poll(sleep.as_mut()).await);
    });
}

#[test]
fn dropped_timers_leave_nothing() {
    let end = block_on(1, async {
        let mut sleeps: Vec<_> = (0..10_000)
            .map(|i| Box::pin(Sleep::new(1000 * SECOND + i)))
            .collect();
        poll_fn(|cx| {
            for sleep in &mut sleeps {
                assert!(sleep.as_mut().poll(cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        drop(sleeps);
        Sleep::new(SECOND).await;
        host::now()
    });
    assert!(end < 2 * SECOND);
}

// SIM27
#[test]
fn setting_the_wall_clock_moves_no_sleep() {
    let day = Duration::from_secs(86_400);
    let world = Sim::builder()
        .client("here", move || async move {
            let (start, wall) = (host::now(), host::wall_clock());
            Sleep::new(start + 10_000_000_000).await;
            assert_eq!((host::now() - start) / 1_000_000_000, 10);
            // Set back to the day before at 3 s, and to 1970 and a minute at 5 s.
            assert_eq!(host::wall_clock().as_secs(), 60 + 5);
            assert!(host::wall_clock() < wall - day);
        })
        .client("there", || async {
            let wall = host::wall_clock();
            Sleep::new(host::now() + 10_000_000_000).await;
            assert_eq!((host::wall_clock() - wall).as_secs(), 10);
        })
        .at(Duration::from_secs(3), move |world| {
            world.set_wall_clock("here", Duration::from_secs(1_577_836_803) - day);
        })
        .at(Duration::from_secs(5), |world| {
            world.set_wall_clock("here", Duration::from_secs(60));
        });
    for seed in 0..10 {
        world
            .clone()
            .seed(seed)
            .run()
            .expect("only the wall clock moved");
    }
}

// SIM27
#[test]
fn a_wall_clock_at_its_end_stays_there() {
    let world = Sim::builder()
        .client("here", || async {
            Sleep::new(2 * SECOND).await;
            assert_eq!(host::wall_clock(), Duration::MAX);
        })
        .at(Duration::from_secs(1), |world| {
            world.set_wall_clock("here", Duration::MAX);
        });
    world.run().expect("it goes no further");
}

// SIM27
#[test]
fn clocks_drift_apart() {
    let timeout = || async {
        let start = host::now();
        assert_eq!(start / 1_000_000, 0);
        Sleep::new(start + 1_000 * SECOND).await;
        // Never early by the own clock, and hardly late.
        let slept = host::now() - start;
        assert!(
            (1_000 * SECOND..1_000 * SECOND + 10_000).contains(&slept),
            "{slept}"
        );
        let wall = host::wall_clock().as_secs();
        assert_eq!(wall, 1_577_836_800 + 1_000);
        Sim::note(
            "done",
            u64::try_from(Sim::now().as_millis()).expect("a short run"),
        );
    };
    let world = Sim::builder()
        .client("fast", timeout)
        .client("right", timeout)
        .client("slow", timeout)
        .clock_drift("fast", 200)
        .clock_drift("slow", -200);
    for seed in 0..20 {
        let report = world.clone().seed(seed).run().expect("all time out");
        let lines = report.trace().iter();
        let done: Vec<_> = lines
            .filter(|line| line.event().label() == "done")
            .map(|line| (line.host(), line.event().values().0))
            .collect();
        let expected = [("fast", 999_800), ("right", 1_000_000), ("slow", 1_000_200)];
        assert_eq!(done, expected);
    }
}

// SIM27
#[test]
fn a_drifting_clock_never_fires_early() {
    for drift in [-999_999, -500_000, -200, -1, 0, 1, 200, 333_333, i32::MAX] {
        let world = Sim::builder()
            .horizon(Duration::MAX) // at the slowest rate it takes years
            .client("host", || async {
                for step in 0..200_u64 {
                    let deadline = host::now() + 1 + step * step * 977;
                    Sleep::new(deadline).await;
                    assert!(host::now() >= deadline);
                }
            })
            .clock_drift("host", drift);
        world.run().expect("never early");
    }
}

#[test]
fn who_waits_for_all_to_be_parked_goes_before_the_clock() {
    for seed in 0..20 {
        let steps = Arc::new(AtomicU64::new(0));
        let (here, there) = (Arc::clone(&steps), Arc::clone(&steps));
        let world = Sim::builder()
            .seed(seed)
            .client("works", move || {
                let steps = Arc::clone(&there);
                async move {
                    for _ in 0..10 {
                        host::yield_now().await;
                        steps.fetch_add(1, Ordering::Relaxed);
                    }
                    Sleep::new(host::now() + SECOND).await;
                    steps.fetch_add(1, Ordering::Relaxed);
                    Ok::<(), std::io::Error>(())
                }
            })
            .client("waits", move || {
                let steps = Arc::clone(&here);
                async move {
                    // One that is given up holds up nobody.
                    let mut dropped = Box::pin(host::all_blocked());
                    poll_fn(|cx| {
                        assert!(dropped.as_mut().poll(cx).is_pending());
                        Poll::Ready(())
                    })
                    .await;
                    drop(dropped);
                    host::all_blocked().await;
                    assert_eq!(steps.load(Ordering::Relaxed), 10);
                    assert!(host::now() < SECOND);
                    Sleep::new(2 * SECOND).await;
                    assert_eq!(steps.load(Ordering::Relaxed), 11);
                    host::all_blocked().await;
                    Ok::<(), std::io::Error>(())
                }
            });
        world.run().expect("both end");
    }
}
