//! `cargo xtask interop`: EasyNetwork's clients and servers, and Python's `ssl`, against ours.
//!
//! Not part of `ci`: it needs python3 and what pip fetches.

use std::path::Path;

use crate::process::{Outcome, Step};

/// What the other side is made of.
const PACKAGES: [&str; 4] = [
    "easynetwork==1.2.0",
    "msgpack==1.1.0",
    "uvloop==0.23.0",
    "cbor2==5.8.0",
];

/// Makes a Python environment in the build directory, if there is none yet; its program.
///
/// # Errors
/// There is no python3, or its packages cannot be had.
pub(crate) fn python(root: &Path) -> Result<String, String> {
    let environment = format!("{}/interop", target(root));
    let python = format!("{environment}/bin/python");
    let has_all = ["-c", "import easynetwork, msgpack, uvloop, cbor2"];
    if !Step::program(&python).arguments(&has_all).succeeds(root) {
        Step::program("python3")
            .arguments(&["-m", "venv", &environment])
            .run(root)?;
        Step::program(&python)
            .arguments(&["-m", "pip", "install", "--quiet"])
            .arguments(&PACKAGES)
            .run(root)?;
    }
    Ok(python)
}

/// Lets its programs talk to ours.
///
/// # Errors
/// As of [`python`]; or one side does not understand the other.
pub(crate) fn run(root: &Path) -> Outcome {
    let python = python(root)?;
    Step::cargo("build --package bowline-tests --all-features --example interop").run(root)?;
    Step::program(&python)
        .argument("tests/interop/interop.py")
        .argument(format!("{}/debug/examples/interop", target(root)))
        .run(root)
}

fn target(root: &Path) -> String {
    let beside = || root.join("target").to_string_lossy().into_owned();
    std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| beside())
}
