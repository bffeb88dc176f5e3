//! What connections cost a server that say nothing.

use std::thread::sleep;
use std::time::Duration;

use bowline_benches::descriptors;
use bowline_benches::server_process::Memory;

use crate::{SYSTEMS, start, tokio_echo};

/// Connections whose bytes are counted.
const FEW: usize = 400;

/// Connections of a server that has very many.
const MANY: usize = 10_000;

/// How long a server with that many is looked at.
const IDLE: Duration = Duration::from_secs(5);

/// For both processes: descriptors for so many connections, and what else a process has.
pub(crate) fn make_room() {
    let wished = MANY as u64 + 200;
    let allowed = descriptors::raise(wished);
    assert!(
        allowed >= wished,
        "{MANY} connections take {wished} descriptors, of which a process may have {allowed}"
    );
}

pub(crate) fn print(server_cpu: usize) {
    make_room();
    println!(
        "| bytes of an idle connection | tokio | message streams | server | streams / tokio | server / tokio | target |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, target, tls) in [("framed", "<= 1.0", false), ("framed, TLS", "<= 1.1", true)] {
        let [tokio, streams, server] = SYSTEMS.map(|system| {
            let [few, many] = look(system, tls, server_cpu, [FEW / 10, FEW], Duration::ZERO);
            (many.0.live_bytes - few.0.live_bytes) as f64 / (FEW - FEW / 10) as f64
        });
        print_row(name, target, [tokio, streams, server]);
    }
    println!();
    println!(
        "| {MANY} idle connections, two processes | tokio | message streams | server | streams / tokio | server / tokio | target |"
    );
    println!("|---|---|---|---|---|---|---|");
    let seen = SYSTEMS.map(|system| look(system, false, server_cpu, [MANY / 10, MANY], IDLE));
    let of_each = |bytes: fn(&Memory) -> i64| {
        seen.map(|[few, many]| (bytes(&many.0) - bytes(&few.0)) as f64 / (MANY - MANY / 10) as f64)
    };
    print_row(
        "bytes of the heap, each",
        "<= 1.0",
        of_each(|seen| seen.live_bytes),
    );
    print_row(
        "bytes in memory, each",
        "<= 1.0",
        of_each(|seen| seen.resident_bytes),
    );
    let spent = seen.map(|[_, many]| many.1.as_secs_f64() * 1e6 / IDLE.as_secs_f64());
    let [tokio, streams, server] = spent;
    println!(
        "| processor time of the server, µs/s | {tokio:.0} | {streams:.0} | {server:.0} | - | - | - |"
    );
}

fn print_row(name: &str, target: &str, [tokio, streams, server]: [f64; 3]) {
    println!(
        "| {name} | {tokio:.0} | {streams:.0} | {server:.0} | {:.2} | {:.2} | {target} |",
        streams / tokio,
        server / tokio,
    );
}

/// What a server has while so many connections that have echoed a frame say no more, and the
/// processor time that it takes for them in `span`.
fn look(
    system: &str,
    tls: bool,
    server_cpu: usize,
    counts: [usize; 2],
    span: Duration,
) -> [(Memory, Duration); 2] {
    let mut server = start(system, tls, server_cpu);
    counts.map(|connections| {
        tokio_echo::hold(server.port(), tls, connections, || {
            let before = server.memory();
            sleep(span);
            let after = server.memory();
            (after, after.processor_time - before.processor_time)
        })
    })
}
