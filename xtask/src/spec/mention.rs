//! Ids in the comments of tests.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{letters, split_id};

/// Which ids the tests name.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    /// Id, and the first place that names it.
    pub(crate) named: BTreeMap<String, String>,
    /// Ranges.
    pub(crate) complaints: Vec<String>,
}

impl Mentions {
    /// Reads the `//` comments of one file; only ids with one of `prefixes` count.
    pub(crate) fn add(&mut self, file: &str, text: &str, prefixes: &BTreeSet<String>) {
        for (number, line) in (1..).zip(text.lines()) {
            let Some(mut rest) = comment(line) else {
                continue;
            };
            let place = format!("{file}:{number}");
            while let Some((id, after)) = split_id(rest) {
                if !prefixes.contains(letters(id)) || !ends_word(after) {
                    break;
                }
                self.named
                    .entry(id.to_owned())
                    .or_insert_with(|| place.clone());
                let tail = after.trim_start_matches([',', ';', ' ']);
                let tail = tail.strip_prefix("and ").unwrap_or(tail);
                if is_range(after, prefixes) {
                    self.complaints
                        .push(format!("{place}: a range; name each id"));
                    break;
                }
                rest = tail;
            }
        }
    }
}

/// The text of a plain `//` comment on this line, also of one behind code; not of a doc comment.
fn comment(line: &str) -> Option<&str> {
    let (_, text) = line.split_once("//")?;
    (!text.starts_with(['/', '!'])).then(|| text.trim_start())
}

fn ends_word(after: &str) -> bool {
    !after.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

/// `1 to X5`, `1-X5`, `1..X5`, `1-5`.
fn is_range(after: &str, prefixes: &BTreeSet<String>) -> bool {
    let trimmed = after.trim_start();
    ["to ", "through ", "..", "-", "\u{2013}"]
        .iter()
        .any(|sign| {
            trimmed.strip_prefix(sign).is_some_and(|rest| {
                let rest = rest.trim_start_matches(['=', '.', ' ']);
                let number = rest.starts_with(|letter: char| letter.is_ascii_digit());
                let id = split_id(rest).is_some_and(|(id, _)| prefixes.contains(letters(id)));
                id || (number && !after.starts_with(' '))
            })
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Mentions;

    fn named(text: &str) -> (Vec<String>, usize) {
        let prefixes = BTreeSet::from(["ZA".to_owned(), "Z".to_owned()]);
        let mut mentions = Mentions::default();
        mentions.add("t.rs", text, &prefixes);
        (
            mentions.named.into_keys().collect(),
            mentions.complaints.len(),
        )
    }

    #[test]
    fn leading_ids_of_plain_comments_count() {
        assert_eq!(
            named("// ZA1\n    // ZA2, Z3: because").0,
            ["Z3", "ZA1", "ZA2"]
        );
        assert_eq!(named("case(one), // ZA1 and ZA2").0, ["ZA1", "ZA2"]);
    }

    #[test]
    fn other_text_does_not() {
        assert!(
            named("/// ZA1\n//! ZA1\n// see ZA1\n// QX1\n// ZA1x\n// Z\nZA1")
                .0
                .is_empty()
        );
    }

    #[test]
    fn ranges_are_refused() {
        for range in ["// ZA1 to ZA4", "// ZA1-ZA4", "// ZA1..ZA4", "// ZA1-4"] {
            assert_eq!(named(range).1, 1, "{range}");
        }
        assert_eq!(named("// ZA1 - the first\n// ZA1 to the end").1, 0);
    }
}
