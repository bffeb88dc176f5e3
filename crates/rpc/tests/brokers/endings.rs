//! What becomes of calls when a broker or a connection ends, and when it is there again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::net::TcpListener;
use bowline_backend::time;
use bowline_concurrency::timeout;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Caller, Certainty, CloseCause, Code, DynBroker, Error, Limits, MemoryBroker, Registry,
    TcpBroker,
};
use futures_util::FutureExt;

use crate::backends::{on_every_backend, registry, within};
use crate::draining::{SOON, serve, until};
use crate::held::{Held, LONG, client, ended, held, hold};
use crate::on_time::ends_on_time;
use crate::raw_peer::RawPeer;
use crate::wire::{Wire, over_every_wire};

on_every_backend! {
    async fn brokers_say_why_they_ended() {
        within(|group| async move {
            let memory = || MemoryBroker::new(AsyncExecutor::new(registry(), 1));
            for broker in [
                DynBroker::new(memory().start(&group).await?),
                DynBroker::new(serve(registry()).start(&group).await?),
            ] {
                assert!(broker.closed().now_or_never().is_none(), "{broker:?}");
                broker.close();
                let cause = timeout(LONG, broker.closed()).await.expect("it ends");
                assert_eq!(cause, CloseCause::Closed, "{broker:?}");
                // The first counts.
                broker.drain(SOON).await;
                assert_eq!(broker.closed().await, CloseCause::Closed);
            }
            let kept = memory().run(async |broker| -> Result<_, Error> { Ok(broker) }).await?;
            assert_eq!(kept.closed().await, CloseCause::Cancelled);
            let kept = serve(registry()).run(async |broker| -> Result<_, Error> { Ok(broker) }).await?;
            assert_eq!(kept.closed().await, CloseCause::Cancelled);
            Ok(())
        }).await;
    }

    // D4
    async fn who_drops_a_broker_cancels_everything() {
        let Held { registry, started, let_go: _let_go } = held();
        within(|group| async move {
            let server = serve(registry).start(&group).await?;
            let address = server.local_addrs()[0];
            let caller = group.spawn_ok(async move {
                let client = TcpBroker::caller().project("example").connect(address);
                client.run(async |client| Ok::<_, Error>(client.call_named::<i64>("held", (1,)).no_deadline().await?)).await
            });
            started.recv().await.unwrap();
            assert_eq!(server.statistics().calls_received, 1);
            // Dropped in the middle of its call, and so is its handler: both places are free.
            caller.cancel("enough");
            drop(caller.join().await);
            until(|| server.connections() == 0).await;
            let again = client(&server).start(&group).await?;
            let (first, second) = (hold(&group, &again, 1), hold(&group, &again, 2));
            for _ in 0..2 {
                timeout(LONG, started.recv()).await.expect("there is a place").unwrap();
            }
            again.close();
            assert_eq!(ended(first.await).1, Certainty::MaybeExecuted);
            assert_eq!(ended(second.await).1, Certainty::MaybeExecuted);
            Ok(())
        }).await;
    }

    // P6
    async fn calls_without_a_deadline_end_with_their_connection() {
        within(|group| async move {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let peer = group.spawn_ok(async move {
                let mut peer = RawPeer::accept(&listener, &Limits::default(), &["f"]).await;
                for _ in 0..100 {
                    peer.until(|event| matches!(event, bowline_rpc::proto::Event::Opened(_))).await;
                }
            });
            let client = TcpBroker::caller().project("example").connect(address).start(&group).await?;
            let calls: Vec<_> = (0..100).map(|n: i64| {
                let client = client.clone();
                group.spawn_ok(async move { client.call_named::<i64>("f", (n,)).no_deadline().await })
            }).collect();
            peer.join().await.expect("it is not cancelled");
            let cut = time::now();
            for call in calls {
                let outcome = timeout(LONG, call.join()).await.expect("it ends at once").expect("it is not cancelled");
                assert_eq!(ended(outcome), (Code::ConnectionLost, Certainty::MaybeExecuted));
            }
            ends_on_time(cut, Duration::ZERO);
            until(|| client.statistics().open == 0).await;
            assert!(client.stats().connections.is_empty() && client.methods().iter().next().is_none());
            let error = client.call_named::<i64>("f", (1,)).fail_fast().await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
            Ok(())
        }).await;
    }

    // R23
    async fn what_a_peer_gave_is_void_once_it_starts_again() {
        // The second start offers its methods in another order, under other numbers, and runs a call
        // whose key the first has seen.
        let runs = Arc::new(AtomicUsize::new(0));
        let registry = |names: [&str; 2]| {
            let registry = Registry::new("example");
            for name in names {
                let (runs, name) = (runs.clone(), name.to_owned());
                registry.register_fn(name.clone(), move |(): ()| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    let name = name.clone();
                    async move { name }
                }).unwrap();
            }
            registry
        };
        let (first, second) = (registry(["a", "b"]), registry(["b", "a"]));
        let counted = runs.clone();
        within(|group| async move {
            let server = serve(first).start(&group).await?;
            let address = server.local_addrs()[0];
            let client = client(&server).start(&group).await?;
            let call = |name: &'static str| client.call_named::<String>(name, ()).idempotency_key("key").timeout(LONG);
            for _ in 0..2 {
                assert_eq!((call("a").await?, call("b").await?), ("a".into(), "b".into()));
            }
            assert_eq!(counted.load(Ordering::SeqCst), 2);
            server.drain(LONG).await;
            let again = TcpBroker::builder(AsyncExecutor::new(second, 2)).listen(address);
            let _again = again.start(&group).await?;
            for _ in 0..2 {
                assert_eq!((call("a").await?, call("b").await?), ("a".into(), "b".into()));
            }
            assert_eq!(counted.load(Ordering::SeqCst), 4);
            Ok(())
        }).await;
    }
}

over_every_wire! {
    // BR18, BR5
    async fn a_server_that_starts_again_is_found_again(wire: Wire) {
        within(|group| async move {
            let server = wire.serve(registry()).start(&group).await?;
            let address = server.endpoints()[0].clone();
            let client = wire.client(&server).start(&group).await?;
            assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
            server.drain(LONG).await;
            until(|| client.connections() == 0).await;
            let waiting: Vec<_> = (0..20).map(|n: i64| {
                let client = client.clone();
                group.spawn_ok(async move { client.call_named::<i64>("add", (n, 1)).timeout(LONG).await })
            }).collect();
            let again = wire.prepare(TcpBroker::builder(AsyncExecutor::new(registry(), 2))).listen(address);
            let again = again.start(&group).await?;
            for (call, n) in waiting.into_iter().zip(0..) {
                assert_eq!(call.join().await.expect("it is not cancelled")?, n + 1);
            }
            assert_eq!((again.statistics().calls_received, client.connections()), (20, 1));
            Ok(())
        }).await;
    }
}
