//! What `Cargo.toml` files say, as far as the checks need it.
//!
//! A line reader, not a TOML parser: it knows table headers, `key = value`, dotted keys and values
//! that go on over several lines, which is all that the manifests of this workspace use.

use std::path::Path;

use crate::tree;

/// One package of the workspace.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// `package.name`.
    pub(crate) name: String,
    /// Names of the normal, build and platform dependencies.
    pub(crate) dependencies: Vec<String>,
    /// Names of the development dependencies.
    pub(crate) dev_dependencies: Vec<String>,
    /// Names of the features, without `default`.
    pub(crate) features: Vec<String>,
    /// The folder, as seen from the root.
    pub(crate) folder: String,
}

/// Every package of the workspace: `crates/*`, `xtask`, `tests`, `benches`.
///
/// # Errors
/// A manifest cannot be read.
pub(crate) fn all(root: &Path) -> Result<Vec<Manifest>, String> {
    let mut manifests = Vec::new();
    for path in tree::files(root, &["Cargo.toml"])? {
        let folder = path
            .parent()
            .map(|folder| tree::relative(root, folder))
            .unwrap_or_default();
        let ours = folder
            .strip_prefix("crates/")
            .is_some_and(|rest| !rest.contains('/'))
            || matches!(folder.as_str(), "xtask" | "tests" | "benches");
        if ours {
            let mut manifest = parse(&tree::read(&path)?);
            manifest.folder = folder;
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

/// Reads one manifest.
pub(crate) fn parse(text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    let mut table = String::new();
    let mut open_brackets = 0_isize;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if open_brackets > 0 {
            open_brackets += balance(line);
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']', ' ']).to_owned();
            if let Some((kind, name)) = table.rsplit_once('.') {
                add_dependency(&mut manifest, kind, name, "");
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        open_brackets = balance(value);
        let key = key
            .split('.')
            .next()
            .unwrap_or_default()
            .trim()
            .trim_matches('"');
        let value = value.trim();
        match table.as_str() {
            "package" if key == "name" => manifest.name = value.trim_matches('"').to_owned(),
            "features" if key != "default" => manifest.features.push(key.to_owned()),
            kind => add_dependency(&mut manifest, kind, key, value),
        }
    }
    manifest
}

/// Adds `name` if `kind` is a table of dependencies; a renamed one counts under its real name.
fn add_dependency(manifest: &mut Manifest, kind: &str, name: &str, value: &str) {
    let renamed = value
        .split_once("package = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(real, _)| real);
    let name = renamed.unwrap_or(name).to_owned();
    if kind == "dev-dependencies" || kind.ends_with(".dev-dependencies") {
        manifest.dev_dependencies.push(name);
    } else if kind.ends_with("dependencies") && !kind.starts_with("workspace") {
        manifest.dependencies.push(name);
    }
}

fn balance(text: &str) -> isize {
    text.chars()
        .map(|letter| match letter {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_names_dependencies_and_features() {
        let manifest = parse(
            r#"
[package]
name = "one" # a comment
version.workspace = true
[features]
default = ["b"]
a = ["dep:x",
     "y/z"]
b = []
[dependencies]
plain.workspace = true
inline = { workspace = true, optional = true }
[dependencies.table]
version = "1"
[target.'cfg(unix)'.dependencies]
platform = "1"
[dev-dependencies]
alias = { package = "real", version = "1" }
"#,
        );
        assert_eq!(manifest.name, "one");
        assert_eq!(manifest.features, ["a", "b"]);
        assert_eq!(
            manifest.dependencies,
            ["plain", "inline", "table", "platform"]
        );
        assert_eq!(manifest.dev_dependencies, ["real"]);
    }
}
