//! What a client does, wherever it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline::Error;
use bowline::backend::{Backend, time};
use bowline::concurrency::{Root, TaskGroup, task_group, timeout};
use bowline::rpc::{Caller, Code, Endpoint, TcpBroker};

use crate::methods::{DivideError, add, count_primes, divide};

/// Calls of the burst, and how many of them are in flight.
const CALLS: usize = 10_000;
const IN_FLIGHT: usize = 64;

/// The client on a runtime of its own, for a thread or a process.
pub(crate) fn run_in(backend: Backend, address: SocketAddr, place: &str) -> Result<(), Error> {
    Root::new().backend(backend).block_on(run(address, place))
}

/// Connects, calls, and says what happened.
pub(crate) async fn run(server: impl Into<Endpoint>, place: &str) -> Result<(), Error> {
    println!("client {place}:");
    // For the simulated network, which nobody else can read; the others are loopback.
    let caller = TcpBroker::caller()
        .project("quickstart")
        .connect(server)
        .allow_insecure_network();
    caller
        .run(async |broker| -> Result<(), Error> {
            println!("  add(2, 3) = {}", broker.call(add(2, 3)).await?);
            let primes = broker.call(count_primes(10_000)).await?;
            println!("  count_primes(10 000) = {primes}, on a thread that may block");
            burst(&broker).await?;
            time_out(&broker).await?;

            let error = expect_failure(broker.call(divide(1, 0)).await)?;
            assert_eq!(error.application(), Some(&DivideError { dividend: 1 }));
            println!(
                "  divide(1, 0) fails with its own error: {:?}",
                error.application()
            );

            let unknown = broker.call_named::<()>("frobnicate", ()).fail_fast().await;
            let error = expect_failure(unknown)?;
            assert_eq!(error.code(), Code::UnknownMethod);
            println!(
                "  frobnicate() is no method: {:?}, {:?}",
                error.code(),
                error.certainty()
            );
            Ok(())
        })
        .await
}

/// Many calls, some at a time; each worker makes the next one as soon as its last returned.
async fn burst(broker: &TcpBroker) -> Result<(), Error> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = time::now();
    let mut latencies = task_group(|group: TaskGroup<Error>| {
        let broker = broker.clone();
        async move {
            let worker = || work(broker.clone(), next.clone());
            let workers: Vec<_> = (0..IN_FLIGHT).map(|_| group.spawn(worker())).collect();
            let mut latencies = Vec::with_capacity(CALLS);
            for worker in workers {
                latencies.extend(worker.join().await?);
            }
            Ok(latencies)
        }
    })
    .await?;
    let took = time::now().saturating_duration_since(started);

    assert_eq!(latencies.len(), CALLS);
    latencies.sort_unstable();
    let rate = CALLS as f64 / took.as_secs_f64();
    println!("  {CALLS} calls, {IN_FLIGHT} in flight: {took:.1?}, {rate:.0} calls/s");
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!(
        "  latency: median {:.1?}, 90 % {:.1?}, 99 % {:.1?}, most {:.1?}",
        at(50),
        at(90),
        at(99),
        at(100)
    );
    Ok(())
}

async fn work(broker: TcpBroker, next: Arc<AtomicUsize>) -> Result<Vec<Duration>, Error> {
    let mut latencies = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= CALLS {
            return Ok(latencies);
        }
        let before = time::now();
        let sum = broker.call(add(number as i64, 1)).await?;
        latencies.push(time::now().saturating_duration_since(before));
        assert_eq!(sum, number as i64 + 1);
    }
}

/// A call that takes longer than its caller waits, and what becomes of it at the server.
async fn time_out(broker: &TcpBroker) -> Result<(), Error> {
    let before: u64 = broker.call_named("cancelled", ()).await?;
    let short = Duration::from_millis(50);
    let slow = broker
        .call_named::<()>("sleep", (60_000u64,))
        .timeout(short);
    let error = expect_failure(slow.await)?;
    assert_eq!(error.code(), Code::DeadlineExceeded);
    println!(
        "  sleep(60 s) within 50 ms: {:?}, {:?}",
        error.code(),
        error.certainty()
    );

    // The server heard that nobody waits: the handler was dropped, a minute early.
    let cancelled = async {
        loop {
            let after: u64 = broker.call_named("cancelled", ()).await?;
            if after > before {
                return Ok::<_, Error>(());
            }
        }
    };
    timeout(Duration::from_secs(5), cancelled).await??;
    println!("  and its handler was cancelled at the server");
    Ok(())
}

/// The error of a call that has to fail.
fn expect_failure<T, E>(outcome: Result<T, E>) -> Result<E, Error> {
    match outcome {
        Ok(_) => Err("the call should have failed".into()),
        Err(error) => Ok(error),
    }
}
