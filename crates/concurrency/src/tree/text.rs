//! The text form of a tree.

use super::{EntryKind, EntryState, MOST, Tree, TreeEntry};
use std::fmt::{self, Write};
use std::time::Duration;

/// The left column is at most so wide, unless a line needs more.
const COLUMN: usize = 64;

pub(super) fn write(tree: &Tree, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let lines: Vec<(String, usize)> = left_column(tree);
    let width = lines.iter().map(|(_, width)| *width);
    let width = width.filter(|width| *width <= COLUMN).max().unwrap_or(0);
    for (entry, (left, used)) in tree.entries.iter().zip(&lines) {
        if entry.id > 0 {
            f.write_char('\n')?;
        }
        let right = right_column(entry)?;
        f.write_str(left)?;
        if !right.is_empty() {
            let pad = width.saturating_sub(*used) + 2;
            write!(f, "{:pad$}{right}", "")?;
        }
    }
    if tree.truncated {
        write!(f, "\n(there is more than {MOST} entries)")?;
    }
    Ok(())
}

/// Branches, kind, name and place of every entry, each with its width.
fn left_column(tree: &Tree) -> Vec<(String, usize)> {
    // What the lines below an entry begin with, by its id.
    let mut trunks: Vec<String> = Vec::with_capacity(tree.entries.len());
    let mut lines = Vec::with_capacity(tree.entries.len());
    for entry in &tree.entries {
        let (mut line, trunk) = match entry.parent {
            None => (String::new(), String::new()),
            Some(parent) => {
                let above = &trunks[parent];
                let last = tree.entries[parent].children.last() == Some(&entry.id);
                let (branch, trunk) = if last {
                    ("└ ", "  ")
                } else {
                    ("├ ", "│ ")
                };
                (format!("{above}{branch}"), format!("{above}{trunk}"))
            }
        };
        trunks.push(trunk);
        line.push_str(&title(entry));
        let width = line.chars().count();
        lines.push((line, width));
    }
    lines
}

fn title(entry: &TreeEntry) -> String {
    let name = entry.name.escape_debug();
    let mut title = entry.kind.as_str().to_owned();
    match (entry.kind, entry.task) {
        (EntryKind::Task, Some(task)) if entry.name.is_empty() => {
            title.push_str(&format!(" {}", task.as_u64()));
        }
        (EntryKind::Task, _) => title.push_str(&format!(" {name}")),
        _ if entry.name.is_empty() => {}
        _ => title.push_str(&format!(" \"{name}\"")),
    }
    if let (EntryKind::Root, Some(backend)) = (entry.kind, entry.backend) {
        title.push_str(&format!(" {}", backend.name()));
    }
    title.push_str(&format!(
        " {}:{}",
        entry.location.file(),
        entry.location.line()
    ));
    title
}

fn right_column(entry: &TreeEntry) -> Result<String, fmt::Error> {
    let mut parts = Vec::new();
    let quiet = matches!(entry.kind, EntryKind::Root | EntryKind::Group)
        && matches!(entry.state, EntryState::Running | EntryState::Parked);
    if !quiet {
        parts.push(match entry.waiting_on {
            Some(what) => format!("{} on {what}", entry.state.as_str()),
            None => entry.state.as_str().to_owned(),
        });
    }
    if entry.kind == EntryKind::Group {
        parts.push(format!("children {}", entry.tasks));
    }
    match entry.deadline {
        Some(left) => parts.push(format!("deadline {}", span(left))),
        None if entry.kind == EntryKind::Group => parts.push("deadline never".to_owned()),
        None => {}
    }
    if let Some(cause) = &entry.cause {
        let mut said = format!("cancelled: {:?}", cause.kind());
        if !cause.reason().is_empty() {
            write!(said, " {:?}", cause.reason())?;
        }
        if !cause.by().is_outside() {
            write!(said, " by {}", cause.by())?;
        }
        parts.push(said);
    }
    if entry.kind == EntryKind::Task {
        parts.push(format!("polls {}", entry.polls));
        parts.push(format!("wakes {}", entry.wakes));
    }
    if !entry.busy.is_zero() {
        parts.push(format!("busy {}", span(entry.busy)));
    }
    if let Some(age) = entry.age {
        parts.push(format!("age {}", span(age)));
    }
    Ok(parts.join("  "))
}

fn span(span: Duration) -> String {
    let nanos = span.as_nanos();
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}us", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{}ms", nanos / 1_000_000),
        // Cut off, not rounded, as the others are.
        _ => format!("{}.{}s", nanos / 1_000_000_000, nanos / 100_000_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::span;
    use std::time::Duration;

    #[test]
    fn spans_have_the_unit_that_fits() {
        let said = [0, 999, 1_000, 4_999_999, 1_250_000_000, 12_000_000_000];
        let said = said.map(|nanos| span(Duration::from_nanos(nanos)));
        assert_eq!(said, ["0ns", "999ns", "1us", "4ms", "1.2s", "12.0s"]);
    }
}
