//! What a life of a host leaves to the next: its paths, and nothing else.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::net::{UdpOptions, UdpSocket, UnixAddress, UnixListenOptions, UnixListener};
use bowline_sim::{Builder, Crash, FailureKind, HostLimits, HostStats, Sim, World};
use echo::{accept, dial, listen, write_all};
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn stats(world: &World, name: &str) -> HostStats {
    world.stats(name).expect("there is such a host")
}

/// A client that waits until all is over, and a crash and a restart at two and three seconds.
fn two_lives(world: Builder, crash: Crash) -> Builder {
    world
        .client("waits", || Sleep::new(20 * SECOND))
        .at(seconds(2), move |world| world.crash("server", crash))
        .at(seconds(3), |world| world.restart("server"))
}

// SIM42
#[test]
fn of_all_that_a_host_has_its_next_life_has_nothing() {
    for crash in [Crash::Kill, Crash::PowerLoss] {
        let world = Sim::builder().host("server", || async {
            if Sim::now() < seconds(1) {
                let listener = listen(80)?;
                let path = UnixAddress::Path("/run/server".into());
                let path = UnixListener::bind(&path, UnixListenOptions::default())?;
                let udp = UdpSocket::bind(([0, 0, 0, 0], 9).into(), UdpOptions::default())?;
                poll_fn(|cx| udp.poll_send_to(cx, b"hello", ([127, 0, 0, 1], 9).into())).await?;
                host::spawn(Sleep::new(9 * SECOND));
                host::spawn_blocking(Box::new(|| {}));
                let stream = accept(&listener).await?;
                write_all(&stream, b"unread").await?;
                std::mem::forget((listener, path, udp, stream));
            }
            Sleep::new(15 * SECOND).await;
            Ok::<(), io::Error>(())
        });
        let world = world.client("client", || async {
            let _stream = dial("server", 80).await?;
            Sleep::new(10 * SECOND).await;
            Ok::<(), io::Error>(())
        });
        let mut world = two_lives(world, crash)
            .at(Duration::from_micros(100), |world| {
                world.stall_blocking("server", seconds(5));
            })
            .build();
        world.run_for(seconds(1)).expect("the first life");
        let first = stats(&world, "server");
        assert!(first.running && !first.paused && first.ended == 0);
        assert_eq!((first.tasks, first.timers, first.sockets), (2, 2, 4));
        world.run_for(Duration::from_millis(1_500)).expect("off");
        let off = stats(&world, "server");
        assert!(!off.running && off.ended == 1);
        assert_eq!((off.tasks, off.timers, off.sockets, off.jobs), (0, 0, 0, 0));
        world.run_for(seconds(1)).expect("the second life");
        let second = stats(&world, "server");
        assert!(second.running && second.ended == 1);
        assert_eq!((second.tasks, second.timers, second.sockets), (1, 1, 0));
        world.finish().expect("both clients end");
    }
}

// SIM42, SIM47
#[test]
fn a_life_that_listens_for_no_signal_is_killed_by_it() {
    for crash in [Crash::Kill, Crash::PowerLoss] {
        let world = Sim::builder().host("server", || async {
            if Sim::now() < seconds(1) {
                let mut hangup = host::signals(Signal::Hangup);
                poll_fn(|cx| hangup.poll_recv(cx)).await;
                Sim::ghost(|heard: &mut u32| *heard += 1);
            }
            Sleep::new(Sleep::NEVER).await;
        });
        let hang_up = |world: &mut World| world.signal("server", Signal::Hangup);
        let world = two_lives(world, crash)
            .at(seconds(1), hang_up)
            .at(seconds(4), hang_up)
            .at(seconds(5), |world| {
                assert!(
                    !stats(world, "server").running,
                    "its handler is of its first life"
                );
                world.ghost(|heard: &mut u32| assert_eq!(*heard, 1));
            });
        assert_eq!(world.run().expect("clients wait").crashes, 2);
    }
}

// SIM42, SIM45
#[test]
fn blocking_threads_are_free_in_the_next_life() {
    static RAN: AtomicU32 = AtomicU32::new(0);
    for crash in [Crash::Kill, Crash::PowerLoss] {
        let world = Sim::builder().host("server", || async {
            let first = Sim::now() < seconds(1);
            for _ in 0..3 {
                host::spawn_blocking(Box::new(move || {
                    assert!(!first, "a job of the first life ran");
                    assert!(Sim::now() < seconds(4), "it waited for a thread");
                    RAN.fetch_add(1, Ordering::Relaxed);
                }));
            }
            Sleep::new(Sleep::NEVER).await;
        });
        let mut limits = HostLimits::default();
        limits.blocking_threads = 1;
        let world = two_lives(world.limits("server", limits), crash)
            .host_must_not_fail("server")
            .at(Duration::from_nanos(10_000), |world| {
                assert_eq!(stats(world, "server").jobs, 3);
                world.stall_blocking("server", seconds(8));
            });
        world.run().expect("jobs run in the second life");
    }
    assert_eq!(RAN.load(Ordering::Relaxed), 6);
}

// SIM42, SIM43
#[test]
fn what_came_due_for_a_paused_life_does_not_come_to_the_next() {
    for crash in [Crash::Kill, Crash::PowerLoss] {
        let world = Sim::builder().host("server", || async {
            let mut hangup = host::signals(Signal::Hangup);
            host::spawn(async move {
                poll_fn(|cx| hangup.poll_recv(cx)).await;
                Sim::ghost(|heard: &mut u32| *heard += 1);
            });
            Sleep::new(host::now() + SECOND * 3 / 2).await;
            Sim::ghost(|slept: &mut Vec<u64>| slept.push(Sim::now().as_secs()));
            Sleep::new(Sleep::NEVER).await;
        });
        let world = two_lives(world, crash)
            .at(seconds(1), |world| {
                world.pause("server");
                world.signal("server", Signal::Hangup);
            })
            .at(seconds(4), |world| world.resume("server"))
            .at(seconds(10), |world| {
                world.ghost(|heard: &mut u32| assert_eq!(*heard, 0));
                world.ghost(|slept: &mut Vec<u64>| assert_eq!(*slept, [4]));
            });
        world.run().expect("the second life sleeps well");
    }
}

// SIM42
#[test]
fn a_value_of_the_host_is_made_again() {
    #[derive(Default)]
    struct Count(AtomicU32);
    for crash in [Crash::Kill, Crash::PowerLoss] {
        let world = Sim::builder().host("server", || async {
            let count = host::slot(Count::default);
            assert_eq!(count.0.fetch_add(1, Ordering::Relaxed), 0);
            assert_eq!(host::slot(Count::default).0.load(Ordering::Relaxed), 1);
            Sleep::new(Sleep::NEVER).await;
        });
        let world = two_lives(world.host_must_not_fail("server"), crash);
        world.run().expect("each life has its own");
    }
}

// SIM42
#[test]
fn a_host_that_fails_is_told_of_its_present_life() {
    let world = Sim::builder().host("server", || async {
        Sleep::new(host::now() + SECOND).await;
        match Sim::now() < seconds(2) {
            true => Ok(()),
            false => Err("of the second life"),
        }
    });
    let world = two_lives(world.host_must_not_fail("server"), Crash::Kill);
    let failure = world.run().expect_err("the second one fails");
    assert_eq!(*failure.kind(), FailureKind::ClientError);
    assert_eq!(failure.message(), "of the second life");
    assert_eq!(failure.virtual_time().as_secs(), 4);
}
