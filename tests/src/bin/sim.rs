//! Runs scenarios in the simulator; `cargo xtask sim` calls it.

use std::fs;
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bowline::sim::{Builder, Choices, Failure, Report, Sim};
#[cfg(target_os = "linux")]
use bowline_tests::differential::check_seeds;
use bowline_tests::scenarios::{ALL, Scenario};

/// Choices that a list has at most; a scenario makes some thousands.
const MOST_CHOICES: usize = 10_000_000;

const USAGE: &str = "\
usage: sim SCENARIO --seed N [--until EVENT] [--record FILE]
       sim SCENARIO --replay FILE [--until EVENT]
       sim SCENARIO|all --seeds N [--from K] [--jobs J] [--time SECONDS]
       sim SCENARIO|all --time SECONDS [--from K] [--jobs J]
       sim differential --seeds N [--from K]
The last one runs random scripts of socket operations on this system and in worlds.
SCENARIO is one of";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let (name, options) = words.split_first().ok_or_else(usage)?;
    if *name == "differential" {
        return differential(&Options::parse(options)?);
    }
    let scenarios = match (*name, Scenario::named(name)) {
        ("all", _) => ALL.to_vec(),
        (_, Some(scenario)) => vec![scenario],
        (_, None) => return Err(format!("there is no scenario {name:?}\n{}", usage())),
    };
    let options = Options::parse(options)?;
    match (&options, scenarios.as_slice()) {
        (
            Options {
                seed: None,
                replay: None,
                until: None,
                record: None,
                ..
            },
            all,
        ) if options.seeds.is_some() || options.time.is_some() => many(all, &options),
        (
            Options {
                seeds: None,
                from: None,
                jobs: None,
                time: None,
                ..
            },
            [one],
        ) => single(*one, &options),
        _ => Err(usage()),
    }
}

/// What was asked for, each at most once.
#[derive(Debug, Default, PartialEq)]
struct Options {
    seed: Option<u64>,
    until: Option<u64>,
    record: Option<String>,
    replay: Option<String>,
    seeds: Option<u64>,
    from: Option<u64>,
    jobs: Option<u64>,
    time: Option<u64>,
}

impl Options {
    fn parse(mut words: &[&str]) -> Result<Options, String> {
        let mut options = Options::default();
        while let [name, rest @ ..] = words {
            let [value, rest @ ..] = rest else {
                return Err(format!("{name} takes a value\n{}", usage()));
            };
            words = rest;
            let given_before = match *name {
                "--seed" => options.seed.replace(number(value)?).is_some(),
                "--until" => options.until.replace(number(value)?).is_some(),
                "--seeds" => options.seeds.replace(number(value)?).is_some(),
                "--from" => options.from.replace(number(value)?).is_some(),
                "--jobs" => options.jobs.replace(number(value)?).is_some(),
                "--time" => {
                    let seconds = number(value.strip_suffix('s').unwrap_or(value))?;
                    options.time.replace(seconds).is_some()
                }
                "--record" => options.record.replace((*value).to_owned()).is_some(),
                "--replay" => options.replay.replace((*value).to_owned()).is_some(),
                _ => return Err(format!("there is no option {name}\n{}", usage())),
            };
            if given_before {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(options)
    }
}

/// One world, from its seed or from a list of choices.
fn single(scenario: Scenario, options: &Options) -> Result<(), String> {
    let builder = match (options.seed, &options.replay) {
        (Some(seed), None) => scenario.builder(seed),
        (None, Some(file)) => {
            let text = fs::read_to_string(file).map_err(|why| format!("{file}: {why}"))?;
            let list: Choices = text.parse().map_err(|why| format!("{file}: {why}"))?;
            scenario.builder(0).replay(list)
        }
        _ => return Err(usage()),
    };
    let Some(file) = &options.record else {
        return match options.until {
            None => told(
                scenario,
                &builder.run().map_err(|failure| failure.to_string())?,
            ),
            Some(until) => past(&builder, until).map_err(|failure| failure.to_string()),
        };
    };
    let result = builder.record_choices(MOST_CHOICES).run();
    let list = match &result {
        Ok(report) => report.choices(),
        Err(failure) => failure.choices(),
    };
    fs::write(file, format!("{list}\n")).map_err(|why| format!("{file}: {why}"))?;
    println!("{} choices are in {file}", list.as_slice().len());
    told(scenario, &result.map_err(|failure| failure.to_string())?)
}

fn told(scenario: Scenario, report: &Report) -> Result<(), String> {
    println!(
        "{}: trace hash {:016x}, {} events, {:?} virtual",
        scenario.name, report.trace_hash, report.events, report.virtual_time
    );
    Ok(())
}

/// Runs a world past its event `until` and prints the end of its trace.
fn past(builder: &Builder, until: u64) -> Result<(), Failure> {
    for line in builder.build().run_past(until)? {
        println!("{line}");
    }
    Ok(())
}

/// Rows of seeds; every scenario is run, and those that failed are told at the end.
fn many(scenarios: &[Scenario], options: &Options) -> Result<(), String> {
    let from = options.from.unwrap_or_else(|| match options.seeds {
        Some(_) => 0,
        None => fresh(),
    });
    let range = from..from.saturating_add(options.seeds.unwrap_or(u64::MAX));
    let share = options.time.map(|seconds| {
        Duration::from_secs(seconds) / u32::try_from(scenarios.len()).unwrap_or(u32::MAX)
    });
    let mut failures = Vec::new();
    for scenario in scenarios {
        let mut seeds = scenario.under(Sim::seeds(range.clone()));
        if let Some(jobs) = options.jobs {
            seeds = seeds.jobs(usize::try_from(jobs).unwrap_or(usize::MAX));
        }
        if let Some(share) = share {
            seeds = seeds.within(share);
        }
        match seeds.run(|seed| scenario.builder(seed)) {
            Ok(report) => println!(
                "{}: {} seeds from {from}, trace hash {:016x}, {} events, {:?} virtual, no failure",
                scenario.name, report.seeds, report.trace_hash, report.events, report.virtual_time
            ),
            Err(failure) => {
                println!("{}: failed", scenario.name);
                failures.push(format!("{}:\n{failure}", scenario.name));
            }
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n\n")),
    }
}

/// A row of scripts, one for each seed.
fn differential(options: &Options) -> Result<(), String> {
    let Options {
        seeds: Some(seeds),
        from,
        seed: None,
        until: None,
        record: None,
        replay: None,
        jobs: None,
        time: None,
    } = options
    else {
        return Err(usage());
    };
    let from = from.unwrap_or(0);
    differ(from..from.saturating_add(*seeds))
}

#[cfg(target_os = "linux")]
fn differ(seeds: Range<u64>) -> Result<(), String> {
    let tally = check_seeds(seeds).map_err(|error| error.to_string())?;
    println!("{tally}");
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn differ(_: Range<u64>) -> Result<(), String> {
    Err("worlds behave as Linux does, so that is what they are compared with".to_owned())
}

/// A seed nobody has run; what is printed says which, so that it can be run again.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // The low half counts seeds from there.
    now.map_or(0, |now| (now.as_secs() & 0x7fff_ffff) << 32)
}

/// Decimal, or hexadecimal with `0x`.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|why| format!("`{text}`: {why}"))
}

fn usage() -> String {
    let mut text = USAGE.to_owned();
    for scenario in ALL {
        text += &format!("\n  {}: {}", scenario.name, scenario.about);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Options, number};

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(number("17"), Ok(17));
        assert_eq!(number("0x11"), Ok(17));
        assert!(number("x").is_err());
    }

    #[test]
    fn options_have_values_and_come_once() {
        let options = Options::parse(&["--seeds", "200", "--time", "60s"]).unwrap();
        let expected = Options {
            seeds: Some(200),
            time: Some(60),
            ..Options::default()
        };
        assert_eq!(options, expected);
        let refusal = |words: &[&str]| Options::parse(words).unwrap_err();
        assert!(refusal(&["--seed"]).contains("takes a value"));
        assert!(refusal(&["--moon", "1"]).contains("no option --moon"));
        assert!(refusal(&["--seed", "1", "--seed", "2"]).contains("given twice"));
    }
}
