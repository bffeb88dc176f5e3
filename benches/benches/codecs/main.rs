//! Our codecs against tokio-util's and against plain serde_json, over memory buffers, in rounds
//! that take turns. Each row is the medians of both and how many times as much ours does in the
//! same time.

mod decoding;
mod encoding;
mod instructions;
mod messages;
mod people;
mod serializers;

use std::process::ExitCode;

use bowline_benches::allocations::{Counting, CountingWhenAsked};
use bowline_benches::rounds::side_by_side;

#[global_allocator]
static ALLOCATOR: CountingWhenAsked = CountingWhenAsked;

const ROUNDS: usize = 41;

/// One row: the same work, done by a peer and by us.
struct Row {
    name: &'static str,
    target: &'static str,
    /// Frames of one round of each.
    frames: u64,
    peer: Box<dyn FnMut()>,
    ours: Box<dyn FnMut()>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let only = match arguments[..] {
        ["--run", times, ref words @ ..] => {
            instructions::run(times.parse().expect("a number"), words);
            return ExitCode::SUCCESS;
        }
        // Cargo adds `--bench`.
        ["--instructions", ..] => {
            return match instructions::count_all() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            };
        }
        ["--serializers", ..] => {
            serializers::compare();
            return ExitCode::SUCCESS;
        }
        ["--only", only, ..] => Some(only),
        _ => None,
    };
    println!("<!-- bench:codecs -->");
    println!(
        "| ns per frame | peer | bowline | times the peer's rate | target | allocations of ours |"
    );
    println!("|---|---|---|---|---|---|");
    for row in rows().filter(|row| only.is_none_or(|only| only == row.name)) {
        println!("{}", measured(row));
    }
    println!("<!-- /bench:codecs -->");
    ExitCode::SUCCESS
}

fn rows() -> impl Iterator<Item = Row> {
    decoding::rows()
        .into_iter()
        .chain(encoding::rows())
        .chain(messages::rows())
}

fn measured(mut row: Row) -> String {
    // Warm, and past the growth of every buffer.
    (row.peer)();
    (row.ours)();
    let counting = Counting::start();
    (row.ours)();
    let allocated = counting.finish() as f64 / row.frames as f64;
    let (peer, ours) = side_by_side(ROUNDS, &mut row.peer, &mut row.ours);
    let each = |time: std::time::Duration| time.as_secs_f64() * 1e9 / row.frames as f64;
    let (peer, ours) = (each(peer), each(ours));
    format!(
        "| {} | {peer:.1} | {ours:.1} | {:.2} | {} | {allocated:.3} |",
        row.name,
        peer / ours,
        row.target,
    )
}
