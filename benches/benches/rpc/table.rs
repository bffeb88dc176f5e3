//! Rows of every system and the ratios to each of its rivals.

use crate::SYSTEMS;

/// Prints the head of a table.
pub(crate) fn head(what: &str) {
    let rivals = &SYSTEMS[..SYSTEMS.len() - 1];
    let ratios: Vec<String> = rivals.iter().map(|rival| format!("/ {rival}")).collect();
    println!(
        "| {what} | {} | {} | target |",
        SYSTEMS.join(" | "),
        ratios.join(" | ")
    );
    println!("|{}", "---|".repeat(SYSTEMS.len() + rivals.len() + 2));
}

/// Prints a row; the last value is ours.
pub(crate) fn row(name: &str, values: [f64; SYSTEMS.len()], digits: usize, target: &str) {
    let [rivals @ .., ours] = values;
    let cells: Vec<String> = values
        .iter()
        .map(|value| format!("{value:.digits$}"))
        .collect();
    let ratios: Vec<String> = rivals.iter().map(|rival| over(ours, *rival)).collect();
    println!(
        "| {name} | {} | {} | {target} |",
        cells.join(" | "),
        ratios.join(" | ")
    );
}

/// What `ours` is of `rival`.
pub(crate) fn over(ours: f64, rival: f64) -> String {
    if rival.abs() < 0.01 {
        "-".to_owned()
    } else {
        format!("{:.2}", ours / rival)
    }
}
