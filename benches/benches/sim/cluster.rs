//! Hosts that call each other by RPC.

use bowline::backend::time::{now, sleep_until};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Error, Registry, TcpBroker};
use bowline_sim::{Builder, Sim};
use std::time::Duration;

#[bowline::rpc(name = "echo")]
async fn echo(payload: Vec<u8>) -> Vec<u8> {
    payload
}

/// Hosts that call their neighbours in turn, 100 times a second in all, for so many seconds.
pub(crate) fn cluster(hosts: u32, seconds: u64) -> Builder {
    let gap = Duration::from_secs(1) * hosts / 100;
    (0..hosts).fold(Sim::builder(), |world, index| {
        let neighbour = format!("node-{}:80", (index + 1) % hosts);
        world.client(&format!("node-{index}"), move || {
            node(neighbour.clone(), gap, seconds)
        })
    })
}

/// Serves, and calls its neighbour once in each `gap`.
async fn node(neighbour: String, gap: Duration, seconds: u64) -> Result<(), Error> {
    let end = now() + Duration::from_secs(seconds);
    let registry = Registry::new("bench");
    registry.register(echo).expect("it is registered once");
    TcpBroker::builder(AsyncExecutor::new(registry, 64))
        .listen("0.0.0.0:80")
        .allow_insecure_network()
        .run(async |_| {
            TcpBroker::caller()
                .project("bench")
                .connect(neighbour)
                .allow_insecure_network()
                .run(async |caller| -> Result<(), Error> {
                    while now() < end {
                        let reply = caller.call(echo(vec![7; 64])).await?;
                        assert_eq!(reply.len(), 64);
                        sleep_until(now() + gap).await;
                    }
                    // The one who calls us has its last reply by then.
                    sleep_until(end + Duration::from_secs(1)).await;
                    Ok(())
                })
                .await
        })
        .await
}
