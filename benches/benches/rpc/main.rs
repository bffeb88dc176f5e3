//! Remote calls: Bowline, its rivals and a hand-written floor, client and server each in a process of
//! its own with one thread, in alternating rounds of one run; calls within a process, and to a child.

mod bowline_echo;
mod callers;
mod child_process;
mod floor;
mod in_process;
mod jsonrpsee_echo;
mod streaming;
mod system_calls;
mod table;
mod tarpc_echo;
mod tonic_echo;

use std::time::Instant;

use bowline_benches::allocations::{self, CountingAllocator};
use bowline_benches::cpus;
use bowline_benches::rounds::median;
use bowline_benches::server_process::{self, ServerProcess};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SYSTEMS: [&str; 5] = ["floor", "tarpc", "tonic", "jsonrpsee", "bowline"];
const ROUNDS: usize = 5;
/// Connections that say nothing.
const IDLE: usize = 200;

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) connections: usize,
    /// Calls of each connection that have no answer yet, at most.
    pub(crate) in_flight: usize,
    /// Calls of each connection.
    pub(crate) calls: usize,
    /// Bytes a call carries, and gets back.
    pub(crate) size: usize,
}

impl Work {
    const fn new(connections: usize, in_flight: usize, calls: usize, size: usize) -> Self {
        Self {
            connections,
            in_flight,
            calls,
            size,
        }
    }

    fn shorter(self) -> Self {
        Self {
            calls: (self.calls / 10).max(self.in_flight),
            ..self
        }
    }

    /// What each call carries: text, as a format of text would blow up anything else.
    pub(crate) fn payload(self) -> String {
        "B".repeat(self.size)
    }
}

/// Nanoseconds of every call of a run.
pub(crate) type Latencies = Vec<u64>;

pub(crate) fn elapsed(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).expect("less than centuries")
}

/// What a row tells of its runs.
#[derive(Clone, Copy)]
enum Measure {
    /// Microseconds that half of the calls are faster than.
    Half,
    /// Microseconds that 99 of 100 calls are faster than.
    NinetyNine,
    CallsPerSecond,
    MegabytesPerSecond,
    /// Allocations and growths of both ends for each call.
    Allocations,
}

struct Scenario {
    work: Work,
    /// Both ends stay on one CPU.
    one_cpu: bool,
    rows: &'static [(&'static str, Measure, &'static str)],
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        work: Work::new(1, 1, 8_000, 32),
        one_cpu: true,
        rows: &[(
            "one at a time, one CPU, p50, µs",
            Measure::Half,
            "<= 1.1 floor, 0.85 tarpc, 0.5 tonic, 0.6 jsonrpsee",
        )],
    },
    Scenario {
        work: Work::new(1, 64, 128_000, 32),
        one_cpu: false,
        rows: &[
            (
                "64 in flight, calls/s",
                Measure::CallsPerSecond,
                ">= 0.75 floor, 2 tarpc, 7 tonic, jsonrpsee",
            ),
            ("64 in flight, p99, µs", Measure::NinetyNine, ""),
            (
                "64 in flight, allocations per call, both ends",
                Measure::Allocations,
                "<= 8; 1 tarpc",
            ),
        ],
    },
    Scenario {
        work: Work::new(1, 256, 128_000, 32),
        one_cpu: false,
        rows: &[(
            "256 in flight, calls/s",
            Measure::CallsPerSecond,
            ">= 0.7 floor, 2 tarpc, 10 tonic, jsonrpsee",
        )],
    },
    Scenario {
        work: Work::new(64, 1, 1_000, 32),
        one_cpu: false,
        rows: &[(
            "64 connections, calls/s",
            Measure::CallsPerSecond,
            ">= 0.9 floor, 1.2 tarpc, 3 tonic",
        )],
    },
    Scenario {
        work: Work::new(1, 16, 16_000, 16 * 1024),
        one_cpu: false,
        rows: &[(
            "16 KiB, 16 in flight, MB/s",
            Measure::MegabytesPerSecond,
            ">= 0.75 floor, 1.3 tarpc, 4 tonic, jsonrpsee",
        )],
    },
];

fn main() {
    child_process::enter();
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[1..] {
        ["--serve", system, cpu] => {
            cpus::stay_on(cpu.parse().expect("a number"));
            serve(system);
        }
        ["--serve-unix", path] => {
            server_process::answer_questions();
            child_process::serve(path);
        }
        ["--call", system, port, in_flight, calls] => {
            system_calls::client(system, port, in_flight, calls);
        }
        // One system alone, or one scenario of it by the beginning of its first row, for a profiler.
        ["--only", system] => only(system, ""),
        ["--only", system, row] => only(system, row),
        ["--in-process"] => in_process::print(),
        ["--process-pool"] => {
            cpus::take_one_of_two();
            child_process::print();
        }
        ["--system-calls"] => system_calls::print(cpus::take_one_of_two()),
        ["--streaming"] => streaming::print(cpus::take_one_of_two()),
        // The memory of idle connections alone: no machine is too busy for it.
        ["--idle"] => {
            let server_cpu = cpus::take_one_of_two();
            print_idle(server_cpu);
        }
        _ => compare(),
    }
}

fn only(system: &str, row: &str) {
    let server_cpu = cpus::take_one_of_two();
    let scenarios = SCENARIOS.iter();
    for scenario in scenarios.filter(|scenario| scenario.rows[0].0.starts_with(row)) {
        let values = measure(system, scenario, server_cpu);
        for ((name, ..), value) in scenario.rows.iter().zip(values) {
            println!("{system}: {name}: {value:.2}");
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
}

fn serve(system: &str) {
    server_process::answer_questions();
    match system {
        "floor" => runtime().block_on(floor::serve()),
        "tarpc" => runtime().block_on(tarpc_echo::serve()),
        "tonic" => runtime().block_on(tonic_echo::serve()),
        "jsonrpsee" => runtime().block_on(jsonrpsee_echo::serve()),
        "bowline" => bowline_echo::serve(),
        other => panic!("no system is called {other}"),
    }
}

fn call(system: &str, port: u16, work: Work) -> Latencies {
    match system {
        "floor" => runtime().block_on(floor::call(port, work)),
        "tarpc" => runtime().block_on(tarpc_echo::call(port, work)),
        "tonic" => runtime().block_on(tonic_echo::call(port, work)),
        "jsonrpsee" => runtime().block_on(jsonrpsee_echo::call(port, work)),
        "bowline" => bowline_echo::call(port, work),
        other => panic!("no system is called {other}"),
    }
}

/// Opens connections that make one call each, and then calls `up` while they are idle.
fn idle(system: &str, port: u16, connections: usize, up: impl FnOnce() + Send) {
    match system {
        "floor" => runtime().block_on(floor::idle(port, connections, up)),
        "tarpc" => runtime().block_on(tarpc_echo::idle(port, connections, up)),
        "tonic" => runtime().block_on(tonic_echo::idle(port, connections, up)),
        "jsonrpsee" => runtime().block_on(jsonrpsee_echo::idle(port, connections, up)),
        "bowline" => bowline_echo::idle(port, connections, up),
        other => panic!("no system is called {other}"),
    }
}

fn start(system: &str, cpu: usize) -> ServerProcess {
    ServerProcess::start(&["--serve", system, &cpu.to_string()])
}

fn compare() {
    let server_cpu = cpus::take_one_of_two();
    println!("<!-- bench:rpc -->");
    table::head("32-byte echo over TCP");
    for scenario in &SCENARIOS {
        let mut samples = [(); SYSTEMS.len()].map(|()| Vec::new());
        for round in 0..ROUNDS {
            for offset in 0..SYSTEMS.len() {
                // Each round starts with another system.
                let index = (round + offset) % SYSTEMS.len();
                samples[index].push(measure(SYSTEMS[index], scenario, server_cpu));
            }
        }
        for (row, (name, measure, target)) in scenario.rows.iter().enumerate() {
            let digits = match measure {
                Measure::CallsPerSecond | Measure::MegabytesPerSecond => 0,
                Measure::Half | Measure::NinetyNine => 1,
                Measure::Allocations => 2,
            };
            let medians = samples.each_ref().map(|of_one| {
                let values: Vec<f64> = of_one.iter().map(|values| values[row]).collect();
                median(&values)
            });
            table::row(name, medians, digits, target);
            eprintln!("{name}");
        }
    }
    system_calls::print(server_cpu);
    print_idle(server_cpu);
    println!();
    streaming::print(server_cpu);
    println!();
    in_process::print();
    println!();
    child_process::print();
    println!("<!-- /bench:rpc -->");
}

/// The values of the scenario's rows.
fn measure(system: &str, scenario: &Scenario, server_cpu: usize) -> Vec<f64> {
    let work = scenario.work;
    let cpu = if scenario.one_cpu {
        cpus::own()
    } else {
        server_cpu
    };
    let mut server = start(system, cpu);
    // Warm, and past the growth of every buffer.
    call(system, server.port(), work.shorter());
    let theirs = server.memory().allocations;
    let before = allocations::count();
    let start = Instant::now();
    let mut latencies = call(system, server.port(), work);
    let took = start.elapsed().as_secs_f64();
    let ours = allocations::count() - before;
    let all = ours + server.memory().allocations - theirs;
    latencies.sort_unstable();
    let calls = latencies.len() as f64;
    let micros = |part: f64| latencies[((calls - 1.0) * part) as usize] as f64 / 1000.0;
    let value = |measure: &Measure| match measure {
        Measure::Half => micros(0.5),
        Measure::NinetyNine => micros(0.99),
        Measure::CallsPerSecond => calls / took,
        Measure::MegabytesPerSecond => 2.0 * calls * work.size as f64 / took / 1e6,
        Measure::Allocations => all as f64 / calls,
    };
    scenario
        .rows
        .iter()
        .map(|(_, measure, _)| value(measure))
        .collect()
}

/// Bytes of an idle connection at the server, by its allocator.
fn print_idle(server_cpu: usize) {
    let bytes = SYSTEMS.map(|system| {
        let mut server = start(system, server_cpu);
        // What does not grow with the connections.
        idle(system, server.port(), 1, || {});
        let before = server.memory().live_bytes;
        let mut with = 0;
        let port = server.port();
        idle(system, port, IDLE, || with = server.memory().live_bytes);
        (with - before) as f64 / IDLE as f64
    });
    table::row(
        "bytes of an idle connection, server",
        bytes,
        0,
        "<= 1 tarpc, 0.3 tonic",
    );
}
