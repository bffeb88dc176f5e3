//! `cargo xtask spec`: the ledger of promises.
//!
//! `docs/behaviours/*.md` list what each crate promises, one line per behaviour with its id. A test
//! names the ids it covers in a `//` comment that starts with them. The check fails on
//!
//! 1. a line that no test names, unless it is marked `(not built)` or `(later)`,
//! 2. a line so marked that a test names,
//! 3. an id in a test that no line has,
//! 4. a range of ids in a test: each id is named in full, so that searching for one finds its test.

mod ledger;
mod mention;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::process::Outcome;
use crate::tree;
use ledger::{Ledger, Promise};
use mention::Mentions;

const LEDGER: &str = "docs/behaviours";

/// Folders whose Rust files are tests throughout.
const TESTS: [&str; 2] = ["tests", "xtask"];

/// Runs the check.
///
/// # Errors
/// Ledger and tests disagree.
pub(crate) fn check(root: &Path) -> Outcome {
    let ledger = read_ledger(root)?;
    let mentions = read_mentions(root, &ledger)?;
    let (built, open) = ledger.counts();
    println!("spec: {built} promises built, {open} marked as open");
    tree::verdict("spec", &disagreements(&ledger, &mentions))
}

/// Sets and clears the marks so that they agree with the tests, then checks the rest.
///
/// # Errors
/// A file cannot be written, or what no mark can mend is wrong.
pub(crate) fn fix(root: &Path) -> Outcome {
    let ledger = read_ledger(root)?;
    let mentions = read_mentions(root, &ledger)?;
    for path in ledger_files(root)? {
        let old = tree::read(&path)?;
        let new = ledger::remark(&old, |id| mentions.named.contains_key(id));
        if old != new {
            println!("spec: rewrote {}", tree::relative(root, &path));
            tree::write(&path, &new)?;
        }
    }
    check(root)
}

fn read_ledger(root: &Path) -> Result<Ledger, String> {
    let mut ledger = Ledger::default();
    for path in ledger_files(root)? {
        ledger.add(&tree::relative(root, &path), &tree::read(&path)?);
    }
    Ok(ledger)
}

fn ledger_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    tree::files(&root.join(LEDGER), &[".md"])
}

fn read_mentions(root: &Path, ledger: &Ledger) -> Result<Mentions, String> {
    let prefixes = ledger.prefixes();
    let mut mentions = Mentions::default();
    for folder in TESTS {
        for path in tree::files(&root.join(folder), &[".rs"])? {
            mentions.add(&tree::relative(root, &path), &tree::read(&path)?, &prefixes);
        }
    }
    for path in tree::files(&root.join("crates"), &[".rs"])? {
        let name = tree::relative(root, &path);
        let text = tree::read(&path)?;
        if is_test_file(&name) {
            mentions.add(&name, &text, &prefixes);
        } else if let Some(start) = test_module(&text) {
            // Line numbers stay right when the code above is blanked, not cut.
            let (code, tests) = text.split_at(start);
            let blank = "\n".repeat(code.matches('\n').count());
            mentions.add(&name, &format!("{blank}{tests}"), &prefixes);
        }
    }
    Ok(mentions)
}

/// `crates/x/tests/..`, and a module of tests in a file of its own.
fn is_test_file(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs")
}

/// Where the module of tests at the end of a file begins. Above it, an id in a comment is that of
/// an invariant of the type, which may look alike.
fn test_module(text: &str) -> Option<usize> {
    text.match_indices("#[cfg(test)]")
        .map(|(at, _)| at)
        .find(|&at| {
            let after = text[at..]
                .lines()
                .skip(1)
                .find(|line| !line.starts_with("#["));
            after.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
        })
}

fn disagreements(ledger: &Ledger, mentions: &Mentions) -> Vec<String> {
    let mut complaints = ledger.complaints.clone();
    complaints.extend(mentions.complaints.iter().cloned());
    let promises: BTreeMap<&str, &Promise> = ledger
        .promises
        .iter()
        .map(|promise| (promise.id.as_str(), promise))
        .collect();
    for promise in &ledger.promises {
        match (promise.open, mentions.named.get(&promise.id)) {
            (false, None) => {
                complaints.push(format!("{}: no test names {}", promise.place, promise.id))
            }
            (true, Some(place)) => complaints.push(format!(
                "{}: {} is marked as not built, but {place} names it (`cargo xtask spec --fix`)",
                promise.place, promise.id
            )),
            _ => {}
        }
    }
    for (id, place) in &mentions.named {
        if !promises.contains_key(id.as_str()) {
            complaints.push(format!("{place}: no line in {LEDGER} has {id}"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{disagreements, is_test_file, test_module};
    use crate::spec::ledger::Ledger;
    use crate::spec::mention::Mentions;

    // The ids here have prefixes of their own, so that the real check passes over them.
    const LEDGER: &str = "- **ZA1** Built.\n- **ZA2** Open. (not built)\n- **ZB1** Far. (later)\n";

    fn complaints(source: &str) -> Vec<String> {
        let mut ledger = Ledger::default();
        ledger.add("list.md", LEDGER);
        let mut mentions = Mentions::default();
        mentions.add("test.rs", source, &ledger.prefixes());
        disagreements(&ledger, &mentions)
    }

    #[test]
    fn agreement_passes() {
        assert!(complaints("// ZA1\nfn test() {}").is_empty());
    }

    #[test]
    fn an_unnamed_promise_fails() {
        assert_eq!(complaints("fn test() {}"), ["list.md:1: no test names ZA1"]);
    }

    #[test]
    fn a_built_promise_marked_open_fails() {
        assert_eq!(complaints("// ZA1, ZA2").len(), 1);
        assert_eq!(complaints("// ZA1, ZB1").len(), 1);
    }

    #[test]
    fn an_unknown_id_fails() {
        assert_eq!(
            complaints("// ZA1\n// ZA9"),
            ["test.rs:2: no line in docs/behaviours has ZA9"]
        );
    }

    #[test]
    fn a_range_fails() {
        assert_eq!(complaints("// ZA1 to ZA2").len(), 1);
    }

    #[test]
    fn only_the_module_of_tests_counts() {
        let text = "#[cfg(test)]\nuse x;\n// ZA1\n#[cfg(test)]\n#[expect(y)]\nmod tests {\n}";
        assert_eq!(test_module(text), text.rfind("#[cfg(test)]"));
        assert_eq!(test_module("#[cfg(test)]\nmod tests;\n"), None);
    }

    #[test]
    fn test_files_are_recognised() {
        assert!(is_test_file("crates/x/tests/close.rs"));
        assert!(is_test_file("crates/x/src/proto/tests.rs"));
        assert!(!is_test_file("crates/x/src/close.rs"));
    }
}
