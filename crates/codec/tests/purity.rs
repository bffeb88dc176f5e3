//! The crate stands alone: no input or output, no runtime, nothing but bytes.

use std::fs;
use std::path::Path;
use std::process::Command;

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

// C12
#[test]
fn the_source_does_no_io_and_knows_no_task() {
    let mut found = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert!(found.len() > 5, "the sources were not found");
    let foreign = [
        "io::",
        "std::net",
        "std::fs",
        "std::thread",
        "std::time",
        "task::",
        "Instant",
    ];
    for (path, source) in found {
        // serde_json's trait of formatters is written in terms of `std::io::Write`.
        let named = path.ends_with("message/json/python.rs");
        for word in foreign
            .into_iter()
            .filter(|word| !(named && *word == "io::"))
        {
            assert!(!source.contains(word), "{path} has `{word}`");
        }
    }
}

/// Names of all the packages in the dependency tree, with these features.
fn tree(features: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "tree",
            "-p",
            "bowline-codec",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--offline",
        ])
        .args(features)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

// C12
#[test]
fn no_runtime_is_in_the_tree() {
    assert_eq!(
        tree(&["--no-default-features"]),
        ["bowline-codec", "bytes", "memchr"]
    );
    let runtimes = [
        "tokio",
        "async",
        "smol",
        "mio",
        "polling",
        "futures",
        "rustix",
        "bowline-b",
    ];
    for name in tree(&["--all-features"]) {
        assert!(
            !runtimes.iter().any(|runtime| name.starts_with(runtime)),
            "{name} is in the tree"
        );
    }
}
