//! `cargo xtask docs`: the guide's code, links between documents, API docs.
//!
//! The facade includes `docs/guide/*.md` in its documentation tests, so the code blocks of the
//! guide are compiled and run.

use std::path::{Path, PathBuf};

use crate::process::{Outcome, Step};
use crate::tree;

/// Runs all of it.
///
/// # Errors
/// A code block fails, a link points nowhere, or the API docs warn.
pub(crate) fn run(root: &Path) -> Outcome {
    links(root)?;
    Step::cargo("test --doc --package bowline --all-features --quiet").run(root)?;
    api(root)
}

/// Builds the API docs with warnings denied.
///
/// # Errors
/// There is a warning.
pub(crate) fn api(root: &Path) -> Outcome {
    Step::cargo("doc --workspace --all-features --no-deps --quiet")
        .set("RUSTDOCFLAGS", "-D warnings")
        .run(root)
}

/// Checks that relative links in all Markdown files lead to a file, and that every page of the
/// guide is linked from its index.
///
/// # Errors
/// One does not.
pub(crate) fn links(root: &Path) -> Outcome {
    let mut complaints = Vec::new();
    for path in tree::files(root, &[".md"])? {
        let text = tree::read(&path)?;
        for (number, link) in targets(&text) {
            if resolve(root, &path, link).is_some_and(|target| !target.exists()) {
                complaints.push(format!(
                    "{}:{number}: `{link}` leads nowhere",
                    tree::relative(root, &path)
                ));
            }
        }
    }
    let guide = root.join("docs/guide");
    let index = tree::read(&guide.join("index.md"))?;
    for page in tree::files(&guide, &[".md"])? {
        let name = tree::name(&page);
        if name != "index.md" && !targets(&index).any(|(_, link)| link == name) {
            complaints.push(format!("docs/guide/index.md does not link {name}"));
        }
    }
    tree::verdict("links", &complaints)
}

/// The targets of inline links outside code blocks, with their line numbers.
fn targets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).flat_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let line = if in_code { "" } else { line };
        line.split("](")
            .skip(1)
            .filter_map(move |rest| rest.split(')').next().map(|link| (number, link)))
    })
}

/// The file a relative link means; `None` for web addresses and places in the same page.
fn resolve(root: &Path, page: &Path, link: &str) -> Option<PathBuf> {
    let file = link.split('#').next().unwrap_or_default();
    if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
        return None;
    }
    match file.strip_prefix('/') {
        Some(absolute) => Some(root.join(absolute)),
        None => page.parent().map(|folder| folder.join(file)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{resolve, targets};

    #[test]
    fn links_are_found_outside_code() {
        let text = "see [a](a.md) and [b](b.md#x)\n```\n[c](c.md)\n```\n[d](https://d)";
        let found: Vec<_> = targets(text).collect();
        assert_eq!(found, [(1, "a.md"), (1, "b.md#x"), (5, "https://d")]);
    }

    #[test]
    fn only_files_are_resolved() {
        let page = Path::new("/r/docs/p.md");
        let root = Path::new("/r");
        assert_eq!(
            resolve(root, page, "../a.md#b").as_deref(),
            Some(Path::new("/r/docs/../a.md"))
        );
        assert_eq!(resolve(root, page, "#b"), None);
        assert_eq!(resolve(root, page, "https://a"), None);
    }
}
