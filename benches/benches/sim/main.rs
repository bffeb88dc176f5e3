//! What the simulator costs, beside what it should cost at most.
//!
//! Each row is the best of some rounds in one thread: a busy machine makes rounds longer, never
//! shorter.

mod scenarios;

use bowline_benches::allocations::{self, CountingAllocator};
use bowline_sim::{Keep, Report};
use scenarios::{cluster, echo_of_many, idle_connections, idle_hosts, idle_tasks, small, trivial};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ROUNDS: usize = 7;

fn main() {
    let only = match &std::env::args().collect::<Vec<_>>()[..] {
        [_, flag, only] if flag == "--only" => Some(only.clone()),
        _ => None,
    };
    println!("<!-- bench:sim -->");
    println!("| | measured | target |");
    println!("|---|---|---|");
    for (name, target, row) in ROWS {
        if only.as_ref().is_none_or(|only| only == name) {
            println!("| {name} | {} | {target} |", row());
        }
    }
    println!("<!-- /bench:sim -->");
}

type Row = fn() -> String;

const ROWS: [(&str, &str, Row); 10] = [
    ("polls of trivial tasks", ">= 2 million/s", polls),
    (
        "events of an echo over 100 connections",
        ">= 500 000/s",
        || events(Keep::Tail(10_000)),
    ),
    ("the same with a full trace", ">= 150 000/s", || {
        events(Keep::Full)
    }),
    (
        "a world of 3 hosts, built and torn down",
        "<= 100 us",
        world,
    ),
    (
        "1 000 seeds of an echo of 3 hosts with faults",
        "<= 10 s",
        seeds,
    ),
    (
        "virtual time of 10 hosts at 100 calls/s",
        ">= 1 000 times real time",
        speed,
    ),
    ("bytes of an idle host", "<= 8 192", || {
        per(1_000, || idle_hosts(2_000), || idle_hosts(1_000))
    }),
    ("bytes of an idle end of a connection", "<= 1 024", || {
        per(
            4_000,
            || idle_connections(3_000),
            || idle_connections(1_000),
        )
    }),
    ("bytes of a task, without its future", "<= 512", || {
        per(10_000, || idle_tasks(20_000), || idle_tasks(10_000))
    }),
    (
        "10 000 hosts in one world, built and run",
        "it works",
        many_hosts,
    ),
];

/// The best of the rounds: what it came to, and how long it took.
fn best<T>(rounds: usize, mut run: impl FnMut() -> T) -> (T, Duration) {
    let rounds = (0..rounds).map(|_| {
        let start = Instant::now();
        let came_to = run();
        (came_to, start.elapsed())
    });
    let best = rounds.min_by_key(|round| round.1);
    best.expect("there are rounds")
}

fn rate(count: u64, time: Duration) -> String {
    let rate = count as f64 / time.as_secs_f64();
    match rate {
        1e6.. => format!("{:.2} million/s", rate / 1e6),
        _ => format!("{rate:.0}/s"),
    }
}

fn done(world: &bowline_sim::Builder) -> Report {
    world.run().expect("the world runs to its end")
}

fn polls() -> String {
    let world = trivial(200_000);
    let (report, time) = best(ROUNDS, || done(&world));
    rate(report.polls, time)
}

fn events(keep: Keep) -> String {
    let world = echo_of_many(100, 50).trace(keep);
    let (report, time) = best(ROUNDS, || done(&world));
    rate(report.events, time)
}

fn world() -> String {
    let worlds = 1_000;
    let ((), time) = best(ROUNDS, || {
        for seed in 0..worlds {
            drop(small().seed(seed).build());
        }
    });
    format!("{:.1} us", time.as_secs_f64() * 1e6 / worlds as f64)
}

fn seeds() -> String {
    let (crashes, time) = best(1, || {
        (0..1_000)
            .map(|seed| done(&scenarios::faulty().seed(seed)).crashes)
            .sum::<u64>()
    });
    format!("{:.2} s, {crashes} crashes", time.as_secs_f64())
}

fn speed() -> String {
    let world = cluster(10, 60);
    let (report, time) = best(ROUNDS, || done(&world));
    let speed = report.virtual_time.as_secs_f64() / time.as_secs_f64();
    format!("{speed:.0} times")
}

/// What one of `count` more things takes.
fn per(
    count: i64,
    more: impl Fn() -> bowline_sim::Builder,
    fewer: impl Fn() -> bowline_sim::Builder,
) -> String {
    let held = |builder: bowline_sim::Builder| {
        let before = allocations::live_bytes();
        let mut world = builder.trace(Keep::Off).build();
        let idle = world.run_for(Duration::from_secs(60));
        idle.expect("the world is idle");
        allocations::live_bytes() - before
    };
    let bytes = (held(more()) - held(fewer())) / count;
    format!("{bytes}")
}

fn many_hosts() -> String {
    let world = idle_hosts(10_000).trace(Keep::Off);
    let (polls, time) = best(1, || {
        let mut world = world.build();
        let idle = world.run_for(Duration::from_secs(60));
        idle.expect("the world is idle");
        world.events()
    });
    format!("{:.2} s, {polls} events", time.as_secs_f64())
}
