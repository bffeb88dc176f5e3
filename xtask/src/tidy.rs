//! `cargo xtask tidy`: file lengths, names and words.

use std::path::Path;

use crate::process::Outcome;
use crate::tree;

const RECOMMENDED_LINES: usize = 400;
const MOST_LINES: usize = 800;
const MOST_LINES_OF_ARCHITECTURE: usize = 250;

/// Names of files and modules that say nothing about what is inside.
const VAGUE: [&str; 11] = [
    "util", "utils", "common", "helper", "helpers", "misc", "core", "types", "manager", "mod",
    "shared",
];

/// Words no file may contain. Split in two, so that this file passes.
const WORDS_ANYWHERE: [&str; 7] = [
    concat!("/wo", "rk/"),
    concat!("/tmp/", "bash"),
    concat!("/ro", "ot/"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("simplified ", "for now"),
    concat!("../sha", "red"),
];

/// Words no Rust file may contain.
const WORDS_IN_CODE: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
    concat!("// TO", "DO"),
];

/// Parts of names that the vocabulary replaces; only those that have no other meaning here.
const OLD_NAMES: [(&str, &str); 9] = [
    ("nursery", "task group"),
    ("supervisor", "task group"),
    ("acceptor", "listener"),
    ("marshal", "encode"),
    ("throttl", "back-pressure"),
    ("procedure", "method"),
    ("canceled", "cancelled"),
    ("cancelation", "cancellation"),
    ("send_timeout", "timeout(d, send())"),
];

/// Runs the check over every text file of the repository.
///
/// # Errors
/// A file breaks a rule.
pub(crate) fn run(root: &Path) -> Outcome {
    let mut complaints = Vec::new();
    let mut long = Vec::new();
    for path in tree::files(
        root,
        &[".rs", ".md", ".toml", ".sh", "run", ".txt", ".stderr"],
    )? {
        let name = tree::relative(root, &path);
        let text = tree::read(&path)?;
        let lines = text.lines().count();
        if name.ends_with(".rs") && lines > RECOMMENDED_LINES && lines <= MOST_LINES {
            long.push(format!("{name} ({lines})"));
        }
        complaints.extend(faults(&name, &text));
    }
    if !long.is_empty() {
        println!(
            "tidy: over {RECOMMENDED_LINES} lines, consider splitting: {}",
            long.join(", ")
        );
    }
    tree::verdict("tidy", &complaints)
}

/// What is wrong with one file.
fn faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    let most = match name {
        "ARCHITECTURE.md" => MOST_LINES_OF_ARCHITECTURE,
        name if name.ends_with(".rs") => MOST_LINES,
        _ => usize::MAX,
    };
    if lines > most {
        faults.push(format!("{name}: {lines} lines, at most {most}"));
    }
    let code = name.ends_with(".rs");
    if code
        && name
            .rsplit('/')
            .next()
            .and_then(|file| file.strip_suffix(".rs"))
            .is_some_and(is_vague)
    {
        faults.push(format!(
            "{name}: the name says nothing; name the one thing it holds"
        ));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let mut words: Vec<&str> = WORDS_ANYWHERE
            .iter()
            .copied()
            .filter(|word| has_word(line, word))
            .collect();
        if code {
            // A comment may speak of a macro or an attribute, except to put work off.
            let comment = line.trim_start().starts_with("//");
            let code_words = WORDS_IN_CODE
                .iter()
                .filter(|word| !comment || word.starts_with("//"));
            words.extend(code_words.filter(|word| line.contains(**word)));
        }
        faults.extend(
            words
                .iter()
                .map(|word| format!("{name}:{number}: `{word}` is forbidden")),
        );
        if let Some(declared) = code.then(|| declared(line)).flatten() {
            faults.extend(name_fault(line, declared).map(|why| format!("{name}:{number}: {why}")));
        }
    }
    faults
}

/// What is wrong with a declared name.
fn name_fault(line: &str, declared: &str) -> Option<String> {
    let lower = declared.to_lowercase();
    if let Some((_, better)) = OLD_NAMES.iter().find(|(old, _)| lower.contains(old)) {
        return Some(format!("`{declared}`: the word here is {better}"));
    }
    if line.trim_start().contains("mod ") && is_vague(declared) {
        return Some(format!(
            "`{declared}` says nothing; name the one thing it holds"
        ));
    }
    // `get_ref` and its like are the names of the standard library.
    let standard = ["get_ref", "get_mut", "get_pin_mut", "get_unchecked"];
    let getter = line.trim_start().starts_with("pub ") && lower.starts_with("get_");
    (getter && !standard.contains(&declared)).then(|| format!("`{declared}`: no `get_` prefix"))
}

/// The name that a line declares with `fn`, `struct`, `enum`, `trait`, `type`, `const` or `mod`.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let words: Vec<&str> = line.split_whitespace().take(6).collect();
    let at = words
        .iter()
        .position(|word| ["fn", "struct", "enum", "trait", "type", "mod"].contains(word))?;
    // Only modifiers may stand in front: `let f = fn ..` and prose in strings declare nothing.
    let modifiers = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "async",
        "const",
        "unsafe",
        "extern",
    ];
    if !words[..at].iter().all(|word| modifiers.contains(word)) {
        return None;
    }
    let name = words.get(at + 1)?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
        .filter(|name| !name.is_empty())
}

fn is_vague(name: &str) -> bool {
    VAGUE.contains(&name)
}

/// Whether `line` has `word` with no letter or digit right before or after it.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let outside = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric());
        let path = word.contains('/');
        path || (outside(line[..at].chars().next_back())
            && outside(line[at + word.len()..].chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::{MOST_LINES, WORDS_ANYWHERE, WORDS_IN_CODE, declared, faults};

    #[test]
    fn a_plain_file_passes() {
        assert!(faults("crates/x/src/close.rs", "pub fn close() {}\n").is_empty());
    }

    #[test]
    fn long_files_fail() {
        let lines = "\n".repeat(MOST_LINES + 1);
        assert_eq!(faults("crates/x/src/close.rs", &lines).len(), 1);
        assert!(faults("docs/close.md", &lines).is_empty());
        assert_eq!(faults("ARCHITECTURE.md", &"\n".repeat(251)).len(), 1);
    }

    #[test]
    fn vague_names_fail() {
        assert_eq!(faults("crates/x/src/mod.rs", "").len(), 1);
        assert_eq!(faults("crates/x/src/helpers.rs", "").len(), 1);
        assert_eq!(
            faults("crates/x/src/close.rs", "pub(crate) mod common {").len(),
            1
        );
        assert_eq!(
            faults("crates/x/src/close.rs", "pub fn get_peer() {").len(),
            1
        );
        assert_eq!(
            faults("crates/x/src/close.rs", "pub struct TaskNursery;").len(),
            1
        );
        assert!(faults("crates/x/src/close.rs", "pub fn get_mut() {").is_empty());
    }

    #[test]
    fn forbidden_words_fail() {
        for word in WORDS_ANYWHERE.iter().chain(&WORDS_IN_CODE) {
            assert_eq!(faults("a/b.rs", &format!("a {word} b")).len(), 1, "{word}");
        }
        assert!(faults("a/b.md", WORDS_IN_CODE[0]).is_empty());
    }

    #[test]
    fn declarations_are_found() {
        assert_eq!(declared("    pub async fn send(&self)"), Some("send"));
        assert_eq!(declared("pub struct Sender<T> {"), Some("Sender"));
        assert_eq!(declared("let a = \"no fn here\";"), None);
        assert_eq!(declared("// fn comment"), None);
    }
}
