//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no file of ours.
const SKIPPED: [&str; 5] = [".git", "target", "corpus", "artifacts", "node_modules"];

/// The root of the workspace: the parent of this crate's folder.
///
/// # Errors
/// The working directory is gone and the compiled-in path too.
pub(crate) fn root() -> Result<PathBuf, String> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| "xtask has no parent folder".to_owned())
}

/// Every file under `folder` whose name ends in one of `endings`, sorted; none if it is absent.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    if folder.is_dir() {
        collect(folder, endings, &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) -> Result<(), String> {
    let cannot = |why: std::io::Error| format!("cannot read {}: {why}", folder.display());
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = name(&path);
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(&path, endings, found)?;
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    Ok(())
}

/// The text of a file.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|why| format!("cannot read {}: {why}", path.display()))
}

/// Replaces the text of a file.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|why| format!("cannot write {}: {why}", path.display()))
}

/// The last part of a path.
pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// A path as seen from the root, with `/` between its parts.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = inner
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

/// Turns the complaints of a check into its outcome, printing them.
///
/// # Errors
/// There is at least one.
pub(crate) fn verdict(check: &str, complaints: &[String]) -> Result<(), String> {
    if complaints.is_empty() {
        println!("{check}: ok");
        return Ok(());
    }
    for complaint in complaints {
        println!("{check}: {complaint}");
    }
    Err(format!("{check}: {} complaint(s)", complaints.len()))
}
