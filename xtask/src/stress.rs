//! `cargo xtask stress`: the conformance suite over and over on a machine that is never idle. A
//! test that fails once in a hundred runs fails users every week.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::process::{Outcome, Step};

/// Runs the suite `runs` times in a row beside `load` busy loops, up to the first failure.
///
/// # Errors
/// A number cannot be read, or a run failed; it is named.
pub(crate) fn run(root: &Path, runs: &str, load: &str) -> Outcome {
    let (runs, load) = (number("RUNS", runs)?, number("LOAD", load)?);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..load {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let outcome = in_a_row(root, runs);
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    println!("stress: {runs} runs in a row passed beside {load} busy loops");
    Ok(())
}

fn in_a_row(root: &Path, runs: u32) -> Outcome {
    let suite = "test --package bowline-tests --all-features --test conformance --quiet";
    for run in 1..=runs {
        let outcome = Step::cargo(suite).run(root);
        outcome.map_err(|why| format!("run {run} of {runs}: {why}"))?;
    }
    Ok(())
}

fn number(name: &str, word: &str) -> Result<u32, String> {
    word.parse()
        .map_err(|_| format!("{name} is a whole number, not `{word}`"))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_whole_ones() {
        assert_eq!(number("RUNS", "200"), Ok(200));
        let why = number("RUNS", "-1").unwrap_err();
        assert_eq!(why, "RUNS is a whole number, not `-1`");
    }
}
