//! Runs a scenario in the simulator; `cargo xtask sim` calls it.

use std::process::ExitCode;

use bowline_tests::scenarios::{ALL, Scenario};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, options) = arguments.split_first().ok_or_else(usage)?;
    let scenario = Scenario::named(name).ok_or_else(usage)?;
    match options {
        ["--seed", seed] => one(scenario, number(seed)?),
        ["--seed", seed, "--until", event] => {
            let lines = scenario.run_until(number(seed)?, number(event)?);
            for line in lines.map_err(|failure| failure.to_string())? {
                println!("{line}");
            }
            Ok(())
        }
        ["--seeds", count] => many(scenario, 0, number(count)?),
        ["--seeds", count, "--from", first] => many(scenario, number(first)?, number(count)?),
        _ => Err(usage()),
    }
}

fn one(scenario: Scenario, seed: u64) -> Result<(), String> {
    let report = scenario.run(seed).map_err(|failure| failure.to_string())?;
    println!(
        "{} seed {seed}: trace hash {:016x}, {} events, {:?} virtual",
        scenario.name, report.trace_hash, report.events, report.virtual_time
    );
    Ok(())
}

/// The lowest failing seed is the one that is told.
fn many(scenario: Scenario, first: u64, count: u64) -> Result<(), String> {
    let mut events = 0;
    for seed in first..first.saturating_add(count) {
        events += scenario
            .run(seed)
            .map_err(|failure| failure.to_string())?
            .events;
    }
    println!(
        "{}: {count} seeds from {first}, {events} events, no failure",
        scenario.name
    );
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|why| format!("`{text}`: {why}"))
}

fn usage() -> String {
    let mut text = "usage: sim SCENARIO --seed N [--until EVENT] | --seeds N [--from K]".to_owned();
    for scenario in ALL {
        text += &format!("\n  {}: {}", scenario.name, scenario.about);
    }
    text
}
