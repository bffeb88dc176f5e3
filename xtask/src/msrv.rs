//! `cargo xtask msrv`: all of the workspace under the oldest compiler that it promises to build with.
//!
//! Clippy's `incompatible_msrv` sees a function of the standard library that came later; what the
//! older compiler cannot prove or parse only that compiler tells.

use std::path::Path;

use crate::process::{Outcome, Step};
use crate::tree;

/// Checks every package with every feature.
///
/// # Errors
/// That compiler is not installed, or does not build the workspace.
pub(crate) fn run(root: &Path) -> Outcome {
    let version = promised(root)?;
    if !is_installed(root, &version) {
        return Err(format!(
            "Rust {version} is not here: `rustup toolchain install {version} --profile minimal`"
        ));
    }
    check(root, &version)
}

/// The same, where that compiler is installed.
///
/// # Errors
/// It does not build the workspace.
pub(crate) fn if_installed(root: &Path) -> Outcome {
    let version = promised(root)?;
    if is_installed(root, &version) {
        return check(root, &version);
    }
    println!("msrv: skipped, for Rust {version} is not installed");
    Ok(())
}

fn check(root: &Path, version: &str) -> Outcome {
    Step::program("rustup")
        .arguments(&["run", version, "cargo", "check"])
        .arguments(&["--workspace", "--all-features", "--quiet"])
        .run(root)
}

fn is_installed(root: &Path, version: &str) -> bool {
    Step::program("rustup")
        .arguments(&["run", version, "rustc", "--version"])
        .succeeds(root)
}

/// What the root manifest promises.
fn promised(root: &Path) -> Result<String, String> {
    let manifest = tree::read(&root.join("Cargo.toml"))?;
    rust_version(&manifest).ok_or_else(|| "Cargo.toml names no rust-version".to_owned())
}

fn rust_version(manifest: &str) -> Option<String> {
    let mut lines = manifest.lines();
    let value = lines.find_map(|line| line.strip_prefix("rust-version = "))?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::rust_version;

    #[test]
    fn the_promise_is_found() {
        let manifest = "[workspace.package]\nedition = \"2024\"\nrust-version = \"1.89\"\n";
        assert_eq!(rust_version(manifest).as_deref(), Some("1.89"));
        assert_eq!(rust_version("[workspace]\n"), None);
    }
}
