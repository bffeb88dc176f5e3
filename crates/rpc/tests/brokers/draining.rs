//! What a drain does to calls and connections, and what it reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::time;
use bowline_concurrency::{sleep, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::Event;
use bowline_rpc::sys::HealthStatus;
use bowline_rpc::{
    Broker, Caller, Certainty, CloseCause, Code, DynBroker, Error, Limits, MemoryBroker, Registry,
    Retry, TcpBroker, TcpBrokerBuilder,
};
use futures_util::FutureExt;

use crate::backends::{Div, on_every_backend, registry, within};
use crate::held::{Held, LONG, client, ended, held, hold};
use crate::on_time::ends_on_time;
use crate::raw_peer::RawPeer;
use crate::wire::{Wire, over_every_wire};

const SOON: Duration = Duration::from_millis(50);

fn serve(registry: Registry) -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry, 2)).listen("127.0.0.1:0")
}

async fn until(holds: impl Fn() -> bool) {
    let held = timeout(LONG, async {
        while !holds() {
            yield_now().await;
        }
    });
    held.await.expect("it comes to hold");
}

on_every_backend! {
    async fn a_drain_lets_calls_finish_and_says_how_many() {
        let Held { registry, started, let_go } = held();
        within(|group| async move {
            let server = serve(registry).start(&group).await?;
            let client = client(&server).start(&group).await?;
            let calls = [1, 2].map(|n| hold(&group, &client, n));
            for _ in 0..2 {
                started.recv().await.unwrap();
            }
            let mut drain = Box::pin(server.drain(LONG));
            assert!((&mut drain).now_or_never().is_none());
            for _ in 0..2 {
                let_go.send(()).await.unwrap();
            }
            for (call, n) in calls.into_iter().zip([1, 2]) {
                assert_eq!(call.await.unwrap(), n);
            }
            let report = drain.await;
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (2, 0, 0, 0));
            let cause = timeout(LONG, server.closed()).await.expect("it is closed");
            assert_eq!(cause, CloseCause::Drained);
            Ok(())
        }).await;
    }

    async fn a_drain_that_is_too_short_cancels_and_says_how_many() {
        let Held { registry, started, let_go: _let_go } = held();
        within(|group| async move {
            let server = serve(registry).start(&group).await?;
            let client = client(&server).start(&group).await?;
            // Two run, and one waits for a place.
            let calls = [1, 2, 3].map(|n| {
                let client = client.clone();
                group.spawn_ok(async move { client.call_named::<i64>("held", (n,)).retry(Retry::never()).await })
            });
            for _ in 0..2 {
                started.recv().await.unwrap();
            }
            until(|| server.statistics().calls_received == 3).await;
            let report = server.drain(SOON).await;
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (0, 1, 2, 0));
            let mut outcomes = Vec::new();
            for call in calls {
                outcomes.push(ended(call.join().await.expect("it is not cancelled")));
            }
            outcomes.sort_by_key(|(_, certainty)| *certainty);
            let cancelled = (Code::Cancelled, Certainty::MaybeExecuted);
            assert_eq!(outcomes, [(Code::Cancelled, Certainty::Refused), cancelled, cancelled]);
            Ok(())
        }).await;
    }

    // D1
    async fn a_broker_that_drains_takes_new_calls_of_its_handlers_alone() {
        let Held { registry, started, let_go } = held();
        let nesting = Registry::new("example");
        nesting.register_fn("nests", |context: bowline_rpc::Context, (n,): (i64,)| async move {
            let broker = context.broker().expect("it runs");
            let held = broker.call_named::<i64>("held", (n,)).await.unwrap();
            // The broker drains by now.
            broker.call_named::<i64>("add", (held, 1)).await.unwrap()
        }).unwrap();
        within(|group| async move {
            let server = serve(nesting).start(&group).await?;
            let peer = TcpBroker::builder(AsyncExecutor::new(registry, 8)).connect(server.local_addrs()[0]);
            let peer = peer.start(&group).await?;
            let nests = group.spawn_ok(async move { peer.call_named::<i64>("nests", (2,)).await });
            timeout(LONG, started.recv()).await.expect("it starts").unwrap();
            assert_eq!(server.call_named::<i64>("add", (2, 3)).await?, 5);
            let mut drain = Box::pin(server.drain(LONG));
            assert!((&mut drain).now_or_never().is_none());
            let refused = (Code::Draining, Certainty::NeverSent);
            assert_eq!(ended(server.call_named::<i64>("add", (2, 3)).await), refused);
            let typed = server.call(Div(7, 2)).await.unwrap_err();
            assert_eq!((typed.code(), typed.certainty()), refused);
            let notified = server.notify_named("add", (2, 3)).await.unwrap_err();
            assert_eq!((notified.code(), notified.certainty()), refused);
            let opened = server.call_named::<()>("add", (2, 3)).open::<i64>().await.map(drop).unwrap_err();
            assert_eq!((opened.code(), opened.certainty()), refused);
            let_go.send(()).await.unwrap();
            let (outcome, report) = futures_util::future::join(nests.join(), drain).await;
            assert_eq!(outcome.expect("it is not cancelled")?, 3);
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (1, 4, 0, 0));
            Ok(())
        }).await;
    }

    async fn a_broker_in_memory_drains_as_others_do() {
        let Held { registry, started, let_go } = held();
        registry.register_fn("nests", |context: bowline_rpc::Context, (n,): (i64,)| async move {
            let broker = context.broker().expect("it runs");
            let held = broker.call_named::<i64>("held", (n,)).await.unwrap();
            // A new one of a handler is still taken.
            broker.call_named::<i64>("add", (held, 1)).await.unwrap()
        }).unwrap();
        within(|group| async move {
            let broker = MemoryBroker::new(AsyncExecutor::new(registry, 8)).start(&group).await?;
            let first = hold(&group, &broker, 1);
            let calling = broker.clone();
            let nests = group.spawn_ok(async move { calling.call_named::<i64>("nests", (2,)).await });
            for _ in 0..2 {
                started.recv().await.unwrap();
            }
            // Behind one type, as it is the same for all.
            let draining = DynBroker::new(broker.clone());
            let mut drain = Box::pin(draining.drain(LONG));
            assert!((&mut drain).now_or_never().is_none());
            assert_eq!(broker.health(), HealthStatus::Draining);
            let late = broker.call_named::<i64>("add", (2, 3)).await;
            assert_eq!(ended(late), (Code::Draining, Certainty::NeverSent));
            for _ in 0..2 {
                let_go.send(()).await.unwrap();
            }
            let (outcomes, report) = futures_util::future::join(
                async { (first.await, nests.join().await.expect("it is not cancelled")) },
                drain,
            ).await;
            assert_eq!((outcomes.0.unwrap(), outcomes.1.unwrap()), (1, 3));
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (4, 1, 0, 0));
            assert_eq!(timeout(LONG, broker.closed()).await.expect("it is closed"), CloseCause::Drained);
            Ok(())
        }).await;
    }

    async fn a_drain_in_memory_that_is_too_short_cancels_and_says_how_many() {
        let Held { registry, started, let_go: _let_go } = held();
        within(|group| async move {
            let broker = MemoryBroker::new(AsyncExecutor::new(registry, 2)).start(&group).await?;
            let calls = [1, 2, 3].map(|n| hold(&group, &broker, n));
            for _ in 0..2 {
                started.recv().await.unwrap();
            }
            until(|| broker.stats().executor.waiting == 1).await;
            let report = broker.drain(SOON).await;
            assert_eq!((report.finished, report.refused, report.cancelled, report.abandoned), (0, 1, 2, 0));
            for call in calls {
                assert_eq!(ended(call.await).0, Code::Cancelled);
            }
            Ok(())
        }).await;
    }

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

    async fn what_is_offered_is_withdrawn_before_the_peer_is_asked_to_open_nothing() {
        let Held { registry, started, let_go } = held();
        within(|group| async move {
            let server = serve(registry).start(&group).await?;
            let client = client(&server).start(&group).await?;
            let running = hold(&group, &client, 7);
            started.recv().await.unwrap();
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            let advertised = peer.until(|event| matches!(event, Event::Advertised(_))).await;
            let Event::Advertised(methods) = advertised else { panic!("{advertised:?}") };
            let ids: Vec<_> = methods.iter().map(|method| method.method).collect();
            let drains = server.clone();
            let drain = group.spawn_ok(async move { drains.drain(LONG).await });
            let first = peer.until(|event| matches!(event, Event::Withdrawn(_) | Event::Draining { .. })).await;
            let Event::Withdrawn(mut gone) = first else { panic!("{first:?}") };
            gone.sort();
            assert_eq!(gone, ids);
            peer.until(|event| matches!(event, Event::Draining { .. })).await;
            let_go.send(()).await.unwrap();
            assert_eq!(running.await.unwrap(), 7);
            drop(peer);
            drain.join().await.expect("it ends");
            Ok(())
        }).await;
    }

    // D1
    async fn a_drain_loses_no_call_of_a_peer_that_takes_few_methods() {
        let Held { registry, started, let_go } = held();
        for n in 0..300 {
            registry.register_fn(format!("method.{n}"), |(): ()| async {}).unwrap();
        }
        within(|group| async move {
            let server = serve(registry).start(&group).await?;
            let client = client(&server).limits(Limits::paranoid()).unwrap().start(&group).await?;
            let running = hold(&group, &client, 7);
            started.recv().await.unwrap();
            let drains = server.clone();
            let drain = group.spawn_ok(async move { drains.drain(LONG).await });
            until(|| server.health() == HealthStatus::Draining).await;
            let_go.send(()).await.unwrap();
            assert_eq!(running.await.unwrap(), 7);
            assert_eq!(drain.join().await.expect("it ends").finished, 1);
            Ok(())
        }).await;
    }

    // D2
    async fn idle_and_handshaking_connections_do_not_delay_a_drain() {
        within(|group| async move {
            let server = serve(registry()).start(&group).await?;
            let idle = client(&server).start(&group).await?;
            let handshaking = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
            until(|| server.statistics().open == 2).await;
            let report = timeout(LONG, server.drain(Duration::from_secs(3600))).await.expect("nothing delays it");
            assert_eq!(report, Default::default());
            drop((idle, handshaking));
            Ok(())
        }).await;
    }

    // D3
    async fn calls_that_were_not_sent_end_so_when_their_broker_drains() {
        within(|group| async move {
            let server = serve(registry()).start(&group).await?;
            let client = client(&server).start(&group).await?;
            server.close();
            until(|| client.connections() == 0).await;
            // It connects again, in vain, and these wait for that.
            let calls = [1, 2].map(|n| {
                let client = client.clone();
                group.spawn_ok(async move { client.call_named::<i64>("add", (n, n)).no_deadline().await })
            });
            sleep(SOON).await;
            client.drain(SOON).await;
            for call in calls {
                let outcome = timeout(LONG, call.join()).await.expect("it ends").expect("it is not cancelled");
                assert_eq!(ended(outcome), (Code::Cancelled, Certainty::NeverSent));
            }
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
