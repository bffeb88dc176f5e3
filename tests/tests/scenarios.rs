//! Every scenario under many seeds, and twice under one.

use std::collections::BTreeSet;

use bowline_tests::scenarios::ALL;

const SEEDS: u64 = 200;

// SIM2
#[test]
fn scenarios_hold_under_many_seeds() {
    for scenario in ALL {
        let hashes: BTreeSet<u64> = (0..SEEDS)
            .map(|seed| match scenario.run(seed) {
                Ok(report) => report.trace_hash,
                Err(failure) => panic!("{failure}"),
            })
            .collect();
        assert_eq!(
            hashes.len() as u64,
            SEEDS,
            "{}: two seeds, one trace",
            scenario.name
        );
    }
}

// SIM1
#[test]
fn one_seed_is_one_trace() {
    for scenario in ALL {
        for seed in [0, 7, u64::MAX] {
            let hash = || scenario.run(seed).unwrap().trace_hash;
            assert_eq!(hash(), hash(), "{} under seed {seed}", scenario.name);
        }
    }
}
