//! `cargo xtask sim`: simulated runs of the scenarios of `tests/`.

use std::path::Path;

use crate::process::{Outcome, Step};

/// Runs `scenario`, or all of them, as `arguments` say: under one seed, under a row of them, from a
/// recorded list of choices, for some time. The program it calls explains what it takes.
///
/// # Errors
/// The arguments are wrong, or a run fails; what fails prints the line that replays it.
pub(crate) fn run(root: &Path, scenario: &str, arguments: &[&str]) -> Outcome {
    Step::cargo("run --quiet --package bowline-tests --bin sim --")
        .argument(scenario)
        .arguments(arguments)
        .run(root)
}
