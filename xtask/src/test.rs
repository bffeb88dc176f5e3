//! `cargo xtask test`: all tests on every backend, then the doc tests.
//!
//! The conformance suite in `tests/` makes one test per backend compiled in, so one run with all
//! features covers them all.

use std::path::Path;

use crate::process::{Outcome, Step};

/// Runs both and prints their closing lines.
///
/// # Errors
/// A test fails, or does not build.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Outcome {
    let mut closing = tests(root, arguments)?;
    if arguments.is_empty() {
        closing.extend(doc_tests(root)?);
    }
    print_closing(&closing);
    Ok(())
}

/// Unit, integration and conformance tests; returns the runner's closing lines.
///
/// # Errors
/// A test fails, or does not build.
pub(crate) fn tests(root: &Path, arguments: &[&str]) -> Result<Vec<String>, String> {
    let step = if Step::cargo("nextest --version").succeeds(root) {
        Step::cargo(
            "nextest run --workspace --all-features --cargo-quiet --no-fail-fast --color never \
             --status-level fail --final-status-level fail --show-progress none",
        )
    } else {
        Step::cargo("test --workspace --all-features --lib --bins --tests --quiet --no-fail-fast")
    };
    step.arguments(arguments).run_keeping(root, is_closing)
}

/// The simulator's part of the conformance suite once more, under seeds that the run of all tests
/// does not use: what a case takes for granted, another seed may not give.
///
/// # Errors
/// A case fails under one of them.
pub(crate) fn other_seeds(root: &Path) -> Outcome {
    for seed in 1..=3 {
        Step::cargo("test --workspace --all-features --test conformance --quiet -- sim::")
            .set("BOWLINE_SIM_SEED", seed.to_string())
            .run(root)?;
    }
    Ok(())
}

/// The simulator's tables of seeds and hashes in a release build, and the hashes of all scenarios in
/// both: they hold in both profiles or in neither, so that a failure of a debug build is repeated in
/// a fast one.
///
/// # Errors
/// A hash differs, or the tests or scenarios do not build.
pub(crate) fn other_profile(root: &Path) -> Outcome {
    Step::cargo(
        "test --release --quiet --package bowline-sim --test determinism --test golden -- golden \
         one_host_worlds",
    )
    .run(root)?;
    let hashes = |profile: &str| {
        let run = format!("run {profile} --quiet --package bowline-tests --bin sim");
        let run = Step::cargo(&run).arguments(&["--", "all", "--seeds", "40"]);
        run.run_keeping(root, |line| line.contains("trace hash"))
    };
    let (debug, release) = (hashes("")?, hashes("--release")?);
    match !debug.is_empty() && debug == release {
        true => Ok(()),
        false => Err("the scenarios run differently in a release build".to_owned()),
    }
}

/// The code in the documentation of every crate, the guide's included.
///
/// # Errors
/// An example fails, or does not build.
pub(crate) fn doc_tests(root: &Path) -> Result<Vec<String>, String> {
    Step::cargo("test --doc --workspace --all-features --quiet --no-fail-fast")
        .run_keeping(root, is_closing)
}

/// Prints the closing lines of the runners once more, and their sum.
pub(crate) fn print_closing(lines: &[String]) {
    let (mut passed, mut failed) = (0, 0);
    println!();
    for line in lines {
        println!("{line}");
        passed += count_before(line, "passed");
        failed += count_before(line, "failed");
    }
    println!("{passed} passed, {failed} failed");
}

/// nextest's `Summary [..] 3 tests run: ..`, libtest's `test result: ok. ..`.
fn is_closing(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Summary [")
        || (line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed"))
}

/// The number in front of `word`, 0 if there is none.
fn count_before(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line
        .split([' ', ',', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    words
        .windows(2)
        .find(|pair| pair[1] == word)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{count_before, is_closing};

    #[test]
    fn closing_lines_are_found_and_counted() {
        let nextest = "     Summary [   1.012s] 14 tests run: 13 passed, 1 failed, 2 skipped";
        let libtest = "test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert!(is_closing(nextest) && is_closing(libtest));
        assert!(!is_closing("running 3 tests"));
        assert!(!is_closing(
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured"
        ));
        assert_eq!(count_before(nextest, "passed"), 13);
        assert_eq!(count_before(nextest, "failed"), 1);
        assert_eq!(count_before(libtest, "passed"), 7);
        assert_eq!(count_before("nothing", "passed"), 0);
    }
}
