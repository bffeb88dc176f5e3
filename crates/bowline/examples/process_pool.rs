//! A pool of child processes that survives what no process survives: a handler that aborts takes its
//! child with it, and nothing else.
//!
//! `cargo run -p bowline --example process_pool --all-features`

#[cfg(unix)]
use bowline::rpc::executor::ProcessPoolExecutor;
#[cfg(unix)]
use bowline::rpc::{Caller, Certainty, Code, MemoryBroker};
use bowline::rpc::{Registry, RegistryError};

/// Where the work happens.
#[bowline::rpc]
fn worker() -> u32 {
    std::process::id()
}

/// As a library in C might: no panic, nothing to catch.
#[bowline::rpc]
fn sort(mut numbers: Vec<i64>) -> Vec<i64> {
    if numbers.contains(&i64::MIN) {
        std::process::abort();
    }
    numbers.sort_unstable();
    numbers
}

fn methods() -> Result<Registry, RegistryError> {
    let registry = Registry::new("example");
    registry.register(worker)?;
    registry.register(sort)?;
    Ok(registry)
}

/// The same in this program and in its children.
fn build_registry() -> Registry {
    methods().expect("the names are names, each there once")
}

#[cfg(unix)]
#[bowline::main(workers(pool = build_registry))]
async fn main() -> Result<(), bowline::Error> {
    let executor = ProcessPoolExecutor::new(build_registry(), "pool", 2);
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), bowline::Error> {
            let first = broker.call(worker()).await?;
            assert_ne!(first, std::process::id());
            println!(
                "process {} has its work done by process {first}",
                std::process::id()
            );
            assert_eq!(broker.call(sort(vec![3, 1, 2])).await?, [1, 2, 3]);

            let error = broker
                .call(sort(vec![1, i64::MIN]))
                .await
                .expect_err("its process dies");
            assert_eq!(error.code(), Code::ConnectionLost);
            // Nobody can say how far it came.
            assert_eq!(error.certainty(), Certainty::MaybeExecuted);
            println!("one call failed: {}", error.message());

            let next = broker.call(worker()).await?;
            assert_ne!(next, first);
            assert_eq!(broker.call(sort(vec![5, 4])).await?, [4, 5]);
            println!("process {next} took over");
            Ok(())
        })
        .await
}

#[cfg(not(unix))]
fn main() {
    drop(build_registry());
    println!("child processes are for Unix");
}
