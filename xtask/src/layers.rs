//! `cargo xtask layers`: who may depend on whom, and what nobody is built with unasked.
//!
//! A crate may use only crates of rows above its own in the table; development dependencies obey
//! it too, so tests that need several layers live in `tests/`.

use std::path::Path;

use crate::manifest::{self, Manifest};
use crate::process::{Outcome, Step};
use crate::tree;

/// The rows, lowest layer first. Rows of crates that do not exist yet are kept.
const TABLE: &[(u32, &str)] = &[
    (0, "bowline-eventloop"),
    (0, "bowline-sim"),
    (0, "bowline-channel"),
    (0, "bowline-codec"),
    (1, "bowline-backend"),
    (2, "bowline-concurrency"),
    (3, "bowline-transport"),
    (4, "bowline-rpc"),
    (4, "bowline-http"),
    (5, "bowline-macros"),
    (6, "bowline"),
    (7, "bowline-cli"),
];

/// Unpublished packages beside the crates: they may use every crate, and no crate may use them.
const BESIDE: &[&str] = &["bowline-tests", "bowline-benches", "xtask"];

/// Crates that must build alone, with none of [`RUNTIMES`] in their tree (I7).
const PURE: &[&str] = &["bowline-channel", "bowline-codec"];

const RUNTIMES: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "async-io",
    "async-executor",
    "async-global-executor",
    "blocking",
    "mio",
    "polling",
];

/// A feature of some crates and what it stands for, of which a build without it has nothing.
const TRACING: &str = "tracing";

/// Runs the check.
///
/// # Errors
/// A dependency points the wrong way, a crate stands in no row, a pure crate pulls in a runtime, or a crate
/// has [`TRACING`] in its tree without that feature of its own.
pub(crate) fn run(root: &Path) -> Outcome {
    let manifests = manifest::all(root)?;
    let mut complaints = misplaced(&manifests);
    for pure in PURE {
        for name in below(root, pure, &["--all-features"])? {
            if RUNTIMES.contains(&name.as_str()) {
                complaints.push(format!("{pure} has the runtime {name} in its tree"));
            }
        }
    }
    for manifest in &manifests {
        if manifest.features.iter().any(|feature| feature == TRACING) {
            complaints.extend(traced(root, manifest)?);
        }
    }
    tree::verdict("layers", &complaints)
}

/// The complaints about the trees of a crate with [`TRACING`].
fn traced(root: &Path, manifest: &Manifest) -> Result<Vec<String>, String> {
    let others: Vec<&str> = (manifest.features.iter().map(String::as_str))
        .filter(|feature| *feature != TRACING)
        .collect();
    let others = others.join(",");
    let of = |features: &[&str]| below(root, &manifest.name, features);
    let only = |features| ["--no-default-features", "--features", features];
    let without = [of(&[])?, of(&only(&others))?].concat();
    Ok(untraced(&manifest.name, &without, &of(&only(TRACING))?))
}

/// The complaints about what a crate is built with, without and with the feature.
fn untraced(name: &str, without: &[String], with: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    if without.iter().any(|name| name.starts_with(TRACING)) {
        complaints.push(format!(
            "{name} has {TRACING} in its tree without its feature"
        ));
    }
    if !with.iter().any(|name| name == TRACING) {
        complaints.push(format!(
            "the feature {TRACING} of {name} stands for nothing"
        ));
    }
    complaints
}

/// The names of what `package` is built with, itself among them.
fn below(root: &Path, package: &str, features: &[&str]) -> Result<Vec<String>, String> {
    let tree = Step::cargo("tree --quiet --edges normal,build --prefix none --format {p}")
        .arguments(&["--package", package])
        .arguments(features)
        .capture(root)?;
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

/// The complaints about a set of manifests.
fn misplaced(manifests: &[Manifest]) -> Vec<String> {
    let mut complaints = Vec::new();
    for manifest in manifests {
        if BESIDE.contains(&manifest.name.as_str()) {
            continue;
        }
        let Some(row) = row(&manifest.name) else {
            complaints.push(format!(
                "{} ({}) stands in no row",
                manifest.name, manifest.folder
            ));
            continue;
        };
        let all = manifest
            .dependencies
            .iter()
            .chain(&manifest.dev_dependencies);
        for dependency in all {
            if BESIDE.contains(&dependency.as_str()) {
                complaints.push(format!(
                    "{} uses {dependency}, which is beside the crates",
                    manifest.name
                ));
            } else if let Some(theirs) = self::row(dependency)
                && theirs >= row
            {
                complaints.push(format!(
                    "{} (row {row}) uses {dependency} (row {theirs}); only lower rows are allowed",
                    manifest.name
                ));
            }
        }
    }
    complaints
}

fn row(name: &str) -> Option<u32> {
    TABLE
        .iter()
        .find(|(_, crate_name)| *crate_name == name)
        .map(|(row, _)| *row)
}

#[cfg(test)]
mod tests {
    use super::{misplaced, untraced};
    use crate::manifest::{Manifest, parse};

    fn package(name: &str, tables: &str) -> Manifest {
        parse(&format!("[package]\nname = \"{name}\"\n{tables}"))
    }

    #[test]
    fn lower_rows_are_allowed() {
        let good = package(
            "bowline-rpc",
            "[dependencies]\nbowline-codec.workspace = true\nserde = \"1\"",
        );
        assert!(misplaced(&[good]).is_empty());
    }

    #[test]
    fn equal_and_upper_rows_are_refused_also_in_development() {
        let upward = package(
            "bowline-codec",
            "[dependencies]\nbowline-rpc.workspace = true",
        );
        let sideways = package(
            "bowline-rpc",
            "[dev-dependencies]\nbowline-http.workspace = true",
        );
        let beside = package(
            "bowline",
            "[dev-dependencies]\nbowline-tests.workspace = true",
        );
        for wrong in [upward, sideways, beside] {
            assert_eq!(misplaced(&[wrong]).len(), 1);
        }
    }

    // TR16
    #[test]
    fn tracing_is_there_with_its_feature_alone() {
        let tree = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let (without, with) = (tree(&["bowline-rpc"]), tree(&["bowline-rpc", "tracing"]));
        assert!(untraced("bowline-rpc", &without, &with).is_empty());
        let core = tree(&["bowline-rpc", "tracing-core"]);
        for (without, with) in [(&with, &with), (&core, &with), (&without, &without)] {
            assert_eq!(untraced("bowline-rpc", without, with).len(), 1);
        }
    }

    #[test]
    fn unknown_crates_are_refused() {
        assert_eq!(misplaced(&[package("bowline-new", "")]).len(), 1);
    }
}
