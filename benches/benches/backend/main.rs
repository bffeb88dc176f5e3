//! The backend crate against the runtimes below it: echo, streaming, tasks, timers, idle
//! connections; both ends in one process and one thread (async-std: its own threads), in
//! alternating rounds of one run.

mod bare_async_std;
mod bare_smol;
mod bare_tokio;
mod bowline_on;
mod measure;
mod scenarios;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bowline::backend::Backend;
use bowline_benches::allocations::CountingAllocator;
use bowline_benches::rounds::median;

use measure::Scenarios;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ROUNDS: usize = 9;
const ECHOES: usize = 20_000;
const STREAMED: usize = 128 << 20;
const TASKS: usize = 100_000;
const TIMERS: usize = 100_000;
const POLLS: usize = 200_000;
const CONNECTIONS: usize = 200;
const LOOKUPS: u32 = 1_000_000;

/// A runtime: alone, and below Bowline.
const RUNTIMES: [(&str, Scenarios, Scenarios); 3] = [
    ("tokio", bare_tokio::SCENARIOS, bowline_on::tokio::SCENARIOS),
    ("smol", bare_smol::SCENARIOS, bowline_on::smol::SCENARIOS),
    (
        "async-std",
        bare_async_std::SCENARIOS,
        bowline_on::async_std::SCENARIOS,
    ),
];

/// A row of the table: its name, digits after the point, and how it is measured.
type Measure = (&'static str, usize, fn(&Scenarios) -> f64);

const MEASURES: [Measure; 7] = [
    ("64-byte echo, p50, µs", 2, |entrant| {
        let mut latencies = (entrant.echo)(ECHOES);
        latencies.sort_unstable();
        latencies[ECHOES / 2].as_secs_f64() * 1e6
    }),
    ("one way, 64 KiB writes, MB/s", 0, |entrant| {
        STREAMED as f64 / 1e6 / (entrant.stream)(STREAMED).as_secs_f64()
    }),
    ("spawn and run a task, ns", 0, |entrant| {
        each((entrant.spawned)(TASKS), TASKS)
    }),
    ("arm and drop a sleep, ns", 0, |entrant| {
        each((entrant.timers)(TIMERS), TIMERS)
    }),
    ("poll an idle stream, ns", 1, |entrant| {
        each((entrant.idle_polls)(POLLS), POLLS)
    }),
    ("idle connection and its task, heap bytes", 0, |entrant| {
        (entrant.idle_heap)(CONNECTIONS) as f64
    }),
    ("allocations per echo", 3, |entrant| {
        (entrant.echo_allocations)(ECHOES) as f64 / ECHOES as f64
    }),
];

fn each(all: Duration, count: usize) -> f64 {
    all.as_secs_f64() * 1e9 / count as f64
}

/// Measures the rows whose name holds the first argument, all of them without one.
fn main() {
    let wanted = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let wanted = wanted.unwrap_or_default();
    let measured = |name: &str| name.contains(&wanted);
    let mut samples = vec![vec![[Vec::new(), Vec::new()]; MEASURES.len()]; RUNTIMES.len()];
    for round in 0..ROUNDS {
        for (row, (name, _, measure)) in MEASURES.iter().enumerate() {
            if !measured(name) {
                continue;
            }
            for (column, (_, bare, bowline)) in RUNTIMES.iter().enumerate() {
                // Each round starts with the other one.
                let entrants = [bare, bowline];
                for offset in 0..2 {
                    let index = (round + offset) % 2;
                    samples[column][row][index].push(measure(entrants[index]));
                }
            }
        }
        eprintln!("round {} of {ROUNDS}", round + 1);
    }
    println!("<!-- bench:backend -->");
    println!("| | runtime | bare | bowline | bowline / bare |");
    println!("|---|---|---|---|---|");
    for (row, (name, digits, _)) in MEASURES.iter().enumerate() {
        if !measured(name) {
            continue;
        }
        for (column, (runtime, _, _)) in RUNTIMES.iter().enumerate() {
            let [bare, bowline] = [0, 1].map(|index| median(&samples[column][row][index]));
            let ratio = if bare < 0.001 {
                "-".to_owned()
            } else {
                format!("{:.2}", bowline / bare)
            };
            println!("| {name} | {runtime} | {bare:.digits$} | {bowline:.digits$} | {ratio} |");
        }
    }
    println!("<!-- /bench:backend -->");
    print_lookups();
}

/// `Backend::current()`: not a comparison, so not in the table.
fn print_lookups() {
    let look_up = || {
        let start = Instant::now();
        for _ in 0..LOOKUPS {
            let _ = black_box(Backend::current());
        }
        each(start.elapsed(), LOOKUPS as usize)
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let foreign = builder.build().unwrap().block_on(async { look_up() });
    let inside = Backend::Tokio.block_on(async { look_up() });
    println!("Backend::current(): {inside:.1} ns inside, {foreign:.1} ns under a foreign tokio");
}
