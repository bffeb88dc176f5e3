//! Random trees of scopes, shields, groups, combinators, finalisers, cancels, deadlines and foreign
//! drops do what a plain interpreter of the rules says.

mod event;
mod model;
mod play;
mod program;

use model::{Unfit, expect};
use play::play;
use program::Program;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Kinds of events.
const KINDS: usize = 15;

/// Compares so many programs, those of one quarter of the seeds.
fn compare(quarter: u64, programs: usize) {
    let mut unfit: BTreeMap<Unfit, usize> = BTreeMap::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut shields_dropped = 0;
    let mut worst: Option<(usize, String)> = None;
    let (mut compared, mut failed) = (0, 0);
    for seed in (0..).map(|n| 4 * n + quarter) {
        if compared == programs {
            break;
        }
        let program = Program::random(seed);
        let expected = match expect(&program) {
            Ok(expected) => expected,
            Err(why) => {
                *unfit.entry(why).or_default() += 1;
                continue;
            }
        };
        compared += 1;
        shields_dropped += expected.shields_dropped;
        for (_, event) in &expected.log {
            let event = format!("{event:?}");
            seen.extend(event.split('(').next().map(str::to_owned));
        }
        let shown = catch_unwind(AssertUnwindSafe(|| play(&program, seed)));
        if shown.as_ref().is_ok_and(|shown| *shown == expected) {
            continue;
        }
        failed += 1;
        let report = match shown {
            Ok(shown) => format!("seed {seed}: {program:?}\nexpected {expected}\nshown {shown}"),
            Err(_) => format!("seed {seed}: {program:?}\nexpected {expected}\nbut it panicked"),
        };
        if worst.as_ref().is_none_or(|worst| report.len() < worst.0) {
            worst = Some((report.len(), report));
        }
    }
    if let Some((_, report)) = worst {
        panic!("{failed} programs of {compared} differ; the shortest: {report}");
    }
    // The programs are the same ones in every run: this says that they are worth while.
    let skipped: usize = unfit.values().sum();
    assert!(skipped < programs / 10, "{unfit:?}");
    assert_eq!(seen.len(), KINDS, "{seen:?}");
    assert!(shields_dropped > 0);
}

// CS55
#[test]
fn programs_of_the_first_quarter_do_what_the_rules_say() {
    compare(0, 2500);
}

// CS55
#[test]
fn programs_of_the_second_quarter_do_what_the_rules_say() {
    compare(1, 2500);
}

// CS55
#[test]
fn programs_of_the_third_quarter_do_what_the_rules_say() {
    compare(2, 2500);
}

// CS55
#[test]
fn programs_of_the_last_quarter_do_what_the_rules_say() {
    compare(3, 2500);
}
