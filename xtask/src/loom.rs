//! `cargo xtask loom`: models of the races of crates, in every interleaving.

use std::path::Path;

use crate::process::{Outcome, Step};

/// Crates with a `tests/loom.rs`; some have models of what is private too, in their own `models`.
const MODELLED: &[(&str, &[&str])] = &[
    ("bowline-channel", &["--test", "loom"]),
    ("bowline-concurrency", &["--lib", "--test", "loom"]),
];

/// Runs the models.
///
/// They are built into a folder of their own, for the flag changes every dependency, and
/// optimised, for a model may have a hundred thousand interleavings.
///
/// # Errors
/// A model does not build or fails; loom prints what it found.
pub(crate) fn run(root: &Path) -> Outcome {
    for (package, targets) in MODELLED {
        Step::cargo("test --release --target-dir target/loom")
            .arguments(targets)
            .arguments(&["--package", package])
            .set("RUSTFLAGS", "--cfg loom")
            .run(root)?;
    }
    Ok(())
}
