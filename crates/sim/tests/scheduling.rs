//! Which task is next, and worlds that turn without getting anywhere.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Sleep, yield_now};
use bowline_sim::{
    Builder, EventKind, FailureKind, HostOutcome, Keep, Sim, Strategy, TraceEvent, block_on,
};
use echo::{accept, dial, listen, read_some};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;

async fn spin() {
    loop {
        yield_now().await;
    }
}

/// Has timers that fire as long as the world goes on.
async fn tick() {
    loop {
        Sleep::new(host::now() + MILLISECOND).await;
    }
}

// SIM24
#[test]
fn tasks_that_only_wake_each_other_are_a_livelock() {
    for strategy in [
        Strategy::Fifo,
        Strategy::Random,
        Strategy::RoundRobinHosts,
        Strategy::Starve("busy"),
    ] {
        let failure = Sim::builder()
            .strategy(strategy)
            .client("busy", || async {
                host::spawn(spin());
                spin().await;
            })
            .client("waits", || Sleep::new(60_000 * MILLISECOND))
            .run()
            .expect_err("it goes nowhere");
        assert_eq!(*failure.kind(), FailureKind::Livelock);
        assert!(failure.to_string().contains("livelock"), "{failure}");
        assert!(failure.message().starts_with("1000000 polls"));
        // Polls alone moved the clock.
        assert!(failure.virtual_time() < Duration::from_millis(600));
        let spinning = failure.wait_graph().iter();
        let spinning = spinning.filter(|line| line.host() == "busy");
        assert_eq!(spinning.count(), 2);
    }
}

// SIM24
#[test]
fn reading_the_end_for_ever_is_a_livelock() {
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            drop(accept(&listener).await?);
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let stream = dial("server", 80).await?;
            loop {
                // Whoever forgets that nothing means the end tries again.
                if read_some(&stream, 10).await?.len() == 10 {
                    return Ok::<(), io::Error>(());
                }
                yield_now().await;
            }
        });
    let failure = world.run().expect_err("it goes nowhere");
    assert_eq!(*failure.kind(), FailureKind::Livelock);
}

// SIM24
#[test]
fn a_livelock_of_one_host_panics() {
    let stuck = catch_unwind(AssertUnwindSafe(|| block_on(1, spin())));
    let text = stuck.expect_err("it goes nowhere");
    let text = text.downcast::<String>().expect("a report");
    assert!(text.contains("livelock"), "{text}");
}

/// Some tasks that yield so many times while `ticks` is at work beside them.
fn honest<F, T>(count: u64, ticks: impl Fn() -> F + 'static) -> Builder
where
    F: Future<Output = T> + 'static,
    T: HostOutcome,
{
    Sim::builder()
        .trace(Keep::Off)
        .ignore_leaks() // its tasks go on for ever
        .client("busy", move || async move {
            let polls = Arc::new(AtomicU64::new(0));
            for _ in 0..3 {
                let polls = Arc::clone(&polls);
                host::spawn(async move {
                    loop {
                        polls.fetch_add(1, Ordering::Relaxed);
                        yield_now().await;
                    }
                });
            }
            while polls.load(Ordering::Relaxed) < count {
                yield_now().await;
            }
        })
        .host("ticks", ticks)
}

// SIM24
#[test]
fn a_million_honest_polls_are_no_livelock() {
    let timers = honest(1_000_000, tick);
    let report = timers.run().expect("timers fire");
    assert!(report.polls > 1_000_000);
    let bytes = honest(200_000, || async {
        use bowline_sim::net::UnixStream;
        let (one, other) = UnixStream::pair()?;
        loop {
            std::future::poll_fn(|cx| one.poll_write(cx, b"x")).await?;
            let mut buffer = [0; 1];
            std::future::poll_fn(|cx| other.poll_read(cx, &mut buffer)).await?;
            for _ in 0..10_000 {
                yield_now().await;
            }
        }
        #[allow(unreachable_code, reason = "it names the type of the error")]
        Ok::<(), io::Error>(())
    });
    let report = bytes.run().expect("bytes move");
    assert!(report.polls > 200_000);
}

// SIM24
#[test]
fn a_task_that_wakes_itself_a_million_times_is_honest_where_timers_fire() {
    let world = Sim::builder()
        .trace(Keep::Off)
        .client("busy", || async {
            for _ in 0..1_100_000 {
                yield_now().await;
            }
        })
        .host("ticks", tick);
    let report = world.run().expect("timers fire");
    assert!(report.polls > 1_100_000);
}

// SIM24
#[test]
fn a_task_that_spins_beside_timers_is_a_livelock() {
    let world = Sim::builder()
        .trace(Keep::Off)
        .client("busy", || async {
            host::spawn(async { Sleep::new(Sleep::NEVER).await });
            spin().await;
        })
        .host("ticks", tick)
        .livelock_after(10_000);
    for seed in 0..3 {
        let failure = world.clone().seed(seed).run();
        let failure = failure.expect_err("it goes nowhere");
        assert_eq!(*failure.kind(), FailureKind::Livelock);
        let told = "40000 polls, each woken by the one before";
        assert!(failure.message().starts_with(told), "{failure}");
        assert!(failure.message().contains("is of busy/1"), "{failure}");
    }
}

// SIM24, SIM46
#[test]
fn a_task_that_spins_when_its_host_is_done_is_a_livelock() {
    for ticks in [false, true] {
        let mut world = Sim::builder()
            .trace(Keep::Off)
            .client("done", || async {
                host::spawn(spin());
            })
            .livelock_after(10_000);
        if ticks {
            world = world.host("ticks", tick);
        }
        let failure = world.run().expect_err("it goes nowhere");
        assert_eq!(*failure.kind(), FailureKind::Livelock);
        // Long before it is a leak, and named as well.
        assert!(failure.virtual_time() < Duration::from_secs(1));
        let lines = failure.wait_graph();
        assert!(lines.iter().any(|line| line.host() == "done"), "{failure}");
    }
}

// SIM24
#[test]
fn tasks_that_are_woken_from_outside_again_and_again_are_no_livelock() {
    // In a chain of tasks only the first hears of the timer; it is polled more often than the limit.
    let world = Sim::builder().trace(Keep::Off).client("chain", || async {
        let (wakers, rounds) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let last = Arc::clone(&rounds);
        let told = Arc::clone(&wakers);
        host::spawn(async move {
            while last.load(Ordering::Relaxed) < 2_000 {
                let before = told.load(Ordering::Relaxed);
                while told.load(Ordering::Relaxed) == before {
                    yield_now().await;
                }
                last.fetch_add(1, Ordering::Relaxed);
                Sleep::new(host::now() + 1).await;
            }
        });
        while rounds.load(Ordering::Relaxed) < 2_000 {
            Sleep::new(host::now() + MILLISECOND / 10).await;
            wakers.fetch_add(1, Ordering::Relaxed);
        }
    });
    let report = world.livelock_after(10_000).run().expect("it gets on");
    assert!(report.polls > 100_000);
}

// SIM24
#[test]
fn the_number_of_polls_can_be_set() {
    let yields = |count| {
        let world = Sim::builder().trace(Keep::Off);
        world.client("busy", move || async move {
            Sleep::new(host::now() + 1).await;
            for _ in 0..count {
                yield_now().await;
            }
        })
    };
    let world = |count| yields(count).livelock_after(500);
    // The poll after the timer is the first of them.
    world(499).run().expect("it ends in time");
    let failure = world(500).run().expect_err("one too many");
    assert_eq!(*failure.kind(), FailureKind::Livelock);
    yields(99_000).run().expect("by default they may be many");
}

fn events(world: &Builder, kind: EventKind) -> Vec<TraceEvent> {
    let report = world.clone().trace(Keep::Full).run().expect("it ends");
    let events = report.trace().iter().map(|line| *line.event());
    events.filter(|event| event.kind() == kind).collect()
}

/// A slow host on which a task is starved by two that never wait, until it has run five times.
fn starving(victim: &'static str) -> Builder {
    Sim::builder()
        .strategy(Strategy::Starve(victim))
        .client("slow", || async {
            let done = Arc::new(AtomicBool::new(false));
            for _ in 0..2 {
                let done = Arc::clone(&done);
                host::spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        yield_now().await;
                    }
                });
            }
            let over = Arc::clone(&done);
            host::spawn(async move {
                for _ in 0..5 {
                    Sim::note("victim", host::now());
                    yield_now().await;
                }
                over.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                yield_now().await;
            }
        })
        .at(Duration::ZERO, |world| world.slow("slow", 1000))
}

/// When the victim ran, in nanoseconds since the one before.
fn gaps(world: &Builder) -> Vec<u64> {
    let notes = events(world, EventKind::Note);
    let times: Vec<_> = notes.iter().map(|note| note.values().0).collect();
    assert_eq!(times.len(), 5);
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

// SIM25
#[test]
fn a_starved_task_waits_a_second_and_no_longer() {
    let second = 1000 * MILLISECOND;
    for seed in 0..3 {
        // By its number: the main task is 1, the two busy ones are 2 and 3.
        for gap in gaps(&starving("slow/4").seed(seed)) {
            // Its own poll and those of others that were under way.
            assert!((second..second + 2 * MILLISECOND).contains(&gap), "{gap}");
        }
        for gap in gaps(&starving("another").seed(seed)) {
            assert!(gap < 50 * MILLISECOND, "{gap}");
        }
    }
}

// SIM25
#[test]
fn a_starved_task_runs_where_no_other_can() {
    let world = Sim::builder()
        .strategy(Strategy::Starve("hungry"))
        .client("hungry", || async {
            for _ in 0..10 {
                yield_now().await;
            }
            Sim::note("hungry", 0);
        })
        .client("busy", || async {
            for _ in 0..1000 {
                yield_now().await;
            }
            Sim::note("busy", 0);
            Sleep::new(host::now() + MILLISECOND).await;
        });
    for seed in 0..20 {
        let notes = events(&world.clone().seed(seed), EventKind::Note);
        let notes: Vec<_> = notes.iter().map(TraceEvent::label).collect();
        // Not before the other one waits, and not after it was done.
        assert_eq!(notes, ["busy", "hungry"]);
    }
}

// SIM25
#[test]
fn tasks_are_starved_by_the_place_they_are_spawned_at() {
    let order = |victim| {
        let world = Sim::builder()
            .strategy(Strategy::Starve(victim))
            .client("main", || async {
                host::spawn(async { Sim::note("spawned", 0) });
                for _ in 0..50 {
                    yield_now().await;
                }
                Sim::note("main", 0);
                Sleep::new(host::now() + MILLISECOND).await;
            });
        let notes = events(&world, EventKind::Note);
        notes.iter().map(TraceEvent::label).collect::<Vec<_>>()
    };
    let line = line!() - 10;
    let place = format!("scheduling.rs:{line}");
    assert_eq!(
        order(Box::leak(place.into_boxed_str())),
        ["main", "spawned"]
    );
    // Half a name is none.
    assert_eq!(order("uling.rs"), ["spawned", "main"]);
    assert_eq!(order("main/2"), ["main", "spawned"]);
}

// SIM25
#[test]
fn hosts_have_their_turns() {
    let client = || async {
        for task in 0..3 {
            host::spawn(async move {
                for _ in 0..20 {
                    Sim::note("turn", task);
                    yield_now().await;
                }
            });
        }
        Sleep::new(host::now() + MILLISECOND).await;
    };
    let world = Sim::builder()
        .strategy(Strategy::RoundRobinHosts)
        .client("a", client)
        .client("b", client)
        .client("c", || async {
            for _ in 0..60 {
                Sim::note("turn", 0);
                yield_now().await;
            }
        });
    let report = world.trace(Keep::Full).run().expect("it ends");
    let lines = report.trace().iter();
    let turns = lines.filter(|line| line.event().kind() == EventKind::Note);
    let turns: Vec<_> = turns
        .map(|line| (line.host(), line.event().values().0))
        .collect();
    // One host after the other, and on each one task after the other.
    for (index, round) in turns[..150].chunks(3).enumerate().skip(5) {
        let hosts: Vec<_> = round.iter().map(|turn| turn.0).collect();
        assert!(
            hosts.contains(&"a") && hosts.contains(&"b") && hosts.contains(&"c"),
            "{index}"
        );
    }
    let of_a: Vec<_> = turns.iter().filter(|turn| turn.0 == "a").collect();
    assert!(
        of_a.windows(3)
            .all(|three| three[0].1 != three[1].1 && three[0].1 != three[2].1)
    );
}
