//! System calls of both ends, as `perf stat` counts them: it slows nothing down, so that batches are those
//! of any other run.

use std::process::{Command, Stdio};

use bowline_benches::server_process::ServerProcess;

use crate::{SYSTEMS, Work, call, table};

const CALLS: usize = 20_000;
const ROWS: [(&str, usize); 2] = [
    ("one at a time, system calls per call, both ends", 1),
    ("64 in flight, system calls per call, both ends", 64),
];

/// Prints rows of them, or says why it cannot.
pub(crate) fn print(server_cpu: usize) {
    let can_count = counting("/dev/null")
        .arg("true")
        .stderr(Stdio::null())
        .status();
    if !can_count.is_ok_and(|status| status.success()) {
        eprintln!("no system calls are counted, as `perf stat` cannot here");
        return;
    }
    for (name, in_flight) in ROWS {
        let counts = SYSTEMS.map(|system| per_call(system, in_flight, server_cpu));
        table::row(name, counts, 2, "<= 1 tarpc");
        eprintln!("{name}");
    }
}

/// Makes the calls of one client, as a process of its own.
pub(crate) fn client(system: &str, port: &str, in_flight: &str, calls: &str) {
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let port = port.parse().expect("a port");
    let work = Work::new(1, number(in_flight), number(calls), 32);
    assert!(!call(system, port, work).is_empty());
}

/// What three times as many calls cost more, for each call: both ends start and end alike.
fn per_call(system: &str, in_flight: usize, server_cpu: usize) -> f64 {
    let few = both_ends(system, in_flight, CALLS, server_cpu);
    let many = both_ends(system, in_flight, 3 * CALLS, server_cpu);
    (many - few) / (2 * CALLS) as f64
}

fn both_ends(system: &str, in_flight: usize, calls: usize, server_cpu: usize) -> f64 {
    let program = std::env::current_exe().expect("it runs");
    let [of_server, of_client] = ["server", "client"].map(|end| {
        let name = format!("bowline-bench-{}-{end}", std::process::id());
        let path = std::env::temp_dir().join(name);
        path.to_str().expect("a path of text").to_owned()
    });
    let mut server = counting(&of_server);
    server.arg(&program);
    server.args(["--serve", system, &server_cpu.to_string()]);
    let server = ServerProcess::of(&mut server);
    let mut client = counting(&of_client);
    client.arg(&program).arg("--call");
    client.args([system, &server.port().to_string()]);
    client.args([in_flight.to_string(), calls.to_string()]);
    assert!(client.status().expect("it was there").success());
    // It counts until its process ends.
    drop(server);
    counted(&of_server) + counted(&of_client)
}

/// A program that counts the system calls of another, and writes their number to `path`.
fn counting(path: &str) -> Command {
    let mut command = Command::new("perf");
    command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter"]);
    command.args(["-o", path, "--"]);
    command
}

fn counted(path: &str) -> f64 {
    let text = std::fs::read_to_string(path).expect("it was written");
    let _ = std::fs::remove_file(path);
    let line = text.lines().find(|line| line.contains("sys_enter"));
    let (count, _) = line.and_then(|line| line.split_once(',')).expect("a count");
    count.parse().expect("a number")
}
