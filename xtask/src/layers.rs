//! `cargo xtask layers`: who may depend on whom.
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

/// Runs the check.
///
/// # Errors
/// A dependency points the wrong way, a crate stands in no row, or a pure crate pulls in a runtime.
pub(crate) fn run(root: &Path) -> Outcome {
    let mut complaints = misplaced(&manifest::all(root)?);
    for pure in PURE {
        let step = Step::cargo(
            "tree --quiet --all-features --edges normal,build --prefix none --format {p}",
        )
        .arguments(&["--package", pure]);
        for name in step
            .capture(root)?
            .lines()
            .filter_map(|line| line.split(' ').next())
        {
            if RUNTIMES.contains(&name) {
                complaints.push(format!("{pure} has the runtime {name} in its tree"));
            }
        }
    }
    tree::verdict("layers", &complaints)
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
    use super::misplaced;
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

    #[test]
    fn unknown_crates_are_refused() {
        assert_eq!(misplaced(&[package("bowline-new", "")]).len(), 1);
    }
}
