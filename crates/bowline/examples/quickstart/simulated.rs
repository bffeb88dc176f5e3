//! The same in a simulated network: server and client are two hosts.

use bowline::Error;
use bowline::rpc::TcpBroker;
use bowline::rpc::executor::AsyncExecutor;
use bowline::sim::Sim;

use crate::{WORKERS, client, methods};

/// Runs the world of this seed and prints the hash of its trace.
pub(crate) fn run(seed: u64) -> Result<(), Error> {
    let report = Sim::builder()
        .scenario("quickstart")
        .seed(seed)
        .host("server", serve)
        .client("client", || client::run("server:15383", "on a second host"))
        .run()?;
    println!(
        "seed {seed}: trace {:016x}, {} events, {:?} of virtual time",
        report.trace_hash, report.events, report.virtual_time
    );
    Ok(())
}

/// Serves until the world ends.
async fn serve() -> Result<(), Error> {
    let executor = AsyncExecutor::new(methods::registry()?, WORKERS);
    // A network that is simulated has nobody else on it.
    let broker = TcpBroker::builder(executor)
        .listen("0.0.0.0:15383")
        .allow_insecure_network();
    broker
        .run(async |_| -> Result<(), Error> { std::future::pending().await })
        .await
}
