//! `cargo xtask ci`: everything that gates a change.

use std::path::Path;
use std::time::Instant;

use crate::process::{Outcome, Step};
use crate::{docs, features, layers, msrv, spec, test, tidy, tree};

/// Runs every check, cheapest first, and ends with the closing lines of the test runners.
///
/// # Errors
/// The first check that fails.
pub(crate) fn run(root: &Path) -> Outcome {
    let started = Instant::now();
    timed("tidy", || tidy::run(root))?;
    timed("layers", || layers::run(root))?;
    timed("spec", || spec::check(root))?;
    timed("links", || docs::links(root))?;
    timed("format", || Step::cargo("fmt --all --check").run(root))?;
    timed("lints", || {
        Step::cargo("clippy --workspace --all-targets --all-features --quiet -- -D warnings")
            .run(root)
    })?;
    timed("features", || features::run(root))?;
    timed("oldest compiler", || msrv::if_installed(root))?;
    let mut closing = timed("tests", || test::tests(root, &[]))?;
    timed("other seeds", || test::other_seeds(root))?;
    timed("other profile", || test::other_profile(root))?;
    closing.extend(timed("doc tests", || test::doc_tests(root))?);
    timed("api docs", || docs::api(root))?;
    timed("quickstart", || quickstart(root))?;
    timed("examples", || examples(root))?;
    println!("ci: all passed in {} s", started.elapsed().as_secs());
    test::print_closing(&closing);
    Ok(())
}

/// The example on every backend, in a debug build; in the simulator twice with one seed, which
/// must end in one trace hash, and once with another seed, which must end in another.
fn quickstart(root: &Path) -> Outcome {
    let example = |backend: &str| {
        Step::cargo(
            "run --quiet --package bowline --example quickstart --all-features -- --backend",
        )
        .argument(backend)
    };
    for backend in ["tokio", "smol", "async-std"] {
        example(backend).run(root)?;
    }
    let simulated = |seed: &str| -> Result<String, String> {
        let lines = example("sim")
            .arguments(&["--seed", seed])
            .run_keeping(root, |_| true)?;
        lines
            .iter()
            .find_map(|line| trace_hash(line))
            .ok_or_else(|| "the quickstart printed no trace hash in the simulator".to_owned())
    };
    let (first, again, other) = (simulated("1")?, simulated("1")?, simulated("2")?);
    if first != again {
        return Err(format!(
            "one seed gave two trace hashes: {first} and {again}"
        ));
    }
    if first == other {
        return Err(format!("seeds 1 and 2 gave one trace hash: {first}"));
    }
    Ok(())
}

/// Every example of one file: each checks itself what it shows.
fn examples(root: &Path) -> Outcome {
    let folder = root.join("crates/bowline/examples");
    for path in tree::files(&folder, &[".rs"])? {
        if path.parent() == Some(&folder) {
            Step::cargo("run --quiet --package bowline --all-features --example")
                .argument(tree::name(&path).trim_end_matches(".rs"))
                .run(root)?;
        }
    }
    Ok(())
}

/// The hash in `seed 1: trace 49f041f4cf3a14f1, ..`.
fn trace_hash(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(": trace ")?;
    let hash: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    (hash.len() == 16).then_some(hash)
}

fn timed<T>(name: &str, check: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    println!("\n== {name}");
    let started = Instant::now();
    let result = check()?;
    println!("== {name}: {} s", started.elapsed().as_secs());
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::trace_hash;

    #[test]
    fn the_hash_is_found() {
        let line = "seed 1: trace 49f041f4cf3a14f1, 27972 events, 200ms of virtual time";
        assert_eq!(trace_hash(line).as_deref(), Some("49f041f4cf3a14f1"));
        assert_eq!(trace_hash("seed 1: trace 49f0"), None);
    }
}
