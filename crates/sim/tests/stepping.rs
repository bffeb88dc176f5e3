//! However a world is driven, it does the same.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{FailureKind, Sim, Step, World, host};
use std::time::Duration;

fn drive(seed: u64, mut how: impl FnMut(&mut World)) -> u64 {
    let mut world = echo::world(seed).build();
    how(&mut world);
    world.finish().expect("the world runs").trace_hash
}

// SIM29
#[test]
fn all_ways_to_drive_compose() {
    for seed in 0..20 {
        let whole = echo::world(seed).run().expect("the world runs").trace_hash;
        let stepped = drive(seed, |world| {
            while world.step().expect("no failure") != Step::Finished {}
        });
        assert_eq!(stepped, whole);
        let in_slices = drive(seed, |world| {
            let mut slice = 1;
            while world
                .run_for(Duration::from_nanos(slice))
                .expect("no failure")
                != Step::Finished
            {
                slice = slice * 3 % 1_000_003;
            }
        });
        assert_eq!(in_slices, whole);
        let mixed = drive(seed, |world| {
            let until = |world: &World| world.now() >= Duration::from_millis(1);
            world.run_until(until).expect("no failure");
            for _ in 0..10 {
                world.step().expect("no failure");
            }
            world.run_for(Duration::from_millis(2)).expect("no failure");
        });
        assert_eq!(mixed, whole);
    }
}

// SIM29
#[test]
fn run_for_runs_for_that_long() {
    let mut world = echo::world(1).build();
    world
        .run_for(Duration::from_micros(700))
        .expect("no failure");
    let now = world.now();
    assert!(now >= Duration::from_micros(700) && now < Duration::from_micros(701));
    assert!(!world.is_finished());
}

/// A client that asks its server every second, by hand.
fn asking() -> World {
    let world = Sim::builder()
        .horizon(Duration::from_secs(100))
        .host("server", || async {
            let listener = echo::listen(80)?;
            let stream = echo::accept(&listener).await?;
            loop {
                let bytes = echo::read_some(&stream, 10).await?;
                if bytes.is_empty() {
                    return Ok::<(), std::io::Error>(());
                }
                echo::write_all(&stream, &bytes).await?;
            }
        })
        .client("client", || async {
            let stream = echo::dial("server", 80).await?;
            for _ in 0..5 {
                host::Sleep::new(host::now() + 1_000_000_000).await;
                echo::write_all(&stream, b"x").await?;
                assert_eq!(echo::read_some(&stream, 1).await?, b"x");
            }
            Ok::<(), std::io::Error>(())
        });
    world.build()
}

// SIM29, SIM43
#[test]
fn a_world_that_is_stuck_for_a_while_can_be_helped_by_hand() {
    let seconds = Duration::from_secs;
    let mut world = asking();
    world.run_for(seconds(2)).expect("it runs");
    world.pause("server");
    let waited = world.run_for(seconds(10)).expect("time goes by");
    assert_eq!((waited, world.now()), (Step::Reached, seconds(12)));
    world.resume("server");
    let report = world.finish().expect("it goes on");
    assert!(report.virtual_time > seconds(15) && report.virtual_time < seconds(16));
    // Whoever does not help it is told.
    let mut world = asking();
    world.run_for(seconds(2)).expect("it runs");
    world.pause("server");
    let failure = world.run_until(|_| false).expect_err("it is stuck");
    assert_eq!(*failure.kind(), FailureKind::Deadlock);
    // The horizon is where it was.
    let mut world = asking();
    world.run_for(seconds(2)).expect("it runs");
    world.pause("server");
    let failure = world.run_for(seconds(1_000)).expect_err("too late");
    assert_eq!(*failure.kind(), FailureKind::Horizon);
    assert_eq!(failure.virtual_time(), seconds(100));
}
