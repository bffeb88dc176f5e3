//! Remote calls of every outcome, through faults of all kinds.

use std::time::Duration;

use bowline::concurrency::{sleep, sleep_forever, task_group};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{CallError, Caller, Code, Error, Registry, TcpBroker};
use bowline::sim::{Builder, Faults, Link, Sim, always, sometimes};
use serde::{Deserialize, Serialize};

use super::{HEAL, RECONNECTED, SETTLE, patience};

const AT: &str = "0.0.0.0:15383";
const PROJECT: &str = "scenario";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct DivideByZero {
    dividend: i64,
}

#[bowline::rpc(name = "add")]
async fn add(a: i64, b: i64) -> i64 {
    sleep(Duration::from_millis(a.unsigned_abs() % 5)).await;
    a + b
}

#[bowline::rpc(name = "divide")]
async fn divide(a: i64, b: i64) -> Result<i64, DivideByZero> {
    a.checked_div(b).ok_or(DivideByZero { dividend: a })
}

#[bowline::rpc(name = "hang")]
async fn hang() -> i64 {
    match sleep_forever().await {}
}

pub(super) fn world() -> Builder {
    let link = Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(5));
    Sim::builder()
        .default_link(link)
        .faults(Faults::swarm())
        .heal_at(HEAL)
        .settle(SETTLE)
        .host("server", server)
        .client("a", || caller(8))
        .client("b", || caller(16))
}

async fn server() -> Result<(), Error> {
    let registry = Registry::new(PROJECT);
    registry.register(add)?;
    registry.register(divide)?;
    registry.register(hang)?;
    TcpBroker::builder(AsyncExecutor::new(registry, 8))
        .listen(AT)
        .allow_insecure_network()
        .run(async |_| -> Result<(), Error> { std::future::pending().await })
        .await
}

/// Makes so many calls, each until it was answered, and one of each other outcome.
async fn caller(calls: i64) -> Result<(), Error> {
    loop {
        let broker = TcpBroker::caller()
            .project(PROJECT)
            .connect("server:15383")
            .allow_insecure_network();
        let done = broker
            .run(async |broker| {
                every_outcome(&broker, calls).await;
                Ok::<_, Error>(())
            })
            .await;
        // No connection came about in time.
        let Err(error) = done else {
            return Ok(());
        };
        always!("starts-in-the-end", Sim::now() < HEAL + SETTLE, "{error}");
    }
}

async fn every_outcome(broker: &TcpBroker, calls: i64) {
    let all = task_group(async |group| {
        for number in 0..calls {
            let broker = broker.clone();
            group.spawn(async move {
                sleep(Duration::from_millis(250 * number.unsigned_abs())).await;
                let call = |patience| broker.call(add(number, 1)).timeout(patience);
                let sum = until(call, Result::is_ok).await;
                always!("reply-is-its-own", sum.is_ok_and(|sum| sum == number + 1));
                Ok::<_, Error>(())
            });
        }
        Ok::<_, Error>(())
    });
    all.await.expect("no call fails for ever");
    let by_zero = |patience| broker.call(divide(7, 0)).timeout(patience);
    let failed = until(by_zero, |outcome| fails_with(outcome, Code::Application)).await;
    let failed = failed.expect_err("it was looked at");
    always!(
        "typed-error",
        failed.application() == Some(&DivideByZero { dividend: 7 })
    );
    let endless = |_| broker.call(hang()).timeout(Duration::from_millis(50));
    let late = until(endless, |outcome| {
        fails_with(outcome, Code::DeadlineExceeded)
    });
    sometimes!("outran its deadline", late.await.is_err());
    let unknown = |_| broker.call_named::<i64>("nothing", ()).fail_fast();
    let unknown = until(unknown, |outcome| fails_with(outcome, Code::UnknownMethod));
    always!("unknown-method", unknown.await.is_err());
}

fn fails_with<T, E>(outcome: &Result<T, CallError<E>>, code: Code) -> bool {
    outcome.as_ref().is_err_and(|error| error.code() == code)
}

/// Calls, each time with more patience, until the outcome is one that `is_wanted`; before it there
/// are those alone that a fault makes.
async fn until<T, E, F>(
    call: impl Fn(Duration) -> F,
    is_wanted: impl Fn(&Result<T, CallError<E>>) -> bool,
) -> Result<T, CallError<E>>
where
    F: IntoFuture<Output = Result<T, CallError<E>>>,
{
    let mut failures = 0;
    let mut lost = false;
    loop {
        let outcome = call(patience(failures)).await;
        if is_wanted(&outcome) {
            sometimes!(RECONNECTED, lost);
            return outcome;
        }
        let code = outcome.err().map(|error| error.code());
        lost |= code == Some(Code::ConnectionLost);
        always!(
            "failures-pass",
            matches!(
                code,
                Some(Code::ConnectionLost | Code::DeadlineExceeded | Code::NoPeer)
            ),
            "{code:?}"
        );
        failures += 1;
        sleep(Duration::from_millis(100)).await;
    }
}
