//! `cargo xtask features`: each crate with each single feature and with none.

use std::path::Path;

use crate::manifest;
use crate::process::{Outcome, Step};

/// What a program without a backend is told.
const NO_BACKEND: &str = "no backend enabled: turn on one of the features";

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
    few_backends(root)
}

/// What holds only in a build with no backend, or with one: a library builds, a program does not
/// and says why, and tests that are empty in every other build pass.
fn few_backends(root: &Path) -> Outcome {
    Step::cargo("build --quiet --no-default-features --package bowline-rpc").run(root)?;
    let program = "build --quiet --no-default-features --package bowline-backend --example enter";
    match Step::cargo(program).capture(root) {
        Ok(_) => return Err("a program without a backend builds".to_owned()),
        Err(text) if text.contains(NO_BACKEND) => {
            println!("features: a program without a backend is refused")
        }
        Err(text) => {
            return Err(format!(
                "a program without a backend fails to build for another reason\n{text}"
            ));
        }
    }
    for manifest in manifest::all(root)? {
        for (file, features) in [("no_backend", ""), ("one_backend", "smol")] {
            if root
                .join(&manifest.folder)
                .join(format!("tests/{file}.rs"))
                .exists()
            {
                Step::cargo("test --quiet --no-default-features")
                    .arguments(&[
                        "--package",
                        &manifest.name,
                        "--test",
                        file,
                        "--features",
                        features,
                    ])
                    .run(root)?;
            }
        }
    }
    Ok(())
}
