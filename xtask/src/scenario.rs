//! `cargo xtask sim`: simulated runs of a scenario of `tests/`.

use std::path::Path;

use crate::process::{Outcome, Step};

const USAGE: &str = "cargo xtask sim SCENARIO --seed N [--until EVENT] | --seeds N [--from K]";

/// Runs `scenario` under one seed, or under a row of them.
///
/// # Errors
/// The arguments are wrong, or a run fails; what fails prints the line that replays it.
pub(crate) fn run(root: &Path, scenario: &str, arguments: &[&str]) -> Outcome {
    let options: Vec<(&str, u64)> = match arguments {
        ["--seed", seed] => vec![("--seed", number(seed)?)],
        ["--seed", seed, "--until", event] => {
            vec![("--seed", number(seed)?), ("--until", number(event)?)]
        }
        ["--seeds", count] => vec![("--seeds", number(count)?)],
        ["--seeds", count, "--from", first] => {
            vec![("--seeds", number(count)?), ("--from", number(first)?)]
        }
        _ => return Err(format!("usage: {USAGE}")),
    };
    let mut step =
        Step::cargo("run --quiet --package bowline-tests --bin sim --").argument(scenario);
    for (name, value) in options {
        step = step.argument(name).argument(value.to_string());
    }
    step.run(root)
}

/// Decimal, or hexadecimal with `0x`.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|why| format!("`{text}`: {why}; usage: {USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(number("17"), Ok(17));
        assert_eq!(number("0x11"), Ok(17));
        assert!(number("x").is_err());
    }
}
