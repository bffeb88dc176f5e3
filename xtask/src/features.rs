//! `cargo xtask features`: each crate with each single feature and with none.

use std::path::Path;

use crate::manifest;
use crate::process::{Outcome, Step};

/// Checks the library of every crate under `crates/`; warnings fail too.
///
/// # Errors
/// A combination does not build, or warns.
pub(crate) fn run(root: &Path) -> Outcome {
    let mut checked = 0;
    for manifest in manifest::all(root)? {
        if !manifest.folder.starts_with("crates/") {
            continue;
        }
        let base = format!(
            "check --lib --no-default-features --package {}",
            manifest.name
        );
        let mut combinations = vec![base.clone()];
        combinations.extend(
            manifest
                .features
                .iter()
                .map(|feature| format!("{base} --features {feature}")),
        );
        for combination in combinations {
            // Not `-D warnings` in RUSTFLAGS: that would build every dependency a second time.
            let warnings = Step::cargo(&combination)
                .argument("--quiet")
                .run_keeping(root, |line| line.starts_with("warning"))?;
            if !warnings.is_empty() {
                return Err(format!("`cargo {combination}` warns"));
            }
            checked += 1;
        }
    }
    println!("features: {checked} combinations ok");
    without_backends(root)?;
    without_order(root)
}

/// Runs the tests that are empty in every build with a backend: `tests/no_backend.rs` of a crate.
fn without_backends(root: &Path) -> Outcome {
    for manifest in manifest::all(root)? {
        if root
            .join(&manifest.folder)
            .join("tests/no_backend.rs")
            .exists()
        {
            Step::cargo("test --quiet --no-default-features --test no_backend --package")
                .argument(manifest.name)
                .run(root)?;
        }
    }
    Ok(())
}

/// Runs the tests of what keeps its order by itself. In a build of the whole workspace `serde_json`
/// keeps the order of every map, for the sake of other tests, and a lost one would not show.
fn without_order(root: &Path) -> Outcome {
    Step::cargo("test --quiet --package bowline-codec --features json --test json_streams")
        .arguments(&["--test", "messages"])
        .run(root)
}
