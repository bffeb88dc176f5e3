//! `cargo xtask bench`: runs a benchmark and keeps its table.
//!
//! A benchmark prints a Markdown table between the lines `<!-- bench:NAME -->` and
//! `<!-- /bench:NAME -->`; the same two lines in `docs/performance.md` hold the last one kept.

use std::path::Path;

use crate::interop;
use crate::process::{Outcome, Step};
use crate::tree;

const PAGE: &str = "docs/performance.md";

/// As much as the allocator of glibc keeps instead of giving it back to the system, in bytes: all
/// of it. The heap of a server does not fall to nothing between two measurements.
const KEPT: &str = "1073741824";

/// Runs `name` and copies its table.
///
/// # Errors
/// The benchmark fails, prints no table, or the page has no place for it.
pub(crate) fn run(root: &Path, name: &str) -> Outcome {
    let bench = |program| {
        Step::cargo("bench --package bowline-benches --bench")
            .argument(program)
            .set("MALLOC_TRIM_THRESHOLD_", KEPT)
    };
    let step = match name {
        "easynetwork" => bench(name).set("EASYNETWORK_PYTHON", interop::python(root)?),
        "serializers" => bench("codecs")
            .arguments(&["--", "--serializers"])
            .set("EASYNETWORK_PYTHON", interop::python(root)?),
        "instructions" => {
            let valgrind = Step::program("valgrind").argument("--version");
            if !valgrind.succeeds(root) {
                println!("bench: SKIPPED, nothing was counted: valgrind is not installed");
                return Ok(());
            }
            bench("codecs").arguments(&["--", "--instructions"])
        }
        _ => bench(name),
    };
    let lines = step.run_keeping(root, |_| true)?;
    let output = lines.join("\n");
    let (_, table, _) = between(&output, name).ok_or_else(|| format!("{name} printed no table"))?;
    let page = root.join(PAGE);
    let old = tree::read(&page)?;
    let (before, _, after) =
        between(&old, name).ok_or_else(|| format!("{PAGE} has no markers of {name}"))?;
    tree::write(&page, &format!("{before}\n{}\n{after}", table.trim()))?;
    println!("bench: the table of {name} is in {PAGE}");
    Ok(())
}

/// The text up to and with the first marker, that between the markers, and the rest.
fn between<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let first = format!("<!-- bench:{name} -->");
    let last = format!("<!-- /bench:{name} -->");
    let start = text.find(&first)? + first.len();
    let end = start + text[start..].find(&last)?;
    Some((&text[..start], &text[start..end], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn the_table_is_found() {
        let text = "a\n<!-- bench:rpc -->\n| t |\n<!-- /bench:rpc -->\nb";
        let (before, table, after) = between(text, "rpc").unwrap();
        assert_eq!(before, "a\n<!-- bench:rpc -->");
        assert_eq!(table.trim(), "| t |");
        assert_eq!(after, "<!-- /bench:rpc -->\nb");
        assert!(between(text, "other").is_none());
    }
}
