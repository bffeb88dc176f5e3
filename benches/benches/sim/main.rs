//! What the simulator costs, beside what it should cost at most, and beside turmoil.
//!
//! A world turns in one thread, and what is taken is that thread's processor time. Each row is the
//! best of some rounds. Rounds that are compared take turns, and their ratio is that of the medians.

mod cluster;
mod scenarios;
mod turmoil_echo;

use bowline_benches::allocations::{self, CountingAllocator};
use bowline_benches::rounds::{median, side_by_side, timed};
use bowline_sim::{Builder, Keep, Link, Report};
use cluster::cluster;
use scenarios::{echo_beside, echo_of_many, echo_with_pauses, small, trivial};
use scenarios::{idle_connections, idle_hosts, idle_tasks, notes};
use std::time::Duration;

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

const ROWS: [(&str, &str, Row); 16] = [
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
        "the same beside 10 000 idle hosts, as a ratio",
        "1.0, apart from caches",
        linear,
    ),
    ("an event written and hashed", "<= 20 ns hashed", written),
    (
        "allocations of an event of the echo",
        "0 amortised",
        allocated,
    ),
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
        "virtual time of 10 hosts with 100 RPC calls/s",
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
        "10 000 hosts in one world, built, run and torn down",
        "it works",
        || large(&idle_hosts(10_000)),
    ),
    ("100 000 connections in one world", "it works", || {
        large(&idle_connections(100_000))
    }),
    (
        "time of turmoil for the echo of 100 connections, as a ratio",
        "-",
        || beside_turmoil(100, 50, Duration::ZERO),
    ),
    (
        "the same with 10 connections that call once a second",
        "-",
        || beside_turmoil(10, 60, Duration::from_secs(1)),
    ),
];

/// The best of the rounds: what it came to, and how long it took.
fn best<T>(rounds: usize, mut run: impl FnMut() -> T) -> (T, Duration) {
    let rounds = (0..rounds).map(|_| timed(&mut run));
    let best = rounds.min_by_key(|round| round.1);
    best.expect("there are rounds")
}

/// How much longer `other` takes than `one`, in rounds that take turns.
fn ratio(rounds: usize, one: impl FnMut(), other: impl FnMut()) -> f64 {
    let (one, other) = side_by_side(rounds, one, other);
    other.as_secs_f64() / one.as_secs_f64()
}

fn rate(count: u64, time: Duration) -> String {
    let rate = count as f64 / time.as_secs_f64();
    match rate {
        1e6.. => format!("{:.2} million/s", rate / 1e6),
        _ => format!("{rate:.0}/s"),
    }
}

fn done(world: &Builder) -> Report {
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

/// What 5 000 calls take with and without idle hosts, of which nothing is counted but that they are
/// there: a world with them and without the calls is taken off.
fn linear() -> String {
    let run = |world: Builder| timed(|| done(&world.trace(Keep::Off))).1.as_secs_f64();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        alone.push(run(echo_beside(0, 100, 500)) - run(echo_beside(0, 100, 1)));
        beside.push(run(echo_beside(10_000, 100, 500)) - run(echo_beside(10_000, 100, 1)));
    }
    format!("{:.2}", median(&beside) / median(&alone))
}

fn written() -> String {
    let count = 1_000_000;
    let world = notes(count).trace(Keep::Off);
    let (_, time) = best(ROUNDS, || done(&world));
    let nanos = time.as_secs_f64() * 1e9 / count as f64;
    format!("{nanos:.1} ns in all")
}

fn allocated() -> String {
    let run = |calls| {
        let world = echo_of_many(100, calls);
        let before = allocations::count();
        let report = done(&world);
        (allocations::count() - before, report.events)
    };
    let (short, long) = (run(100), run(300));
    let each = (long.0 as f64 - short.0 as f64) / (long.1 - short.1) as f64;
    format!("{each:.3}")
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
    let (report, time) = best(3, || done(&world));
    let speed = report.virtual_time.as_secs_f64() / time.as_secs_f64();
    format!("{speed:.0} times")
}

/// What one of `count` more things takes.
fn per(count: i64, more: impl Fn() -> Builder, fewer: impl Fn() -> Builder) -> String {
    let held = |builder: Builder| {
        let before = allocations::live_bytes();
        let mut world = builder.trace(Keep::Off).build();
        let idle = world.run_for(Duration::from_secs(60));
        idle.expect("the world is idle");
        allocations::live_bytes() - before
    };
    let bytes = (held(more()) - held(fewer())) / count;
    format!("{bytes}")
}

/// Builds the world, runs it for a while and drops it.
fn large(world: &Builder) -> String {
    let world = world.clone().trace(Keep::Off);
    let (events, time) = best(1, || {
        let mut world = world.build();
        let idle = world.run_for(Duration::from_secs(600));
        idle.expect("the world is idle");
        world.events()
    });
    format!("{:.2} s, {events} events", time.as_secs_f64())
}

/// How much longer turmoil takes for the same calls over links of the same latency.
fn beside_turmoil(connections: usize, calls: usize, pause: Duration) -> String {
    let latency = Duration::from_millis(1)..Duration::from_millis(10);
    let world = echo_with_pauses(connections, calls, pause)
        .default_link(Link::lan().latency(latency.clone()));
    let ratio = ratio(
        ROUNDS,
        || drop(done(&world)),
        || turmoil_echo::run(connections, calls, pause, latency.clone()),
    );
    format!("{ratio:.1}")
}
