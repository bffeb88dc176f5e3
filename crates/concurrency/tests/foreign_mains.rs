//! Scopes directly under the mains of other people: no root of ours, no `block_on` of ours. A process
//! of its own, since the default backend is chosen here.

use bowline_backend::Backend;
use bowline_concurrency::{
    CancelScope, CauseKind, Elapsed, cancel_scope, drain, on_cancel, sleep, sleep_forever, timeout,
};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What a user writes under `#[tokio::main]`, or whatever that is.
async fn everyday_work(backend: Backend) {
    assert_eq!(Backend::current().ok(), Some(backend));

    let late: Result<_, Elapsed> = timeout(5 * MS, sleep_forever()).await;
    assert!(late.is_err());
    let ended = CancelScope::new()
        .timeout(5 * MS)
        .run(sleep_forever())
        .await;
    assert_eq!(ended.cause().unwrap().kind(), CauseKind::Deadline);

    for limit in [None, Some(60 * SECOND)] {
        let finalised = lose_a_scope(limit).await;
        let left = drain(60 * SECOND).await;
        assert!(left.is_empty(), "{left}");
        assert_eq!(finalised.recv(), Ok(CauseKind::Dropped), "limit {limit:?}");
    }
}

/// A `select!` of the user's drops a scope that has something to clean up.
async fn lose_a_scope(limit: Option<Duration>) -> Receiver<CauseKind> {
    let (told, finalised) = channel();
    let mut scope = CancelScope::new();
    if let Some(limit) = limit {
        scope = scope.timeout(limit);
    }
    let work = scope.run(cancel_scope(move |_| async move {
        let _guard = on_cancel(move |cause| async move {
            sleep(MS).await;
            told.send(cause.kind()).unwrap();
        });
        sleep_forever().await
    }));
    match select(pin!(work), pin!(sleep(2 * MS))).await {
        Either::Left(_) => panic!("the work has no end"),
        Either::Right(_) => finalised,
    }
}

// CS41, CS50
#[test]
fn under_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(everyday_work(Backend::Tokio));
    let task = runtime.spawn(everyday_work(Backend::Tokio));
    runtime.block_on(task).unwrap();
}

// CS41, CS50
#[test]
fn under_async_std() {
    async_std::task::block_on(everyday_work(Backend::AsyncStd));
}

// CS41, CS50
#[test]
fn under_smol() {
    // Nothing tells that its main runs: the default says so.
    Backend::set_default(Backend::Smol);
    async_io::block_on(everyday_work(Backend::Smol));
}
