//! Remote calls over TCP: Bowline, tarpc and a hand-written floor, client and server each in a
//! process of its own with one thread and, where there are two, one CPU, in alternating rounds of one
//! run.

mod bowline_echo;
mod floor;
mod tarpc_echo;

use std::time::{Duration, Instant};

use bowline_benches::allocations::{self, CountingAllocator};
use bowline_benches::cpus;
use bowline_benches::rounds::median;
use bowline_benches::server_process::{self, ServerProcess};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What every call carries and gets back.
pub(crate) const PAYLOAD: [u8; 32] = [0x42; 32];

const SYSTEMS: [&str; 3] = ["floor", "tarpc", "bowline"];
const ROUNDS: usize = 7;
const SEQUENTIAL: usize = 10_000;
const PIPELINED: usize = 64 * 2_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[1..] {
        ["--serve", system, cpu] => {
            cpus::stay_on(cpu.parse().unwrap());
            serve(system);
        }
        // One system alone, for a profiler.
        ["--only", system] => {
            let server_cpu = cpus::take_one_of_two();
            let mut samples = Samples::default();
            measure(system, server_cpu, &mut samples);
            println!("{system}: {:.0} calls/s", samples.calls_per_second[0]);
        }
        _ => compare(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn serve(system: &str) {
    server_process::answer_questions();
    match system {
        "floor" => runtime().block_on(floor::serve()),
        "tarpc" => runtime().block_on(tarpc_echo::serve()),
        "bowline" => bowline_echo::serve(),
        other => panic!("no system is called {other}"),
    }
}

fn call(system: &str, port: u16, calls: usize, in_flight: usize) -> Vec<Duration> {
    match system {
        "floor" => runtime().block_on(floor::call(port, calls, in_flight)),
        "tarpc" => runtime().block_on(tarpc_echo::call(port, calls, in_flight)),
        "bowline" => bowline_echo::call(port, calls, in_flight),
        other => panic!("no system is called {other}"),
    }
}

fn start(system: &str, cpu: usize) -> ServerProcess {
    ServerProcess::start(&["--serve", system, &cpu.to_string()])
}

#[derive(Default)]
struct Samples {
    sequential_p50_us: Vec<f64>,
    calls_per_second: Vec<f64>,
    pipelined_p99_us: Vec<f64>,
    allocations: Vec<f64>,
}

fn compare() {
    let server_cpu = cpus::take_one_of_two();
    let mut samples = [(); SYSTEMS.len()].map(|()| Samples::default());
    for round in 0..ROUNDS {
        for offset in 0..SYSTEMS.len() {
            // Each round starts with another system.
            let index = (round + offset) % SYSTEMS.len();
            measure(SYSTEMS[index], server_cpu, &mut samples[index]);
        }
        eprintln!("round {} of {ROUNDS}", round + 1);
    }
    print_table(&samples);
}

fn measure(system: &str, server_cpu: usize, samples: &mut Samples) {
    let server = start(system, server_cpu);
    call(system, server.port(), SEQUENTIAL / 10, 1);
    let latencies = call(system, server.port(), SEQUENTIAL, 1);
    samples.sequential_p50_us.push(percentile(latencies, 0.5));
    drop(server);

    let mut server = start(system, server_cpu);
    let theirs = server.memory().allocations;
    let before = allocations::count();
    let start = Instant::now();
    let latencies = call(system, server.port(), PIPELINED, 64);
    let took = start.elapsed().as_secs_f64();
    let ours = allocations::count() - before;
    samples.calls_per_second.push(PIPELINED as f64 / took);
    samples.pipelined_p99_us.push(percentile(latencies, 0.99));
    let all = ours + server.memory().allocations - theirs;
    samples.allocations.push(all as f64 / PIPELINED as f64);
}

fn percentile(mut latencies: Vec<Duration>, which: f64) -> f64 {
    latencies.sort_unstable();
    let index = ((latencies.len() - 1) as f64 * which) as usize;
    latencies[index].as_secs_f64() * 1e6
}

fn print_table(samples: &[Samples; SYSTEMS.len()]) {
    println!("<!-- bench:rpc -->");
    println!(
        "| 32-byte echo, TCP, one connection | floor | tarpc | bowline | bowline / floor | \
         bowline / tarpc |"
    );
    println!("|---|---|---|---|---|---|");
    row(
        "sequential, p50, µs",
        samples,
        |one| median(&one.sequential_p50_us),
        1,
    );
    row(
        "64 in flight, calls/s",
        samples,
        |one| median(&one.calls_per_second),
        0,
    );
    row(
        "64 in flight, p99, µs",
        samples,
        |one| median(&one.pipelined_p99_us),
        1,
    );
    row(
        "64 in flight, allocations per call, both ends",
        samples,
        |one| median(&one.allocations),
        2,
    );
    println!("<!-- /bench:rpc -->");
}

fn row(
    name: &str,
    samples: &[Samples; SYSTEMS.len()],
    value: impl Fn(&Samples) -> f64,
    digits: usize,
) {
    let [floor, tarpc, bowline] = [0, 1, 2].map(|index| value(&samples[index]));
    let over = |peer: f64| {
        if peer < 0.01 {
            "-".to_owned()
        } else {
            format!("{:.2}", bowline / peer)
        }
    };
    println!(
        "| {name} | {floor:.digits$} | {tarpc:.digits$} | {bowline:.digits$} | {} | {} |",
        over(floor),
        over(tarpc),
    );
}
