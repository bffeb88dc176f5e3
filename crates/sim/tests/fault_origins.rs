//! Drawn faults beside those of a script: neither ends what the other did.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{Builder, Crash, FaultKind, Faults, Sim, World, host};
use cut::{MS, Notes, SECOND, seconds, until};
use echo::{accept, dial, listen};
use std::io;
use std::time::Duration;

const BEGIN: Duration = Duration::from_millis(1);
const END: Duration = seconds(70);

/// A server, and a client that connects to it after a second and notes when it was connected. From
/// the beginning to the end something is done to them, and faults of some kinds come beside it.
fn world(
    notes: &Notes,
    kinds: &[FaultKind],
    begin: fn(&mut World),
    end: fn(&mut World),
) -> Builder {
    let notes = notes.clone();
    Sim::builder()
        .horizon(seconds(300))
        .host("server", || async {
            let listener = listen(80)?;
            loop {
                accept(&listener).await?;
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("client", move || {
            let notes = notes.clone();
            async move {
                until(SECOND).await;
                if dial("server", 80).await.is_ok() {
                    notes.add(host::now());
                }
                // Faults go on for a while in every run.
                until(100 * SECOND).await;
            }
        })
        .faults(Faults::of(kinds.iter().copied()))
        .at(BEGIN, begin)
        .at(END, end)
}

/// When the client was connected under each seed, where it was.
fn connected(kinds: &[FaultKind], begin: fn(&mut World), end: fn(&mut World)) -> Vec<u64> {
    let notes = Notes::default();
    let mut struck = 0;
    for seed in 0..20 {
        let world = world(&notes, kinds, begin, end).seed(seed);
        let report = world.run().expect("the client is done");
        struck += report.faults_by_kind.values().sum::<u64>();
    }
    assert!(struck >= 20, "only {struck} faults");
    notes.take()
}

fn nothing(_: &mut World) {}

// SIM87
#[test]
fn the_end_of_a_drawn_cut_mends_no_partition() {
    let cuts = [
        FaultKind::OneWay,
        FaultKind::Partition,
        FaultKind::Isolation,
    ];
    let cut = |world: &mut World| world.partition(&["client"], &["server"]);
    let times = connected(&cuts, cut, World::heal);
    assert!(times.iter().all(|time| *time >= 70 * SECOND), "{times:?}");
    // A heal ends all there is, and the end of a cut that was healed none that came later.
    let healed = connected(&cuts, cut, |world| {
        world.heal();
        world.partition(&["client"], &["server"]);
    });
    assert_eq!(healed, []);
}

// SIM87
#[test]
fn the_end_of_a_drawn_hold_releases_no_other() {
    let hold = |world: &mut World| world.hold(&["client"], &["server"]);
    let release = |world: &mut World| world.release(&["client"], &["server"]);
    let times = connected(&[FaultKind::Hold], hold, release);
    assert!(times.len() >= 8, "{times:?}");
    assert!(times.iter().all(|time| *time >= 70 * SECOND), "{times:?}");
}

// SIM87
#[test]
fn the_end_of_drawn_flapping_is_not_that_of_another() {
    let down = |world: &mut World| {
        world.flap("client", "server", Duration::ZERO, seconds(1));
    };
    let times = connected(&[FaultKind::Flapping], down, World::heal);
    assert!(times.iter().all(|time| *time >= 70 * SECOND), "{times:?}");
}

// SIM87
#[test]
fn a_drawn_spike_comes_on_top_of_another() {
    let slow = |world: &mut World| {
        world.latency_spike("client", "server", seconds(20), seconds(150));
    };
    let times = connected(&[FaultKind::Spike], slow, nothing);
    assert_eq!(times.len(), 20);
    assert!(times.iter().all(|time| *time >= 41 * SECOND), "{times:?}");
}

/// When a host that notes the time every `gap` did so, under each seed.
fn beats(gap: u64, kind: FaultKind, begin: fn(&mut World), end: fn(&mut World)) -> Vec<Vec<u64>> {
    let beats = |seed| {
        let notes = Notes::default();
        let noted = notes.clone();
        let world = Sim::builder()
            .seed(seed)
            .host("server", move || {
                let notes = noted.clone();
                async move {
                    loop {
                        notes.add(host::now());
                        until(host::now() + gap).await;
                    }
                    #[allow(unreachable_code, reason = "it names the type of the result")]
                    Ok::<(), io::Error>(())
                }
            })
            .client("client", || until(100 * SECOND))
            .faults(Faults::of([kind]))
            .at(BEGIN, begin)
            .at(END, end);
        world.run().expect("the client is done");
        notes.take()
    };
    (0..20).map(beats).collect()
}

fn between(beats: &[u64]) -> usize {
    let meanwhile = |time: &&u64| (6 * SECOND..70 * SECOND).contains(*time);
    beats.iter().filter(meanwhile).count()
}

// SIM87
#[test]
fn the_end_of_a_drawn_pause_resumes_nobody_else() {
    // After drawn ones.
    let pause = |world: &mut World| world.at(seconds(5), |world| world.pause("server"));
    let resume = |world: &mut World| world.resume("server");
    for beats in beats(SECOND, FaultKind::Pause, pause, resume) {
        assert_eq!(between(&beats), 0, "{beats:?}");
        assert!(beats.last().is_some_and(|last| *last > 70 * SECOND));
    }
}

// SIM87
#[test]
fn the_end_of_drawn_slowness_hurries_nobody_else() {
    // A poll takes half a second at most, and seldom less than a twentieth.
    let slow = |world: &mut World| world.slow("server", 1_000_000);
    let hurry = |world: &mut World| world.slow("server", 1);
    for beats in beats(20 * MS, FaultKind::Slow, slow, hurry) {
        assert!(between(&beats) < 400, "{}", between(&beats));
        assert!(beats.len() > 600, "{}", beats.len());
    }
}

// SIM40, SIM87
#[test]
fn the_end_of_a_drawn_crash_restarts_nobody_who_is_kept_down() {
    // After drawn ones.
    let kill = |world: &mut World| {
        world.at(seconds(5), |world| world.crash("server", Crash::Kill));
    };
    let restart = |world: &mut World| world.restart("server");
    for kind in [FaultKind::Kill, FaultKind::PowerLoss] {
        for beats in beats(SECOND, kind, kill, restart) {
            assert_eq!(between(&beats), 0, "{beats:?}");
            assert!(beats.last().is_some_and(|last| *last > 70 * SECOND));
        }
    }
}
