//! `cargo xtask fuzz`: a target of `fuzz/` under libFuzzer, on the stable toolchain.
//!
//! `fuzz/` is outside the workspace: libFuzzer needs a C++ compiler. The coverage instrumentation is
//! switched on by the flags below, which need neither `cargo-fuzz` nor a nightly compiler.

use std::path::Path;

use crate::process::{Outcome, Step};
use crate::tree;

/// What libFuzzer reads: a counter per edge, a table of program counters, traced comparisons.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Clink-dead-code -Cforce-frame-pointers=yes";

/// Builds `target` and runs it for `seconds`: on the inputs of `fuzz/seeds/TARGET`, which stay with
/// the code since something failed on them once, and on `fuzz/corpus/TARGET`, which grows.
///
/// # Errors
/// It does not build, or an input fails; the input is then in `fuzz/artifacts/TARGET`.
pub(crate) fn run(root: &Path, target: &str, seconds: &str) -> Outcome {
    let seconds: u32 = seconds
        .parse()
        .map_err(|why| format!("`{seconds}` seconds: {why}"))?;
    let host = host(root)?;
    let corpus = format!("fuzz/corpus/{target}");
    let artifacts = format!("fuzz/artifacts/{target}");
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(root.join(folder))
            .map_err(|why| format!("cannot make {folder}: {why}"))?;
    }
    // A named target keeps build scripts and macros, which run on the host, uninstrumented.
    Step::cargo("build --release --manifest-path fuzz/Cargo.toml --target-dir fuzz/target")
        .arguments(&["--target", &host, "--bin", target])
        .set("RUSTFLAGS", FLAGS)
        .run(root)?;
    let program = root.join(format!("fuzz/target/{host}/release/{target}"));
    let seeds = format!("fuzz/seeds/{target}");
    let seeds = root.join(&seeds).is_dir().then_some(seeds);
    Step::program(&tree::relative(root, &program))
        .argument(corpus)
        .arguments(seeds.as_deref().as_slice())
        .arguments(&["-rss_limit_mb=4096", "-timeout=10"])
        .argument(format!("-max_total_time={seconds}"))
        .argument(format!("-artifact_prefix={artifacts}/"))
        .run(root)
}

/// The triple of this machine, as the compiler names it.
fn host(root: &Path) -> Result<String, String> {
    let text = Step::program("rustc").argument("-vV").capture(root)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned)
        .ok_or_else(|| "rustc names no host".to_owned())
}
