//! Places in a harness where the world decides whether something goes wrong.

use bowline_sim::{Builder, EventKind, FaultKind, Faults, Sim, host};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// Asks at two sites, a hundred times each on two hosts, one second after the other.
fn world(seed: u64) -> Builder {
    let ask = || async {
        for _ in 0..100 {
            Sim::note("full", u64::from(Sim::site("disk full")));
            Sim::note("torn", u64::from(Sim::site("write torn")));
            host::Sleep::new(host::now() + SECOND).await;
        }
    };
    Sim::builder().seed(seed).client("a", ask).client("b", ask)
}

fn sites() -> Faults {
    Faults::of([FaultKind::Sites])
}

#[test]
fn sites_say_no_unless_the_world_has_such_faults() {
    assert!(!Sim::site("outside of a world"));
    let without = [
        Faults::none(),
        Faults::swarm().without(FaultKind::Sites),
        Faults::of([FaultKind::Drift]),
    ];
    for faults in without {
        for seed in 0..10 {
            let report = world(seed).faults(faults.clone()).run();
            let report = report.expect("it ends");
            let asked = [("disk full", 0), ("write torn", 0)];
            assert_eq!(report.sites, asked.into(), "under {faults:?}");
        }
    }
}

#[test]
fn each_run_has_a_part_of_the_sites_and_those_fire_at_times() {
    let (mut full, mut torn, mut both) = (0, 0, 0);
    for seed in 0..200 {
        let world = world(seed).faults(sites());
        let report = world.run().expect("it ends");
        let [disk, write] = ["disk full", "write torn"].map(|site| report.sites[site]);
        full += u32::from(disk > 0);
        torn += u32::from(write > 0);
        both += u32::from(disk > 0 && write > 0);
        for fired in [disk, write] {
            // One in four of 200; a run without the site has none.
            assert!(fired == 0 || (20..80).contains(&fired), "{fired}");
        }
        assert_eq!(report.faults_by_kind["fault sites"], 1);
        if seed < 5 {
            world.compare().expect("equal seeds, equal runs");
        }
    }
    // One run in four has a site: 50 of 200, give or take five times 6.1.
    assert!((20..80).contains(&full), "{full}");
    assert!((20..80).contains(&torn), "{torn}");
    assert!(both > 0 && both < full.min(torn), "{both}");
}

#[test]
fn a_site_more_changes_no_other() {
    let fires = |more: bool| {
        let world = Sim::builder().seed(3).faults(sites());
        let world = (0..8).fold(world, |world, index| {
            world.client(&format!("host-{index}"), move || async move {
                for _ in 0..50 {
                    Sim::note("fires", u64::from(Sim::site("one")));
                    if more {
                        Sim::site("other");
                    }
                }
            })
        });
        let report = world.trace(bowline_sim::Keep::Full).run();
        let report = report.expect("it ends");
        let notes = report.trace().iter().map(|line| *line.event());
        let notes = notes.filter(|event| event.kind() == EventKind::Note);
        let mut notes: Vec<_> = notes.map(|event| (event.host(), event.values())).collect();
        // In the order of each host.
        notes.sort_by_key(|note| note.0);
        notes
    };
    assert_eq!(fires(false), fires(true));
}

#[test]
fn nothing_goes_wrong_at_a_site_after_the_heal() {
    let mut before = 0;
    for seed in 0..40 {
        let world = world(seed).faults(sites());
        let world = world.heal_at(Duration::from_secs(50));
        let report = world.trace(bowline_sim::Keep::Full).run();
        let report = report.expect("it ends");
        for line in report.trace() {
            let event = line.event();
            if event.kind() == EventKind::Note && event.values().0 == 1 {
                assert!(event.time() <= 50 * SECOND, "{line}");
                before += 1;
            }
        }
    }
    assert!(before > 0);
}
