//! Calls of a process pool, one after the other: a method that does nothing, beside one byte there and
//! back over a Unix socket between two processes. All of them stay on one CPU.

use std::time::Instant;

use bowline::rpc::executor::ProcessPoolExecutor;
use bowline::rpc::{Caller, Error, MemoryBroker, Registry};
use bowline_benches::rounds::median;
use bowline_benches::server_process::{self, ServerProcess};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::{ROUNDS, bowline_echo, runtime, table};

const CALLS: usize = 10_000;
const POOL: &str = "bench";

#[bowline::rpc(name = "nothing")]
async fn nothing() {}

fn registry() -> Registry {
    let registry = Registry::new("bench");
    registry.register(nothing).unwrap();
    registry
}

/// Serves calls in a child of the pool, and does nothing elsewhere.
pub(crate) fn enter() {
    bowline::rpc::worker_entry(&[(POOL, registry)]);
}

/// Prints a table of them.
pub(crate) fn print() {
    let mut samples = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        samples[0].push(socket());
        samples[1].push(pool());
    }
    let [socket, pool] = samples.map(|of_one| median(&of_one));
    println!("| between two processes, µs | Unix socket | process pool | / socket | target |");
    println!("|---|---|---|---|---|");
    println!(
        "| a call that does nothing | {socket:.1} | {pool:.1} | {} | <= 3 socket |",
        table::over(pool, socket),
    );
}

fn micros_per_call(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}

/// Sends back every byte that comes over a socket at `path`.
pub(crate) fn serve(path: &str) {
    runtime().block_on(async {
        let listener = UnixListener::bind(path).unwrap();
        server_process::say_port(0);
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Ok(byte) = stream.read_u8().await {
            stream.write_u8(byte).await.unwrap();
        }
        std::future::pending().await
    })
}

fn socket() -> f64 {
    let name = format!("bowline-bench-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let path = path.to_str().expect("a path of text");
    let _server = ServerProcess::start(&["--serve-unix", path]);
    let took = runtime().block_on(async {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let mut start = Instant::now();
        for round in 0..CALLS + CALLS / 10 {
            if round == CALLS / 10 {
                start = Instant::now();
            }
            stream.write_u8(7).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 7);
        }
        micros_per_call(start)
    });
    let _ = std::fs::remove_file(path);
    took
}

fn pool() -> f64 {
    bowline_echo::root().block_on(async {
        let executor = ProcessPoolExecutor::new(registry(), POOL, 1);
        MemoryBroker::new(executor)
            .run(async |broker| -> Result<f64, Error> {
                // The child starts, and is warm.
                for _ in 0..CALLS / 10 {
                    broker.call(nothing()).await?;
                }
                let start = Instant::now();
                for _ in 0..CALLS {
                    broker.call(nothing()).await?;
                }
                Ok(micros_per_call(start))
            })
            .await
            .unwrap()
    })
}
