//! However a world is driven, it does the same.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{Step, World};
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
