//! `cargo xtask interop`: EasyNetwork's clients and servers, and Python's `ssl`, against ours.
//!
//! Not part of `ci`: it needs python3 and what pip fetches.

use std::path::Path;

use crate::process::{Outcome, Step};

/// What the other side is made of.
const PACKAGES: [&str; 2] = ["easynetwork==1.2.0", "msgpack==1.1.0"];

/// Makes a Python environment in the build directory, and lets its programs talk to ours.
///
/// # Errors
/// There is no python3, its packages cannot be had, or one side does not understand the other.
pub(crate) fn run(root: &Path) -> Outcome {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let environment = format!("{target}/interop");
    let python = format!("{environment}/bin/python");
    if !Step::program(&python)
        .arguments(&["-c", "import easynetwork, msgpack"])
        .succeeds(root)
    {
        Step::program("python3")
            .arguments(&["-m", "venv", &environment])
            .run(root)?;
        Step::program(&python)
            .arguments(&["-m", "pip", "install", "--quiet"])
            .arguments(&PACKAGES)
            .run(root)?;
    }
    Step::cargo("build --package bowline-tests --all-features --example interop").run(root)?;
    Step::program(&python)
        .argument("tests/interop/interop.py")
        .argument(format!("{target}/debug/examples/interop"))
        .run(root)
}
