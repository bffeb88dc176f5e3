//! Numbers kept over datagrams that come late or never: each request counts once, however often it is made.

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

use bowline::sim::checker::OneOutcome;
use bowline::sim::{Builder, Link, Sim, always, eventually};
use service::{Client, serve_each_once};

const PORT: u16 = 4000;
const ADDS: u64 = 8;

pub(super) fn world() -> Builder {
    let latency = Duration::from_millis(1)..Duration::from_millis(80);
    let bad = Link::wan().latency(latency).loss(0.05);
    Sim::builder()
        .horizon(Duration::from_secs(600))
        .default_link(bad)
        .host("store", || serve_each_once(PORT))
        .client("a", || teller("a", 0))
        .client("b", || teller("b", ADDS))
        .checker(|| OneOutcome::of("add", "added"))
}

async fn teller(key: &'static str, first: u64) -> io::Result<()> {
    let mut client = Client::connect("store", PORT).await?;
    eventually!("everybody is done", Duration::from_secs(60), || {
        Sim::ghost(|done: &mut u64| *done == 2 * ADDS)
    });
    for number in 1..=ADDS {
        Sim::note("add", first + number);
        let sum = client.add(key, 1).await?;
        Sim::note("added", first + number);
        Sim::ghost(|done: &mut u64| *done += 1);
        always!("each-add-counts-once", sum.cast_unsigned() == number);
    }
    Ok(())
}
