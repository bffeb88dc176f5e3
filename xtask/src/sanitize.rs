//! `cargo xtask sanitize`: the tests of crates with `unsafe` code, watched while they run.
//!
//! Sanitizers are in the nightly compiler only, so this is no part of `ci`.

use std::path::Path;

use crate::process::{Outcome, Step};

/// The crate whose locks and tickets are watched.
const PACKAGE: &str = "bowline-channel";

/// Its tests that start threads; the others have no races to find.
const THREADED: &[&str] = &["contention", "threads", "oneshot", "watch", "broadcast"];

/// What is known to be no fault, for [`run`].
const SUPPRESSIONS: &str = "xtask/thread-sanitizer.supp";

/// Runs all tests under AddressSanitizer, then those with threads under ThreadSanitizer.
///
/// # Errors
/// There is no nightly compiler, or a sanitizer found something; it prints where.
pub(crate) fn run(root: &Path) -> Outcome {
    let text = Step::program("rustc").argument("-vV").capture(root)?;
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| "rustc names no host".to_owned())?;
    let tests = |target: &str| {
        Step::program("rustup")
            .arguments(&["run", "nightly", "cargo", "test", "--target-dir", target])
            // A named target keeps build scripts and macros, which run on the host, as they are.
            .arguments(&["--target", host, "--package", PACKAGE])
    };
    tests("target/address-sanitizer")
        .argument("--tests")
        .set("RUSTFLAGS", "-Zsanitizer=address")
        // A test leaks a future on purpose.
        .set("ASAN_OPTIONS", "detect_leaks=0")
        .set("BOWLINE_SCHEDULES", "2000")
        .run(root)?;
    let mut threaded = tests("target/thread-sanitizer");
    for name in THREADED {
        threaded = threaded.arguments(&["--test", name]);
    }
    let suppressions = root.join(SUPPRESSIONS);
    threaded
        // The standard library that comes with the compiler is not instrumented.
        .set(
            "RUSTFLAGS",
            "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        )
        .set(
            "TSAN_OPTIONS",
            format!("suppressions={}", suppressions.display()),
        )
        .run(root)
}
