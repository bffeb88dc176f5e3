//! How long small calls take beside bodies of megabytes, where bytes take their time.

use std::time::Duration;

use bowline_concurrency::{TaskGroup, sleep, task_group};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Caller, Error, Registry, TcpBroker};
use bowline_sim::{Link, Sim};

/// The longest text there may be, with what its codec puts around it.
const LARGE: usize = 4 * 1024 * 1024 - 16;
/// Bodies under way all the time.
const BODIES: usize = 3;
/// Small calls in a row that are timed.
const SMALL: usize = 100;

async fn server() -> Result<(), Error> {
    let registry = Registry::new("example");
    registry.register_fn("echo", |(text,): (String,)| async move { text })?;
    registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
    TcpBroker::builder(AsyncExecutor::new(registry, 64))
        .listen("0.0.0.0:15383")
        .allow_insecure_network()
        .run(async |_| -> Result<(), Error> { std::future::pending().await })
        .await
}

/// The 99th percentile of small calls that follow each other, by the time of the world.
async fn p99(client: &TcpBroker) -> Result<Duration, Error> {
    let mut took = Vec::new();
    for n in 0..SMALL as i64 {
        let began = Sim::now();
        assert_eq!(client.call_named::<i64>("add", (n, 1)).await?, n + 1);
        took.push(Sim::now() - began);
    }
    took.sort();
    Ok(took[SMALL * 99 / 100 - 1])
}

/// Bodies that went to the server and came back.
#[derive(Default)]
struct Echoed(usize);

/// Sends bodies, one after the other.
async fn echoes(client: TcpBroker) -> Result<(), Error> {
    let text = "x".repeat(LARGE);
    loop {
        let echo = client.call_named::<String>("echo", (text.clone(),));
        assert!(echo.no_deadline().await? == text);
        Sim::ghost(|echoed: &mut Echoed| echoed.0 += 1);
    }
}

/// Times small calls alone, and beside bodies in both directions.
async fn client() -> Result<(), Error> {
    TcpBroker::caller()
        .project("example")
        .connect("server:15383")
        .allow_insecure_network()
        .run(async |client| -> Result<(), Error> {
            let alone = p99(&client).await?;
            let beside = task_group(|group: TaskGroup<Error>| async move {
                for _ in 0..BODIES {
                    drop(group.spawn(echoes(client.clone())));
                }
                // By then some go and some come.
                while Sim::ghost(|echoed: &mut Echoed| echoed.0 < BODIES) {
                    sleep(Duration::from_millis(1)).await;
                }
                let beside = p99(&client).await?;
                group.cancel("done");
                Ok::<_, Error>(beside)
            });
            let beside = beside.await.expect("no call fails");
            assert!(
                beside < 5 * alone,
                "{beside:?} beside bodies, {alone:?} alone"
            );
            // They were there: a part of one is on the way in each direction.
            assert!(beside > alone, "{beside:?} beside bodies, {alone:?} alone");
            Ok(())
        })
        .await
}

// R16
#[test]
fn small_calls_wait_little_for_large_ones() {
    // A part of a body, which is what a small call has to wait for, takes less there than a small call.
    for (bytes_per_second, micros) in [(125_000_000, 1000), (12_500_000, 10_000)] {
        let latency = Duration::from_micros(micros);
        let link = Link::lan().latency(latency..latency + Duration::from_nanos(1));
        let world = Sim::builder()
            .default_link(link.bandwidth(bytes_per_second))
            .host("server", server)
            .client("client", client);
        world.run().unwrap();
    }
}
