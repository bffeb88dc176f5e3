//! A method that holds its place until it is let go, and callers that wait for it.

use std::pin::Pin;
use std::time::Duration;

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, timeout};
use bowline_rpc::{
    Broker, CallError, Caller, Certainty, Code, Error, Registry, TcpBroker, TcpBrokerBuilder,
};

use crate::backends::registry;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A registry with `held`: says so when it starts, and ends once it is let go.
pub(crate) struct Held {
    pub(crate) registry: Registry,
    pub(crate) started: Receiver<()>,
    pub(crate) let_go: Sender<()>,
}

pub(crate) fn held() -> Held {
    let ((starting, started), (let_go, waiting)) = (bounded(64), bounded(64));
    let registry = registry();
    registry
        .register_fn("held", move |(n,): (i64,)| {
            let (starting, waiting) = (starting.clone(), waiting.clone());
            async move {
                let _ = starting.send(()).await;
                let _ = waiting.recv().await;
                n
            }
        })
        .unwrap();
    Held {
        registry,
        started,
        let_go,
    }
}

pub(crate) fn client(server: &TcpBroker) -> TcpBrokerBuilder {
    TcpBroker::caller()
        .project("example")
        .connect(server.local_addrs()[0])
}

pub(crate) type Outcome = Result<i64, CallError>;

/// Calls `held` from a task of its own.
pub(crate) fn hold(
    group: &TaskGroup<Error>,
    broker: &impl Broker,
    n: i64,
) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    let broker = broker.clone();
    let call = group.spawn_ok(async move { broker.call_named("held", (n,)).no_deadline().await });
    Box::pin(async move {
        timeout(LONG, call.join())
            .await
            .expect("it ends")
            .expect("it is not cancelled")
    })
}

pub(crate) fn ended(outcome: Outcome) -> (Code, Certainty) {
    let error = outcome.unwrap_err();
    (error.code(), error.certainty())
}
