//! The lines of `docs/behaviours/*.md`.

use std::collections::BTreeSet;

/// Marks of a line that no test has to name.
const MARKS: [&str; 2] = ["(not built)", "(later)"];

/// One behaviour: `- **TG4** text`.
#[derive(Debug, PartialEq)]
pub(crate) struct Promise {
    /// Letters and a number.
    pub(crate) id: String,
    /// Marked `(not built)` or `(later)`.
    pub(crate) open: bool,
    /// `file:line`.
    pub(crate) place: String,
}

/// Every behaviour of every crate.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// In the order of the files.
    pub(crate) promises: Vec<Promise>,
    /// Ids given twice, lines that do not parse.
    pub(crate) complaints: Vec<String>,
}

impl Ledger {
    /// Reads one file.
    pub(crate) fn add(&mut self, file: &str, text: &str) {
        for (number, line) in (1..).zip(text.lines()) {
            let place = format!("{file}:{number}");
            let Some(rest) = line.strip_prefix("- **") else {
                continue;
            };
            let Some((id, promise)) = rest.split_once("** ") else {
                self.complaints
                    .push(format!("{place}: a promise is `- **ID** text`"));
                continue;
            };
            if split_id(id).is_none_or(|(_, rest)| !rest.is_empty()) {
                self.complaints.push(format!("{place}: `{id}` is no id"));
            } else if self.promises.iter().any(|known| known.id == id) {
                self.complaints
                    .push(format!("{place}: {id} has a line already"));
            } else {
                self.promises.push(Promise {
                    id: id.to_owned(),
                    open: is_open(promise),
                    place,
                });
            }
        }
    }

    /// The letters that ids begin with.
    pub(crate) fn prefixes(&self) -> BTreeSet<String> {
        self.promises
            .iter()
            .map(|promise| letters(&promise.id).to_owned())
            .collect()
    }

    /// How many lines are built, and how many are marked as open.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let open = self.promises.iter().filter(|promise| promise.open).count();
        (self.promises.len() - open, open)
    }
}

/// Clears the mark of each line whose id is `named`, and sets it on each other one without a mark.
pub(crate) fn remark(text: &str, named: impl Fn(&str) -> bool) -> String {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        let id = line
            .strip_prefix("- **")
            .and_then(|rest| rest.split_once("** "))
            .map(|(id, _)| id);
        match id {
            Some(id) if named(id) => {
                let bare = MARKS
                    .iter()
                    .fold(line, |line, mark| line.trim_end().trim_end_matches(mark));
                result.push_str(bare.trim_end());
            }
            Some(_) if !is_open(line) => {
                result.push_str(line.trim_end());
                result.push_str(" (not built)");
            }
            _ => result.push_str(line),
        }
        result.push('\n');
    }
    result
}

/// Splits `TG4, rest` into `TG4` and `, rest`; `None` if the text does not begin with an id.
pub(crate) fn split_id(text: &str) -> Option<(&str, &str)> {
    let letters = letters(text).len();
    let digits = text[letters..]
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    (letters > 0 && digits > 0).then(|| text.split_at(letters + digits))
}

/// The capital letters at the start.
pub(crate) fn letters(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_uppercase).count()]
}

fn is_open(line: &str) -> bool {
    MARKS.iter().any(|mark| line.trim_end().ends_with(mark))
}

#[cfg(test)]
mod tests {
    use super::{Ledger, remark, split_id};

    #[test]
    fn lines_are_read_and_faults_reported() {
        let mut ledger = Ledger::default();
        ledger.add("a.md", "# T\n- **ZA1** One.\n- **ZA2** Two. (later)\n- **ZA1** Again.\n- **z1** Bad.\n- **ZA3 x\n");
        assert_eq!(ledger.counts(), (1, 1));
        assert_eq!(ledger.complaints.len(), 3);
        assert_eq!(ledger.promises[1].place, "a.md:3");
    }

    #[test]
    fn marks_follow_the_tests() {
        let old = "- **ZA1** One. (not built)\n- **ZA2** Two.\n- **ZA3** Three. (later)\ntext\n";
        let new = "- **ZA1** One.\n- **ZA2** Two. (not built)\n- **ZA3** Three. (later)\ntext\n";
        assert_eq!(remark(old, |id| id == "ZA1"), new);
    }

    #[test]
    fn ids_are_letters_and_digits() {
        assert_eq!(split_id("TG4, x"), Some(("TG4", ", x")));
        assert_eq!(split_id("TG"), None);
        assert_eq!(split_id("4"), None);
        assert_eq!(split_id("tg4"), None);
    }
}
