//! Numbers kept over datagrams that come late or never: each request counts once, however often it is
//! made. The numbers are in memory, so that all faults befall the store but its end.

#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "the example has an earlier version too"
)]
#[path = "../../../crates/bowline/examples/lossy_store/service.rs"]
mod service;

use std::io;
use std::time::Duration;

use bowline::backend::entropy::random_u64;
use bowline::concurrency::sleep;
use bowline::sim::checker::OneOutcome;
use bowline::sim::{Builder, FaultKind, Faults, Link, Sim, always, eventually};
use service::{Client, serve_each_once};

use super::{HEAL, SETTLE};

const PORT: u16 = 4000;
const ADDS: u64 = 8;

pub(super) fn world() -> Builder {
    let latency = Duration::from_millis(1)..Duration::from_millis(80);
    let faults = Faults::swarm()
        .without(FaultKind::Kill)
        .without(FaultKind::PowerLoss)
        // What cannot be sent for lack of memory is an error to the example, not a loss.
        .without(FaultKind::Memory);
    let bad = Link::wan().latency(latency).loss(0.05);
    Sim::builder()
        .default_link(bad)
        .faults(faults)
        .heal_at(HEAL)
        .settle(SETTLE)
        .host("store", || serve_each_once(PORT))
        .client("a", || teller("a", 0))
        .client("b", || teller("b", ADDS))
        .checker(|| OneOutcome::of("add", "added"))
}

async fn teller(key: &'static str, first: u64) -> io::Result<()> {
    // The name server may fail at first.
    let mut client = loop {
        match Client::connect("store", PORT).await {
            Ok(client) => break client,
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    };
    eventually!("everybody is done", HEAL + SETTLE, || {
        Sim::ghost(|done: &mut u64| *done == 2 * ADDS)
    });
    for number in 1..=ADDS {
        Sim::note("add", first + number);
        let sum = client.add(key, 1).await?;
        Sim::note("added", first + number);
        Sim::ghost(|done: &mut u64| *done += 1);
        always!("each-add-counts-once", sum.cast_unsigned() == number);
        sleep(Duration::from_millis(random_u64() % 2_000)).await;
    }
    Ok(())
}
