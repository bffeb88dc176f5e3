//! What the end of a broker means for handlers that no connection waits for, and for those that go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, sleep, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Caller, Certainty, Code, Error, MemoryBroker, MethodDef, Registry, Retry, TcpBroker,
};

use crate::backends::{on_every_backend, registry, within};
use crate::draining::until;
use crate::goes_on::GoesOn;
use crate::held::{Held, LONG, client, ended, held, hold};

const SOON: Duration = Duration::from_millis(50);

/// A registry with `note`, which counts itself once it is let go.
struct Notes {
    registry: Registry,
    began: Receiver<()>,
    let_go: Sender<()>,
    noted: Arc<AtomicUsize>,
}

fn notes() -> Notes {
    let ((begins, began), (let_go, waits)) = (bounded(8), bounded(8));
    let (registry, noted) = (registry(), Arc::new(AtomicUsize::new(0)));
    let counts = noted.clone();
    registry
        .register_fn("note", move |(): ()| {
            let (begins, waits, counts) = (begins.clone(), waits.clone(), counts.clone());
            async move {
                let _ = begins.send(()).await;
                let _ = waits.recv().await;
                sleep(SOON).await;
                counts.fetch_add(1, Ordering::SeqCst);
            }
        })
        .unwrap();
    Notes {
        registry,
        began,
        let_go,
        noted,
    }
}

/// A server in which the handler of a notification has begun, and the client that sent it.
async fn noting(
    registry: Registry,
    began: &Receiver<()>,
    group: &TaskGroup<Error>,
) -> Result<(TcpBroker, TcpBroker), Error> {
    let server = TcpBroker::builder(AsyncExecutor::new(registry, 2)).listen("127.0.0.1:0");
    let server = server.start(group).await?;
    let client = client(&server).start(group).await?;
    client.notify_named("note", ()).await?;
    began.recv().await.unwrap();
    Ok((server, client))
}

fn goes_on() -> (AsyncExecutor, Receiver<()>, Held) {
    let held = held();
    let methods = [MethodDef::of::<GoesOn>()];
    held.registry.register_all(methods).unwrap();
    let (begins, began) = bounded(8);
    let executor = AsyncExecutor::new(held.registry.clone(), 4).state(begins);
    (executor, began, held)
}

on_every_backend! {
    // BR17
    async fn notifications_of_a_broker_in_memory_come_to_their_end_with_it() {
        let notes = notes();
        notes.let_go.send(()).await.unwrap();
        MemoryBroker::new(AsyncExecutor::new(notes.registry, 1)).run(async |broker| -> Result<(), Error> {
            Ok(broker.notify_named("note", ()).await?)
        }).await.unwrap();
        assert_eq!(notes.noted.load(Ordering::SeqCst), 1);
    }

    // BR17, D1
    async fn a_drain_waits_for_the_handlers_of_notifications() {
        let notes = notes();
        within(|group| async move {
            let (server, _client) = noting(notes.registry, &notes.began, &group).await?;
            let drains = server.clone();
            let drain = group.spawn_ok(async move { drains.drain(LONG).await });
            let gone = timeout(LONG, async {
                while server.connections() > 0 {
                    yield_now().await;
                }
            });
            gone.await.expect("no call keeps the connection");
            let _ = notes.let_go.send(()).await;
            let report = drain.join().await.expect("it ends");
            let (finished, noted) = (report.finished, notes.noted.load(Ordering::SeqCst));
            assert_eq!((noted, finished, report.cancelled, report.abandoned), (1, 1, 0, 0));
            Ok(())
        }).await;
    }

    // D7
    async fn a_drain_that_is_too_short_cancels_the_handlers_of_notifications() {
        let notes = notes();
        within(|group| async move {
            let (server, client) = noting(notes.registry, &notes.began, &group).await?;
            // The one that has a place for it, and one that waits, of which nobody hears either.
            for _ in 0..2 {
                client.notify_named("note", ()).await?;
            }
            notes.began.recv().await.unwrap();
            until(|| server.statistics().calls_received == 3).await;
            let report = timeout(LONG, server.drain(SOON)).await.expect("it ends");
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (0, 0, 3, 0));
            assert_eq!(notes.noted.load(Ordering::SeqCst), 0);
            Ok(())
        }).await;
    }

    // D7
    async fn a_drain_in_memory_that_is_too_short_cancels_the_handlers_of_notifications() {
        let notes = notes();
        within(|group| async move {
            let broker = MemoryBroker::new(AsyncExecutor::new(notes.registry, 2)).start(&group).await?;
            for _ in 0..3 {
                broker.notify_named("note", ()).await?;
            }
            for _ in 0..2 {
                notes.began.recv().await.unwrap();
            }
            let report = timeout(LONG, broker.drain(SOON)).await.expect("it ends");
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (0, 0, 3, 0));
            assert_eq!(notes.noted.load(Ordering::SeqCst), 0);
            Ok(())
        }).await;
    }

    // D7
    async fn a_drain_that_is_too_short_cancels_calls_with_a_key_and_tells_their_callers() {
        let Held { registry, started, let_go: _let_go } = held();
        within(|group| async move {
            let server = TcpBroker::builder(AsyncExecutor::new(registry, 2)).listen("127.0.0.1:0");
            let server = server.start(&group).await?;
            let client = client(&server).start(&group).await?;
            // Two with one key: one runs, and the other waits for its answer.
            let calls = [1, 1].map(|n| {
                let client = client.clone();
                group.spawn_ok(async move {
                    client.call_named::<i64>("held", (n,)).idempotency_key("key").retry(Retry::never()).await
                })
            });
            started.recv().await.unwrap();
            let both = timeout(LONG, async {
                while server.statistics().calls_received < 2 {
                    yield_now().await;
                }
            });
            both.await.expect("both are there");
            let report = server.drain(SOON).await;
            assert_eq!((report.finished, report.refused, report.abandoned), (0, 0, 0));
            for call in calls {
                let outcome = timeout(LONG, call.join()).await.expect("it ends").expect("it is not cancelled");
                assert_eq!(ended(outcome), (Code::Cancelled, Certainty::MaybeExecuted));
            }
            Ok(())
        }).await;
    }

    // D7
    async fn a_drain_in_memory_tells_which_handlers_went_on() {
        let (executor, began, held) = goes_on();
        within(|group| async move {
            let broker = MemoryBroker::new(executor).start(&group).await?;
            let calling = broker.clone();
            let goes_on = group.spawn_ok(async move { calling.call(GoesOn).no_deadline().await });
            let cancelled = [1, 2].map(|n| hold(&group, &broker, n));
            began.recv().await.unwrap();
            for _ in 0..2 {
                held.started.recv().await.unwrap();
            }
            let report = broker.drain(SOON).await;
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (0, 0, 2, 1));
            for call in cancelled {
                assert_eq!(ended(call.await), (Code::Cancelled, Certainty::MaybeExecuted));
            }
            let error = goes_on.join().await.expect("it is not cancelled").unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::MaybeExecuted));
            Ok(())
        }).await;
    }
}
