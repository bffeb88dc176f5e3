//! Every scenario under many seeds, twice over: in processes, on threads; and from kept lists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bowline::sim::Choices;
use bowline_tests::scenarios::{ALL, Scenario};

fn sim(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(words);
    command
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn went_well(output: Output) -> String {
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out
}

/// The lines told for these seeds by a process of its own.
fn told(scenario: &str, seeds: &str, jobs: &str, padding: usize) -> Vec<String> {
    let output = sim(&[scenario, "--seeds", seeds, "--jobs", jobs])
        .env("PADDING", "x".repeat(padding))
        .output();
    let out = went_well(output.expect("the program starts"));
    out.lines().map(str::to_owned).collect()
}

// SIM1, SIM83
#[test]
fn seeds_are_the_same_in_other_processes_and_on_other_threads() {
    assert_eq!(told("all", "25", "1", 0), told("all", "25", "3", 5000));
}

fn goes_well_under_200_seeds(scenario: &str) {
    let lines = told(scenario, "200", "2", 0);
    let begin = format!("{scenario}: 200 seeds from 0, trace hash ");
    assert!(lines[0].starts_with(&begin), "{lines:?}");
    assert!(lines[0].ends_with("no failure"), "{lines:?}");
}

/// One test for each scenario, and none is left out.
macro_rules! scenarios {
    ($($name:ident)*) => {
        mod under_200_seeds {
            $(#[test]
            fn $name() {
                super::goes_well_under_200_seeds(stringify!($name));
            })*
        }

        #[test]
        fn every_scenario_has_its_test() {
            let named: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
            assert_eq!(named, [$(stringify!($name)),*]);
        }
    };
}

// R6, R24, R27
scenarios!(echo calls relay store);

// SIM2
#[test]
fn other_seeds_are_other_traces() {
    for scenario in ALL {
        let hashes: BTreeSet<u64> = (0..20)
            .map(|seed| scenario.run(seed).unwrap().trace_hash)
            .collect();
        assert_eq!(hashes.len(), 20, "{}: two seeds, one trace", scenario.name);
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

// SIM3
#[test]
fn nothing_from_outside_leaks_into_a_scenario() {
    for scenario in ALL {
        if let Err(difference) = scenario.builder(3).compare() {
            panic!("{}: {difference}", scenario.name);
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("choices")
}

/// The lists of choices that are kept for a scenario: each once made it fail.
fn kept(scenario: Scenario) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(folder().join(scenario.name)) else {
        return Vec::new();
    };
    files.map(|file| file.expect("readable").path()).collect()
}

// SIM5
#[test]
fn what_once_failed_goes_well() {
    for scenario in ALL {
        for file in kept(*scenario) {
            let list = fs::read_to_string(&file).expect("readable");
            let list: Choices = list.parse().expect("a list of choices");
            if let Err(failure) = scenario.builder(0).replay(list).run() {
                panic!("{}: {failure}", file.display());
            }
        }
    }
    // A list of a scenario that is gone would be run by nobody.
    for entry in fs::read_dir(folder()).into_iter().flatten() {
        let name = entry.expect("readable").file_name();
        let known = name.to_str().and_then(Scenario::named);
        assert!(known.is_some(), "no scenario {}", name.display());
    }
}

// SIM5, SIM80
#[test]
fn a_run_is_recorded_and_repeated_from_the_command_line() {
    let file = std::env::temp_dir().join(format!("bowline-choices-{}", std::process::id()));
    let path = file.to_str().expect("a path of text");
    let hash_of = |words: &[&str]| {
        let out = went_well(sim(words).output().expect("the program starts"));
        let at = out.find("trace hash").expect("it is told");
        out[at..].to_owned()
    };
    let recorded = hash_of(&["calls", "--seed", "5", "--record", path]);
    let replayed = hash_of(&["calls", "--replay", path]);
    let past = sim(&["calls", "--replay", path, "--until", "100"]).output();
    fs::remove_file(&file).expect("it was written");
    assert_eq!(recorded, replayed);
    assert_eq!(recorded, hash_of(&["calls", "--seed", "0x5"]));
    let past = went_well(past.expect("the program starts"));
    // To the end of the step in which the event was.
    let lines = past.lines().count();
    assert!((101..150).contains(&lines), "{lines} lines");
}

#[test]
fn what_makes_no_sense_on_the_command_line_is_refused() {
    for (words, why) in [
        (&["moon", "--seed", "1"] as &[&str], "no scenario \"moon\""),
        (&["echo"], "usage"),
        (&["all", "--seed", "1"], "usage"),
        (&["echo", "--seed", "1", "--seeds", "2"], "usage"),
        (&["echo", "--seed", "1", "--replay", "x"], "usage"),
        (&["echo", "--replay", "no such file"], "no such file"),
        (
            &["echo", "--replay", "Cargo.toml"],
            "not a list of choices: line 1",
        ),
        (&["echo", "--seed", "one"], "`one`"),
    ] {
        let output = sim(words).output().expect("the program starts");
        let err = text(output.stderr);
        assert!(
            !output.status.success() && err.contains(why),
            "{words:?}: {err}"
        );
    }
}
