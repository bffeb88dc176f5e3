//! Framed messages over TCP and TLS: Bowline beside tokio with tokio-util and tokio-rustls. Client
//! and server each in a process of its own with one thread and, where there are two, one CPU, in
//! alternating rounds of one run.

mod bowline_echo;
mod idle;
mod tokio_echo;

use std::time::Duration;

use bowline_benches::allocations::CountingAllocator;
use bowline_benches::rounds::median;
use bowline_benches::server_process::{self, ServerProcess};
use bowline_benches::{certificates, cpus};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ROUNDS: usize = 7;

/// Who echoes: the peer, our message streams by themselves, and our server.
const SYSTEMS: [&str; 3] = ["tokio", "streams", "server"];

/// What goes over the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) tls: bool,
    pub(crate) connections: usize,
    /// Frames of each connection.
    pub(crate) frames: usize,
    /// Bytes of each.
    pub(crate) size: usize,
    /// Most frames of a connection that are not back yet.
    pub(crate) in_flight: usize,
}

struct Scenario {
    name: &'static str,
    target: &'static str,
    work: Work,
}

const fn scenario(
    name: &'static str,
    target: &'static str,
    tls: bool,
    [connections, frames, size, in_flight]: [usize; 4],
) -> Scenario {
    Scenario {
        name,
        target,
        work: Work {
            tls,
            connections,
            frames,
            size,
            in_flight,
        },
    }
}

const SCENARIOS: [Scenario; 7] = [
    scenario("64 B, one at a time", ">= 0.95", false, [1, 8_000, 64, 1]),
    scenario("64 B, 64 in flight", ">= 1.2", false, [1, 200_000, 64, 64]),
    scenario("64 B, 64 connections", ">= 1.0", false, [64, 400, 64, 1]),
    scenario(
        "64 KiB, 4 in flight",
        ">= 1.2",
        false,
        [1, 4_000, 65_536, 4],
    ),
    scenario(
        "TLS, 64 B, one at a time",
        ">= 0.95",
        true,
        [1, 6_000, 64, 1],
    ),
    scenario(
        "TLS, 64 B, 64 in flight",
        ">= 0.95",
        true,
        [1, 100_000, 64, 64],
    ),
    scenario(
        "TLS, 64 KiB, 4 in flight",
        ">= 0.95",
        true,
        [1, 2_000, 65_536, 4],
    ),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[1..] {
        ["--serve", system, tls, cpu] => {
            cpus::stay_on(cpu.parse().expect("a number"));
            serve(system, tls == "tls");
        }
        // One scenario of one system alone, for a profiler.
        ["--only", system, name] => {
            let server_cpu = cpus::take_one_of_two();
            certificates::make();
            for scenario in SCENARIOS.iter().filter(|scenario| scenario.name == name) {
                println!("{:.0} frames/s", measure(system, scenario, server_cpu));
            }
        }
        // The memory of idle connections alone: no machine is too busy for it.
        ["--idle"] => {
            let server_cpu = cpus::take_one_of_two();
            certificates::make();
            idle::print(server_cpu);
        }
        _ => compare(),
    }
}

fn serve(system: &str, tls: bool) {
    idle::make_room();
    server_process::answer_questions();
    match system {
        "tokio" => tokio_echo::serve(tls),
        "streams" => bowline_echo::serve_streams(tls),
        "server" => bowline_echo::serve(tls),
        other => panic!("no system is called {other}"),
    }
}

fn start(system: &str, tls: bool, cpu: usize) -> ServerProcess {
    let tls = if tls { "tls" } else { "plain" };
    ServerProcess::start(&["--serve", system, tls, &cpu.to_string()])
}

fn compare() {
    let server_cpu = cpus::take_one_of_two();
    certificates::make();
    let rates = SCENARIOS.map(|scenario| {
        let mut samples = [(); SYSTEMS.len()].map(|()| Vec::new());
        for round in 0..ROUNDS {
            for offset in 0..SYSTEMS.len() {
                // Each round starts with another system.
                let index = (round + offset) % SYSTEMS.len();
                samples[index].push(measure(SYSTEMS[index], &scenario, server_cpu));
            }
        }
        eprintln!("{}", scenario.name);
        (scenario, samples.map(|samples| median(&samples)))
    });
    println!("<!-- bench:transports -->");
    println!(
        "| frames/s of an echo | tokio | message streams | server | streams / tokio | server / tokio | target |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (scenario, [tokio, streams, server]) in rates {
        println!(
            "| {} | {tokio:.0} | {streams:.0} | {server:.0} | {:.2} | {:.2} | {} |",
            scenario.name,
            streams / tokio,
            server / tokio,
            scenario.target,
        );
    }
    println!();
    idle::print(server_cpu);
    println!("<!-- /bench:transports -->");
}

/// Frames per second.
fn measure(system: &str, scenario: &Scenario, server_cpu: usize) -> f64 {
    let work = scenario.work;
    let server = start(system, work.tls, server_cpu);
    let converse = |work: Work| match system {
        "tokio" => tokio_echo::converse(server.port(), work),
        _ => bowline_echo::converse(server.port(), work),
    };
    // Warm, and past the growth of every buffer.
    converse(Work {
        frames: work.frames / 10,
        ..work
    });
    let took: Duration = converse(work);
    (work.frames * work.connections) as f64 / took.as_secs_f64()
}
