//! Items of a call: Bowline beside tonic's server streaming, client and server each in a process of its
//! own, in alternating rounds.

use std::time::Instant;

use bowline_benches::rounds::median;

use crate::table::over;
use crate::{ROUNDS, bowline_echo, runtime, start, tonic_echo};

/// Items of a call.
const ITEMS: u64 = 300_000;
/// Bytes of an item.
pub(crate) const ITEM: usize = 32;

const SYSTEMS: [&str; 2] = ["tonic", "bowline"];

/// Prints how many items come in a second, and the ratio.
pub(crate) fn print(server_cpu: usize) {
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for offset in 0..SYSTEMS.len() {
            let index = (round + offset) % SYSTEMS.len();
            samples[index].push(items_per_second(SYSTEMS[index], server_cpu));
        }
    }
    let [tonic, ours] = samples.each_ref().map(|samples| median(samples));
    println!(
        "| items of {ITEM} bytes from the executor, one call | tonic | bowline | / tonic | target |"
    );
    println!("|---|---|---|---|---|");
    println!(
        "| items/s | {tonic:.0} | {ours:.0} | {} | >= 3 tonic |",
        over(ours, tonic)
    );
}

fn items_per_second(system: &str, server_cpu: usize) -> f64 {
    let server = start(system, server_cpu);
    let port = server.port();
    let take = |items| match system {
        "tonic" => runtime().block_on(tonic_echo::items(port, items)),
        _ => bowline_echo::take_items(port, items),
    };
    // Warm.
    assert_eq!(take(ITEMS / 10), ITEMS / 10);
    let start = Instant::now();
    assert_eq!(take(ITEMS), ITEMS);
    ITEMS as f64 / start.elapsed().as_secs_f64()
}
