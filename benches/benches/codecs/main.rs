//! Our codecs against tokio-util's and against plain serde_json, over memory buffers, in rounds
//! that take turns. Each row is the medians of both and how many times as much ours does in the
//! same time.

mod decoding;
mod encoding;
mod messages;

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

fn main() {
    let only = match &std::env::args().collect::<Vec<_>>()[..] {
        [_, flag, only] if flag == "--only" => Some(only.clone()),
        _ => None,
    };
    let rows = decoding::rows()
        .into_iter()
        .chain(encoding::rows())
        .chain(messages::rows());
    println!("<!-- bench:codecs -->");
    println!(
        "| ns per frame | peer | bowline | times the peer's rate | target | allocations of ours |"
    );
    println!("|---|---|---|---|---|---|");
    for row in rows.filter(|row| only.as_ref().is_none_or(|only| only == row.name)) {
        println!("{}", measured(row));
    }
    println!("<!-- /bench:codecs -->");
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
