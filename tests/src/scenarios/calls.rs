//! Remote calls of every outcome.

use std::time::Duration;

use bowline::concurrency::{sleep, sleep_forever, task_group};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Code, Error, Registry, TcpBroker};
use bowline::sim::{Builder, Link, Sim};
use serde::{Deserialize, Serialize};

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
    let link = Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(20));
    Sim::builder()
        .horizon(Duration::from_secs(600))
        .default_link(link)
        .host("server", server)
        .client("a", || caller(20))
        .client("b", || caller(40))
}

async fn server() -> Result<(), Error> {
    let registry = Registry::new(PROJECT);
    registry.register(add)?;
    registry.register(divide)?;
    registry.register(hang)?;
    TcpBroker::builder(AsyncExecutor::new(registry, 8))
        .listen(AT)
        .run(async |_| -> Result<(), Error> { std::future::pending().await })
        .await
}

async fn caller(calls: i64) -> Result<(), Error> {
    TcpBroker::caller()
        .project(PROJECT)
        .connect("server:15383")
        .run(async |broker| -> Result<(), Error> {
            let all = task_group(async |group| {
                for number in 0..calls {
                    let broker = broker.clone();
                    group.spawn(async move {
                        let sum = broker.call(add(number, 1)).await?;
                        bowline::sim::always!("reply-is-its-own", sum == number + 1);
                        Ok::<_, Error>(())
                    });
                }
                Ok::<_, Error>(())
            });
            all.await.expect("no call fails");
            let error = broker.call(divide(7, 0)).await.unwrap_err();
            assert_eq!(error.application(), Some(&DivideByZero { dividend: 7 }));
            let late = broker
                .call(hang())
                .timeout(Duration::from_millis(50))
                .await
                .unwrap_err();
            assert_eq!(late.code(), Code::DeadlineExceeded);
            let unknown = broker
                .call_named::<i64>("nothing", ())
                .fail_fast()
                .await
                .unwrap_err();
            assert_eq!(unknown.code(), Code::UnknownMethod);
            Ok(())
        })
        .await
}
