//! Hosts that stand still, are slow, or go by another clock.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::{Crash, EventKind, FailureKind, Keep, Report, Sim};
use echo::{accept, dial, listen, read_some, write_all};
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// What a sender's buffer and a receiver's window hold.
const FULL: usize = (128 + 64) * 1024;

fn notes(report: &Report, label: &str) -> Vec<(u64, u64)> {
    let lines = report.trace().iter().map(|line| line.event());
    let notes = lines.filter(|event| event.kind() == EventKind::Note && event.label() == label);
    notes
        .map(|event| (event.values().0, event.time()))
        .collect()
}

// SIM43
#[test]
fn a_paused_peer_takes_what_its_kernel_has_room_for() {
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let stream = accept(&listener).await?;
            let mut read = 0;
            loop {
                read += read_some(&stream, 4096).await?.len();
                Sim::note("read", read as u64);
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let stream = dial("server", 80).await?;
            Sleep::new(2 * SECOND).await;
            let mut written = 0;
            let mut block = vec![0; 1 << 20];
            while written < FULL + 1000 {
                let rest = FULL + 1000 - written;
                let count = poll_fn(|cx| stream.poll_write(cx, &block[..rest])).await?;
                written += count;
                Sim::note("written", written as u64);
            }
            block.clear();
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_secs(1), |world| world.pause("server"))
        .at(Duration::from_secs(11), |world| world.resume("server"));
    for seed in 0..20 {
        let report = world.clone().seed(seed).trace(Keep::Full).run();
        let report = report.expect("it goes on");
        let written = notes(&report, "written");
        let early: Vec<_> = written.iter().filter(|note| note.1 < 11 * SECOND).collect();
        assert_eq!(early.last().expect("writes succeed").0, FULL as u64);
        // All of it within the first moments of the pause, and nothing until its end.
        assert!(early.iter().all(|note| note.1 < 3 * SECOND));
        assert!(written.last().expect("the rest").1 >= 11 * SECOND);
        let read = notes(&report, "read");
        assert!(read.iter().all(|note| note.1 >= 11 * SECOND));
        assert!(read.last().expect("all of it").0 <= FULL as u64 + 1000);
    }
}

// SIM43
#[test]
fn what_came_due_in_a_pause_happens_at_its_end() {
    let world = Sim::builder()
        .host("server", || async {
            let mut hangups = host::signals(Signal::Hangup);
            for (number, at) in [(1, 2), (3, 9), (2, 5), (4, 12)] {
                host::spawn(async move {
                    Sleep::new(at * SECOND).await;
                    Sim::note("timer", number);
                });
            }
            host::spawn(async {
                // Under way when the host is paused: it ends after it.
                Sleep::new(SECOND - 1).await;
                host::spawn_blocking(Box::new(|| Sim::note("job", 0)));
            });
            for _ in 0..9 {
                poll_fn(|cx| hangups.poll_recv(cx)).await;
                Sim::note("signal", 0);
            }
        })
        .client("client", || async {
            for _ in 0..15 {
                Sim::note("alive", 0);
                Sleep::new(host::now() + SECOND).await;
            }
        })
        .at(Duration::from_secs(1), |world| world.pause("server"))
        .at(Duration::from_secs(4), |world| {
            world.signal("server", Signal::Hangup);
            // Once is enough.
            world.pause("server");
        })
        .at(Duration::from_secs(11), |world| {
            world.resume("server");
            world.resume("server");
        });
    for seed in 0..20 {
        let report = world.clone().seed(seed).trace(Keep::Full).run();
        let report = report.expect("it goes on");
        let timers = notes(&report, "timer");
        let numbers: Vec<_> = timers.iter().map(|note| note.0).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3, 4], "each fires once");
        assert_eq!(numbers[3], 4);
        for at in timers[..3].iter().chain(&notes(&report, "signal")) {
            assert!((11 * SECOND..11 * SECOND + SECOND / 10).contains(&at.1));
        }
        assert!(notes(&report, "job")[0].1 >= 11 * SECOND);
        assert_eq!(notes(&report, "signal").len(), 1);
        assert!(timers[3].1 >= 12 * SECOND);
        // The others' clocks go on, and nothing of the host ran meanwhile.
        assert_eq!(notes(&report, "alive").len(), 15);
        let of_server = report.trace().iter().filter(|line| line.host() == "server");
        let within = SECOND + SECOND / 100..11 * SECOND;
        let mut within = of_server.filter(|line| within.contains(&line.event().time()));
        assert_eq!(within.next(), None);
    }
    world.compare().expect("equal seeds, equal runs");
}

// SIM43
#[test]
fn timers_that_are_overdue_fire_in_the_order_they_came_due() {
    let world = Sim::builder()
        .client("client", || async {
            for at in 2..10 {
                host::spawn(async move { Sleep::new(at * SECOND).await });
            }
            Sleep::new(11 * SECOND).await;
        })
        .at(Duration::from_secs(1), |world| world.pause("client"))
        .at(Duration::from_secs(10), |world| world.resume("client"));
    let report = world.trace(Keep::Full).run().expect("it goes on");
    let lines = report.trace().iter();
    let fired = lines.filter(|line| line.event().kind() == EventKind::Timer);
    // The tasks were armed in this order or another; each timer names its own.
    let fired: Vec<_> = fired.map(|line| line.to_string()).collect();
    assert_eq!(fired.len(), 9);
    let tasks: Vec<_> = fired.iter().map(|line| line.split(' ').nth(1)).collect();
    let expected: Vec<_> = (2..10)
        .chain([1])
        .map(|task| format!("client/{task}"))
        .collect();
    let expected: Vec<_> = expected.iter().map(|task| Some(task.as_str())).collect();
    assert_eq!(tasks, expected);
}

// SIM43
#[test]
fn a_pause_without_end_is_a_deadlock_that_names_it() {
    let world = Sim::builder()
        .client("client", || Sleep::new(SECOND))
        .at(Duration::ZERO, |world| world.pause("client"));
    let failure = world.run().expect_err("nobody resumes it");
    assert_eq!(*failure.kind(), FailureKind::Deadlock);
    assert!(
        failure.message().contains("\"client\" is paused"),
        "{failure}"
    );
}

// SIM43
#[test]
fn a_paused_host_can_be_killed_and_started_again() {
    let world = Sim::builder()
        .host("server", || async {
            Sim::note("life", 0);
            Sleep::new(host::now() + 2 * SECOND).await;
            Sim::note("awake", 0);
            Sleep::new(Sleep::NEVER).await;
        })
        .client("client", || Sleep::new(20 * SECOND))
        .at(Duration::from_secs(1), |world| world.pause("server"))
        .at(Duration::from_secs(5), |world| {
            world.crash("server", Crash::Kill);
            // It does not run, so there is nothing to pause or to resume.
            world.pause("server");
            world.resume("server");
        })
        .at(Duration::from_secs(6), |world| world.restart("server"));
    let report = world.trace(Keep::Full).run().expect("it goes on");
    assert_eq!(notes(&report, "life").len(), 2);
    let awake = notes(&report, "awake");
    assert_eq!(awake.len(), 1, "the timer of the first life is gone");
    assert!((8 * SECOND..9 * SECOND).contains(&awake[0].1));
}

#[test]
fn a_slow_host_takes_longer_for_the_same_polls() {
    let time = |factor| {
        let report = Sim::builder()
            .client("client", || async {
                for _ in 0..1000 {
                    host::yield_now().await;
                }
            })
            .at(Duration::ZERO, move |world| world.slow("client", factor))
            .run()
            .expect("it ends");
        (report.polls, report.virtual_time)
    };
    let (polls, normal) = time(1);
    assert_eq!(time(0), (polls, normal));
    assert_eq!(time(50), (polls, 50 * normal));
}

// SIM27
#[test]
fn a_change_of_drift_moves_the_sleeps_that_wait() {
    for (drift, expected) in [
        (0, 10 * SECOND),
        (1_000_000, 5 * SECOND),
        (-500_000, 20 * SECOND),
    ] {
        let world = Sim::builder()
            .client("client", || async {
                let start = host::now();
                Sleep::new(start + 11 * SECOND).await;
                assert!(host::now() >= start + 11 * SECOND);
                Sim::note("woke", host::now());
            })
            .at(Duration::from_secs(1), move |world| {
                world.set_clock_drift("client", drift);
            });
        let report = world.trace(Keep::Full).run().expect("it wakes");
        let (shown, woke) = notes(&report, "woke")[0];
        assert!(
            (SECOND + expected - 1..SECOND + expected + 10_000).contains(&woke),
            "{woke}"
        );
        assert!((11 * SECOND..11 * SECOND + 10_000).contains(&shown));
    }
}

// SIM27
#[test]
fn a_clock_that_changes_its_rate_never_leaps() {
    let world = Sim::builder()
        .client("client", || async {
            let mut last = (host::now(), Sim::now());
            for _ in 0..1000 {
                Sleep::new(host::now() + SECOND / 100).await;
                let now = (host::now(), Sim::now());
                let (own, worlds) = (now.0 - last.0, (now.1 - last.1).as_nanos() as u64);
                assert!(own.abs_diff(worlds) <= worlds / 10 + 1, "{own} in {worlds}");
                last = now;
            }
        })
        .at(Duration::from_secs(2), |world| {
            world.set_clock_drift("client", 100_000)
        })
        .at(Duration::from_secs(4), |world| {
            world.set_clock_drift("client", -100_000)
        })
        .at(Duration::from_secs(6), |world| {
            world.set_clock_drift("client", 0)
        });
    world.run().expect("it goes forward");
}

// SIM45
#[test]
fn stalled_jobs_end_later() {
    let world = |stall| {
        let mut limits = bowline_sim::HostLimits::default();
        limits.blocking_threads = 2;
        Sim::builder()
            .client("client", || async {
                for job in 0..4 {
                    host::spawn_blocking(Box::new(move || Sim::note("job", job)));
                }
                Sleep::new(60 * SECOND).await;
            })
            .limits("client", limits)
            .at(Duration::from_nanos(1000), move |world| {
                world.stall_blocking("client", Duration::from_secs(stall));
            })
    };
    for seed in 0..20 {
        let run = |stall| {
            let report = world(stall).seed(seed).trace(Keep::Full).run();
            notes(&report.expect("jobs end"), "job")
        };
        let (plain, stalled) = (run(0), run(30));
        // All wait for the two that ran.
        let moved: Vec<_> = plain
            .iter()
            .map(|job| (job.0, job.1 + 30 * SECOND))
            .collect();
        assert_eq!(stalled, moved);
    }
}

// SIM43
#[test]
fn an_accepted_connection_waits_for_a_paused_listener() {
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            loop {
                let stream = accept(&listener).await?;
                write_all(&stream, b"hello").await?;
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            Sleep::new(2 * SECOND).await;
            // The kernel answers, its program does not.
            let stream = dial("server", 80).await?;
            assert!(host::now() < 3 * SECOND);
            let mut early = vec![0; 5];
            let silent = poll_fn(|cx| Poll::Ready(stream.poll_read(cx, &mut early).is_pending()));
            assert!(silent.await);
            assert!(!read_some(&stream, 5).await?.is_empty());
            assert!(host::now() >= 5 * SECOND);
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_secs(1), |world| world.pause("server"))
        .at(Duration::from_secs(5), |world| world.resume("server"));
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("it answers later");
    }
}
