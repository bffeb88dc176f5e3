//! `cargo xtask sanitize`: the tests of crates with `unsafe` code, watched while they run.
//!
//! Sanitizers are in the nightly compiler only, so this is no part of `ci`.

use std::path::Path;

use crate::process::{Outcome, Step};

/// The crate whose locks and tickets are watched in all of its tests, the hundred thousand random
/// schedules too (`BOWLINE_SCHEDULES` asks for fewer or more).
const CHANNELS: [&str; 3] = ["--package", "bowline-channel", "--tests"];

/// The crate whose frames lend nodes by reference from poll to poll, in the tests that run its tasks on
/// several threads. Under AddressSanitizer alone: no frame is seen by two threads, and what threads
/// share is behind locks of the standard library, of which ThreadSanitizer misses every one that was
/// waited for, or behind [`LOCK`].
const CONCURRENCY: [&str; 22] = [
    "--package",
    "bowline-concurrency",
    "--all-features",
    "--lib",
    "--test",
    "dropped_groups",
    "--test",
    "group_start",
    "--test",
    "run_in_thread",
    "--test",
    "scopes",
    "--test",
    "sync",
    "--test",
    "task_groups",
    "--",
    // One thread, in simulated worlds.
    "--skip",
    "sim::",
    "--skip",
    "schedules",
    "--quiet",
];

/// A lock that needs nothing but the standard library, so it is watched without the crate around
/// it too, whose other tests start the threads of three runtimes.
const LOCK: &str = "crates/concurrency/src/spin_lock.rs";

/// What is known to be no fault, for [`run`].
const SUPPRESSIONS: &str = "xtask/thread-sanitizer.supp";

/// Runs all tests of the channels under AddressSanitizer and then under ThreadSanitizer, those of
/// structured concurrency that run on several threads under the first, and the lock of the sync
/// primitives under both.
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
            .arguments(&["--target", host])
            // As slow as unoptimised code without a sanitizer, and the traces can be read.
            .set("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
    };
    let address = || {
        tests("target/address-sanitizer")
            .set("RUSTFLAGS", "-Zsanitizer=address")
            // A test leaks a future on purpose.
            .set("ASAN_OPTIONS", "detect_leaks=0")
    };
    address().arguments(&CHANNELS).run(root)?;
    address().arguments(&CONCURRENCY).run(root)?;
    let suppressions = root.join(SUPPRESSIONS);
    let suppressions = format!("suppressions={}", suppressions.display());
    tests("target/thread-sanitizer")
        .arguments(&CHANNELS)
        // The standard library that comes with the compiler is not instrumented.
        .set(
            "RUSTFLAGS",
            "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        )
        .set("TSAN_OPTIONS", &suppressions)
        // The standard library again: what it reads to print where a panic came from is locked
        // unseen, and some tests panic on purpose.
        .set("RUST_BACKTRACE", "0")
        .run(root)?;
    for sanitizer in ["address", "thread"] {
        let program = format!("target/{sanitizer}-sanitizer/spin_lock");
        Step::program("rustup")
            .arguments(&["run", "nightly", "rustc", "--test", "--edition", "2024"])
            .arguments(&["-O", "--check-cfg", "cfg(loom,test)"])
            .argument("-Cunsafe-allow-abi-mismatch=sanitizer")
            .argument(format!("-Zsanitizer={sanitizer}"))
            .arguments(&["-o", &program, LOCK])
            .run(root)?;
        Step::program(&program)
            .set("TSAN_OPTIONS", &suppressions)
            .run(root)?;
    }
    Ok(())
}
