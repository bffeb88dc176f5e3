//! The echo of many connections in turmoil, as near to that of `scenarios.rs` as it comes: a server
//! and its clients on two hosts, calls of 64 bytes one after another.

use std::io;
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

type Done = Result<(), Box<dyn std::error::Error>>;

async fn serve() -> Done {
    let listener = TcpListener::bind(("0.0.0.0", 80)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            while stream.read_exact(&mut buffer).await.is_ok()
                && stream.write_all(&buffer).await.is_ok()
            {}
        });
    }
}

async fn call(calls: usize, pause: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect(("server", 80)).await?;
    stream.set_nodelay(true)?;
    for _ in 0..calls {
        stream.write_all(&[7; 64]).await?;
        stream.read_exact(&mut [0; 64]).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}

/// Runs it to its end, with a pause after each call; latencies are between these two, a tick is the
/// shorter one.
pub(crate) fn run(connections: usize, calls: usize, pause: Duration, latency: Range<Duration>) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(0)
        .simulation_duration(Duration::from_secs(3_600))
        .tick_duration(latency.start)
        .min_message_latency(latency.start)
        .max_message_latency(latency.end)
        .tcp_capacity(1_024)
        .build();
    sim.host("server", serve);
    sim.client("client", async move {
        let callers: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(call(calls, pause)))
            .collect();
        for caller in callers {
            caller.await??;
        }
        Ok(())
    });
    sim.run().expect("the world runs to its end");
}
