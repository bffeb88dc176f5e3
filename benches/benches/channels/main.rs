//! Channels of Bowline against those of others, all in one process, in alternating rounds.

mod floor;
mod flow;
mod memory;
mod peers;
mod select;

use bowline_benches::allocations::CountingAllocator;
use bowline_benches::rounds::median;

use flow::Workers::{One, Two};
use flow::{flow, pair};
use peers::{
    AsyncChannel, Bowline, CrossfireMpmc, CrossfireSpsc, CrossfireUnbounded, Entrant, Flume,
    Futures, Kanal, Tokio, TokioUnbounded, UNBOUNDED,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ROUNDS: usize = 7;
const PEERS: [&str; 6] = [
    "flume",
    "kanal",
    "crossfire",
    "tokio",
    "async-channel",
    "futures",
];

/// One entrant of a row.
struct Run {
    name: &'static str,
    lossless: bool,
    measure: Box<dyn Fn() -> Option<f64>>,
    samples: Vec<f64>,
}

/// One line of the table.
struct Row {
    name: &'static str,
    /// The most that the ratio to the fastest lossless peer should be.
    target: f64,
    runs: Vec<Run>,
}

fn run(name: &'static str, lossless: bool, measure: impl Fn() -> Option<f64> + 'static) -> Run {
    Run {
        name,
        lossless,
        measure: Box::new(measure),
        samples: Vec::new(),
    }
}

/// A row with every entrant, each measured by the generic function.
macro_rules! row {
    ($name:expr, $target:expr, $($measure:tt)*) => {
        Row {
            name: $name,
            target: $target,
            runs: row!(@runs ($($measure)*)
                Bowline Flume Kanal CrossfireSpsc CrossfireMpmc CrossfireUnbounded Tokio
                TokioUnbounded AsyncChannel Futures),
        }
    };
    (@runs $measure:tt $($entrant:ident)*) => {
        vec![$(row!(@run $measure $entrant)),*]
    };
    (@run ($measure:ident($($argument:expr),*)) $entrant:ident) => {
        run($entrant::NAME, $entrant::LOSSLESS, || $measure::<$entrant>($($argument),*))
    };
}

fn rows() -> Vec<Row> {
    const SLOW: usize = 100_000;
    const FAST: usize = 500_000;
    let mut rows = vec![
        row!("1 thread, 1 to 1, cap 0", 0.5, flow(One, 1, 1, 0, SLOW)),
        row!("1 thread, 1 to 1, cap 1", 0.5, flow(One, 1, 1, 1, SLOW)),
        row!("1 thread, 1 to 1, cap 128", 0.9, flow(One, 1, 1, 128, FAST)),
        row!(
            "1 thread, 1 to 1, unbounded",
            0.9,
            flow(One, 1, 1, UNBOUNDED, FAST)
        ),
        row!("1 thread, 4 to 4, cap 128", 0.9, flow(One, 4, 4, 128, FAST)),
        row!("2 workers, 1 to 1, cap 0", 0.5, flow(Two, 1, 1, 0, SLOW)),
        row!("2 workers, 1 to 1, cap 1", 0.5, flow(Two, 1, 1, 1, SLOW)),
        row!(
            "2 workers, 1 to 1, cap 128",
            0.9,
            flow(Two, 1, 1, 128, FAST)
        ),
        row!("2 workers, 4 to 4, cap 1", 0.5, flow(Two, 4, 4, 1, SLOW)),
        row!(
            "2 workers, 4 to 4, cap 128",
            0.9,
            flow(Two, 4, 4, 128, FAST)
        ),
        row!("try_send and try_recv, cap 128", 0.9, pair(128, FAST)),
    ];
    rows.push(Row {
        name: "select over 4, all empty, cap 1",
        target: 0.6,
        runs: vec![
            run("bowline", true, || select::bowline(SLOW)),
            run("flume", true, || select::peer::<Flume>(SLOW)),
            run("async-channel", true, || select::peer::<AsyncChannel>(SLOW)),
            run("tokio", true, || select::peer::<Tokio>(SLOW)),
            run("futures", true, || select::peer::<Futures>(SLOW)),
        ],
    });
    rows
}

/// Rows in which Bowline is compared with something of one kind only.
fn special_rows() -> Vec<(&'static str, &'static str, f64, Vec<Run>)> {
    const VALUES: usize = 1_000_000;
    vec![
        (
            "`local`, 1 to 1, cap 128",
            "queue without atomics",
            1.2,
            vec![
                run("bowline", true, || Some(flow::local_flow(128, VALUES))),
                run("floor", true, || Some(flow::floor_flow(128, VALUES))),
            ],
        ),
        (
            "`send_all` and `recv_many`, cap 128",
            "`send` and `recv`",
            0.25,
            vec![
                run("bowline", true, || Some(flow::batch_flow(128, VALUES))),
                run("one by one", true, || {
                    flow::<Bowline>(One, 1, 1, 128, VALUES)
                }),
            ],
        ),
    ]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let only = arguments
        .iter()
        .position(|argument| argument == "--only")
        .and_then(|at| arguments.get(at + 1));
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only.as_str()));

    let mut rows = rows();
    rows.retain(|row| wanted(row.name));
    for row in &mut rows {
        measure(&mut row.runs);
        eprintln!("{}: {}", row.name, summary(&row.runs));
    }
    let mut special = special_rows();
    special.retain(|row| wanted(row.0));
    for (name, _, _, runs) in &mut special {
        measure(runs);
        eprintln!("{name}: {}", summary(runs));
    }
    println!("<!-- bench:channels -->");
    print_rows(&rows);
    print_special(&special);
    if only.is_none() {
        print_memory();
    }
    println!("<!-- /bench:channels -->");
}

/// All entrants in turns, each round started by another.
fn measure(runs: &mut Vec<Run>) {
    runs.retain(|run| (run.measure)().is_some());
    for round in 0..ROUNDS {
        for offset in 0..runs.len() {
            let index = (round + offset) % runs.len();
            let run = &mut runs[index];
            run.samples.extend((run.measure)());
        }
    }
}

fn summary(runs: &[Run]) -> String {
    let cells: Vec<String> = runs
        .iter()
        .map(|run| format!("{} {:.1}", run.name, median(&run.samples)))
        .collect();
    cells.join(", ")
}

fn print_rows(rows: &[Row]) {
    println!(
        "| ns per value | bowline | {} | to the fastest lossless | target | to the fastest | target |",
        PEERS.join(" | ")
    );
    println!("|---|{}", "---|".repeat(PEERS.len() + 5));
    for row in rows {
        let of = |name: &str| row.runs.iter().find(|run| run.name == name);
        let ours = median(&of("bowline").expect("it takes part").samples);
        let fastest = |any: bool| {
            row.runs
                .iter()
                .filter(|run| run.name != "bowline" && (any || run.lossless))
                .map(|run| median(&run.samples))
                .fold(f64::INFINITY, f64::min)
        };
        let cells: Vec<String> = PEERS
            .iter()
            .map(|peer| {
                of(peer).map_or("-".to_owned(), |run| format!("{:.1}", median(&run.samples)))
            })
            .collect();
        println!(
            "| {} | {ours:.1} | {} | {:.2} | {} | {:.2} | 1.0 |",
            row.name,
            cells.join(" | "),
            ours / fastest(false),
            row.target,
            ours / fastest(true),
        );
    }
}

fn print_special(rows: &[(&str, &str, f64, Vec<Run>)]) {
    println!("\n| ns per value | bowline | compared with | | ratio | target |");
    println!("|---|---|---|---|---|---|");
    for (name, against, target, runs) in rows {
        let (ours, theirs) = (median(&runs[0].samples), median(&runs[1].samples));
        println!(
            "| {name} | {ours:.1} | {against} | {theirs:.1} | {:.2} | {target} |",
            ours / theirs
        );
    }
}

fn print_memory() {
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), |bytes| format!("{bytes:.0}"));
    println!("\n| bytes | bowline | flume | kanal | crossfire | tokio | async-channel | target |");
    println!("|---|---|---|---|---|---|---|---|");
    for (name, capacity) in [("idle, cap 1", 1), ("idle, cap 128", 128)] {
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | 200 |",
            cell(memory::idle::<Bowline>(capacity)),
            cell(memory::idle::<Flume>(capacity)),
            cell(memory::idle::<Kanal>(capacity)),
            cell(memory::idle::<CrossfireSpsc>(capacity)),
            cell(memory::idle::<Tokio>(capacity)),
            cell(memory::idle::<AsyncChannel>(capacity)),
        );
    }
    println!(
        "| unbounded, after 10 000 values came and went | {} | {} | {} | {} | {} | {} | 1024 |",
        cell(memory::drained::<Bowline>()),
        cell(memory::drained::<Flume>()),
        cell(memory::drained::<Kanal>()),
        cell(memory::drained::<CrossfireUnbounded>()),
        cell(memory::drained::<TokioUnbounded>()),
        cell(memory::drained::<AsyncChannel>()),
    );
    let per_value: Vec<String> = [0, 1, 128]
        .iter()
        .map(|capacity| format!("{:.4}", memory::per_value(*capacity)))
        .collect();
    println!(
        "\nAllocations per value, 4 to 4, at capacity 0, 1 and 128: {}.",
        per_value.join(", ")
    );
}
