//! What brokers tell of themselves, to whom, and how one is ended from afar.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bowline_concurrency::{timeout, yield_now};
use bowline_rpc::executor::{AsyncExecutor, NullExecutor};
use bowline_rpc::proto::{CodecId, Command, Event, Open, Target};
use bowline_rpc::sys::{BrokerStats, HealthStatus, MethodStats, Reflection, RunningCall};
use bowline_rpc::{
    Broker, Caller, Certainty, Code, Codec, Error, ErrorKind, Incoming, Limits, MemoryBroker,
    Right, Secret, TcpBroker, TcpBrokerBuilder, sys,
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use crate::backends::{div, fall, on_every_backend, registry, within};
use crate::held::{LONG, held, hold};
use crate::raw_peer::RawPeer;
use crate::wire::{Wire, over_every_wire};

fn secret() -> Secret {
    Secret::new(*b"sixteen bytes or").unwrap()
}

/// A client that the server knows as `ops`.
fn known(wire: &Wire, server: &TcpBroker) -> TcpBrokerBuilder {
    wire.client(server).secret(secret()).key_id("ops")
}

fn knowing(builder: TcpBrokerBuilder) -> TcpBrokerBuilder {
    builder.keys([("ops", secret())])
}

fn method<'a>(stats: &'a BrokerStats, name: &str) -> &'a MethodStats {
    let mut methods = stats.methods.iter();
    methods.find(|method| method.method == name).expect(name)
}

fn failures(method: &MethodStats) -> Vec<(&str, u64)> {
    let failures = method.failures.iter();
    failures.map(|it| (&*it.code, it.calls)).collect()
}

/// Calls of many outcomes, at a broker that counts them so.
async fn call_all<B: Broker>(broker: &B, stats: impl Fn() -> BrokerStats) -> BrokerStats {
    for n in 0..3 {
        assert_eq!(broker.call(div(9, 3)).await.unwrap(), 3);
        assert_eq!(
            broker.call_named::<i64>("add", (n, 1)).await.unwrap(),
            n + 1
        );
    }
    assert!(broker.call(div(9, 0)).await.is_err());
    assert_eq!(broker.call(fall()).await.unwrap_err().code(), Code::Panic);
    let misread = broker.call_named::<i64>("add", ("two", 3)).await;
    assert_eq!(misread.unwrap_err().code(), Code::BadArguments);
    let mut slow = broker.call_named::<()>("slow", ()).into_future();
    until(|| {
        assert!((&mut slow).now_or_never().is_none());
        method(&stats(), "slow").running == 1
    })
    .await;
    drop(slow);
    until(|| method(&stats(), "slow").running == 0).await;
    stats()
}

async fn until(mut enough: impl FnMut() -> bool) {
    let seen = timeout(LONG, async {
        while !enough() {
            yield_now().await;
        }
    });
    seen.await.expect("it is seen");
}

fn all_counted(stats: &BrokerStats) {
    let divided = method(stats, "example.shop.math.div");
    assert_eq!((divided.calls, divided.running, divided.queued), (4, 0, 0));
    assert_eq!(failures(divided), [("Application", 1)]);
    assert_eq!(divided.latencies.calls(), 4);
    let added = method(stats, "add");
    assert_eq!((added.calls, added.latencies.calls()), (4, 4));
    assert_eq!(failures(added), [("BadArguments", 1)]);
    let fell = method(stats, "fall");
    assert_eq!((fell.calls, failures(fell)), (1, vec![("Panic", 1)]));
    let slow = method(stats, "slow");
    assert_eq!((slow.calls, failures(slow)), (1, vec![("Cancelled", 1)]));
    assert!(
        stats
            .methods
            .iter()
            .all(|it| !it.method.starts_with("sys."))
    );
}

fn reflected(reflection: &Reflection) {
    assert_eq!(reflection.project, "example");
    let names: Vec<_> = reflection.methods.iter().map(|it| &*it.name).collect();
    assert_eq!(
        names,
        ["example.shop.math.div", "fall", "mul", "add", "slow"]
    );
    let flags = |n: usize| {
        let method = &reflection.methods[n];
        (method.idempotent, method.blocking, &*method.kind)
    };
    assert_eq!(flags(0), (false, false, "unary"));
    assert_eq!(flags(1), (true, false, "unary"));
    assert_eq!(flags(2), (false, true, "unary"));
}

over_every_wire! {
    async fn calls_are_counted_by_method_and_outcome(wire: Wire) {
        within(|group| async move {
            let server = knowing(wire.serve(registry())).start(&group).await?;
            let client = known(&wire, &server).start(&group).await?;
            all_counted(&call_all(&client, || server.stats()).await);
            reflected(&server.reflect());
            // The same as a value of any format, and by name.
            for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
                all_counted(&client.call(sys::Stats).codec(codec).await.unwrap());
                reflected(&client.call(sys::Reflect).codec(codec).await.unwrap());
            }
            for codec in [Codec::MessagePack, Codec::Json] {
                let stats = client.call_named::<BrokerStats>("sys.stats", ());
                all_counted(&stats.codec(codec).await?);
                let health = client.call_named::<String>("sys.health", ());
                assert_eq!(health.codec(codec).await?, "Serving");
            }
            let error = client.call_named::<()>("sys.stats", (1,)).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::BadArguments, Certainty::Refused));
            Ok(())
        }).await;
    }

    async fn what_runs_and_what_waits_is_told(wire: Wire) {
        within(|group| async move {
            let held = held();
            let executor = AsyncExecutor::new(held.registry, 1).queue(1);
            let server = knowing(wire.serve_by(executor)).start(&group).await?;
            let client = known(&wire, &server).start(&group).await?;
            assert_eq!(client.call(sys::Health).await.unwrap(), HealthStatus::Serving);
            let first = hold(&group, &client, 1);
            held.started.recv().await.unwrap();
            let second = hold(&group, &client, 2);
            until(|| method(&server.stats(), "held").queued == 1 && !server.tasks().is_empty()).await;
            let stats = client.call(sys::Stats).await.unwrap();
            let counted = method(&stats, "held");
            assert_eq!((counted.calls, counted.running, counted.queued), (2, 1, 1));
            assert_eq!((stats.executor.running, stats.executor.waiting), (1, 1));
            // The executor has no place left: brokers answer without.
            assert_eq!(client.call(sys::Health).await.unwrap(), HealthStatus::Overloaded);
            let tasks = client.call(sys::Tasks).await.unwrap();
            let [RunningCall { method: name, principal, hops, left_us, cancelled, tasks, .. }] = &tasks[..] else {
                panic!("{tasks:?}");
            };
            assert_eq!((&**name, &**principal, *hops, *cancelled), ("held", "ops", 0, false));
            // Without a deadline of the caller it is the longest that this broker allows.
            assert!(left_us.is_some_and(|left| left > 3_000_000_000), "{left_us:?}");
            assert_eq!((tasks[0].kind.as_str(), tasks[0].parent, tasks[0].state.as_str()), ("scope", None, "parked"));
            for _ in 0..2 {
                held.let_go.send(()).await.unwrap();
            }
            assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 2));
            assert_eq!(client.call(sys::Tasks).await.unwrap(), []);
            assert_eq!(client.call(sys::Health).await.unwrap(), HealthStatus::Serving);
            Ok(())
        }).await;
    }

    async fn notifications_that_wait_keep_nobody_out(wire: Wire) {
        within(|group| async move {
            let held = held();
            let executor = AsyncExecutor::new(held.registry, 1).queue(1);
            let server = knowing(wire.serve_by(executor)).start(&group).await?;
            assert_eq!(server.health(), HealthStatus::Serving);
            let client = known(&wire, &server).start(&group).await?;
            let first = hold(&group, &client, 1);
            held.started.recv().await.unwrap();
            for n in [2, 3, 4] {
                client.notify_named("held", (n,)).await?;
            }
            until(|| server.stats().executor.waiting == 3).await;
            assert_eq!(client.call(sys::Health).await.unwrap(), HealthStatus::Serving);
            let second = hold(&group, &client, 5);
            until(|| server.stats().executor.waiting == 4).await;
            assert_eq!(client.call(sys::Health).await.unwrap(), HealthStatus::Overloaded);
            for _ in 0..5 {
                held.let_go.send(()).await.unwrap();
            }
            assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 5));
            // A caller has no executor, and nothing that could be full.
            assert_eq!(client.health(), HealthStatus::Serving);
            Ok(())
        }).await;
    }

    async fn a_handler_is_counted_from_its_begin_and_listed_from_its_first_wait(wire: Wire) {
        within(|group| async move {
            let (server, registry) = (Arc::new(OnceLock::<TcpBroker>::new()), registry());
            let asks = server.clone();
            registry.register_fn("look", move |(): ()| {
                let asks = asks.clone();
                async move {
                    let server = asks.get().expect("it runs");
                    let look = || (method(&server.stats(), "look").running, server.tasks().len());
                    let first = look();
                    yield_now().await;
                    (first, look())
                }
            })?;
            let started = wire.serve(registry).start(&group).await?;
            let _ = server.set(started.clone());
            let client = wire.client(&started).start(&group).await?;
            let looks = client.call_named::<((u64, usize), (u64, usize))>("look", ()).await?;
            assert_eq!(looks, ((1, 0), (1, 1)));
            Ok(())
        }).await;
    }

    async fn strangers_are_told_nothing_unless_a_rule_says_so(wire: Wire) {
        within(|group| async move {
            let server = wire.serve(registry()).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            for name in ["sys.reflect", "sys.health", "sys.stats", "sys.tasks", "sys.drain"] {
                // It is not offered.
                let error = client.call_named::<()>(name, ()).fail_fast().await.unwrap_err();
                assert_eq!(error.code(), Code::UnknownMethod, "{name}");
            }
            let open = wire.serve(registry()).allow("*", "sys.health", Right::Call).start(&group).await?;
            let client = wire.client(&open).start(&group).await?;
            assert_eq!(client.call(sys::Health).await.unwrap(), HealthStatus::Serving);
            assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
            let error = client.call(sys::Stats).fail_fast().await.unwrap_err();
            assert_eq!(error.code(), Code::UnknownMethod);
            Ok(())
        }).await;
    }

    // A5
    async fn who_may_call_little_is_told_of_that_alone(wire: Wire) {
        within(|group| async move {
            let server = knowing(wire.serve(registry())).keys([("shop", secret())]);
            let server = server.allow("shop", "add", Right::Call).allow("ops", "sys.stats", Right::Call);
            let server = server.start(&group).await?;
            let shop = wire.client(&server).secret(secret()).key_id("shop").start(&group).await?;
            let ops = known(&wire, &server).start(&group).await?;
            assert_eq!(shop.call_named::<i64>("add", (2, 3)).await?, 5);
            let reflected = shop.call(sys::Reflect).await.unwrap();
            assert!(reflected.methods.iter().map(|it| &*it.name).eq(["add"]), "{reflected:?}");
            let error = shop.call(sys::Stats).fail_fast().await.unwrap_err();
            assert_eq!(error.code(), Code::UnknownMethod);
            // A rule for it says that it is told of all; of what it may call itself there is nothing.
            let stats = ops.call(sys::Stats).await.unwrap();
            assert!(stats.methods.iter().any(|it| &*it.method == "add"), "{stats:?}");
            assert!(ops.call(sys::Reflect).await.unwrap().methods.is_empty());
            Ok(())
        }).await;
    }

    async fn who_may_ends_a_broker_from_afar(wire: Wire) {
        within(|group| async move {
            let held = held();
            let server = knowing(wire.serve(held.registry)).keys([("shop", secret())]);
            let server = server.allow("ops", "sys.drain", Right::Call).start(&group).await?;
            let shop = wire.client(&server).secret(secret()).key_id("shop").start(&group).await?;
            let ops = known(&wire, &server).start(&group).await?;
            let running = hold(&group, &shop, 7);
            held.started.recv().await.unwrap();
            let error = shop.call(sys::Drain { timeout_ms: 60_000 }).fail_fast().await.unwrap_err();
            assert_eq!(error.code(), Code::UnknownMethod);
            assert_eq!(shop.call(sys::Health).await.unwrap(), HealthStatus::Serving);
            ops.call(sys::Drain { timeout_ms: 60_000 }).await.unwrap();
            until(|| server.health() == HealthStatus::Draining).await;
            held.let_go.send(()).await.unwrap();
            assert_eq!(running.await.unwrap(), 7, "what runs comes to its end");
            timeout(LONG, server.closed()).await.expect("it ends");
            Ok(())
        }).await;
    }

    async fn connections_tell_what_is_open_and_how_far_the_peer_is(wire: Wire) {
        within(|group| async move {
            let held = held();
            let server = knowing(wire.serve(held.registry)).start(&group).await?;
            let mut limits = Limits::default();
            // Three of them are more than a busy machine says nothing for.
            limits.heartbeat = Duration::from_secs(1);
            let client = known(&wire, &server).limits(limits).unwrap().start(&group).await?;
            let running = hold(&group, &client, 7);
            held.started.recv().await.unwrap();
            let seen = |broker: &TcpBroker, enough: fn(&sys::ConnectionStats) -> bool| {
                let broker = broker.clone();
                async move {
                    let seen = timeout(LONG, async {
                        loop {
                            let stats = broker.stats();
                            let [connection] = &stats.connections[..] else {
                                panic!("{stats:?}");
                            };
                            if enough(connection) {
                                return connection.clone();
                            }
                            bowline_concurrency::sleep(Duration::from_millis(1)).await;
                        }
                    });
                    seen.await.expect("it is seen")
                }
            };
            let there = seen(&server, |it| it.calls_received == 1).await;
            assert_eq!((&*there.principal, there.calls_sent, there.late_frames), ("ops", 0, 0));
            let here = seen(&client, |it| it.calls_sent == 1 && it.round_trip_us.is_some()).await;
            assert_eq!((here.calls_received, here.call_credit, here.notify_credit), (0, 1023, 256));
            assert_eq!(here.reassembly_credit, 16 * 1024 * 1024);
            assert!(here.round_trip_us < Some(30_000_000), "{here:?}");
            held.let_go.send(()).await.unwrap();
            assert_eq!(running.await.unwrap(), 7);
            seen(&client, |it| it.calls_sent == 0 && it.call_credit == 1024).await;
            Ok(())
        }).await;
    }
}

on_every_backend! {
    async fn a_broker_in_memory_tells_the_same() {
        for encodes in [false, true] {
            let broker = MemoryBroker::new(AsyncExecutor::new(registry(), 4));
            let broker = if encodes { broker.encode_always() } else { broker };
            broker.run(async |broker| -> Result<(), Error> {
                all_counted(&call_all(&broker, || broker.stats()).await);
                all_counted(&broker.call(sys::Stats).await.unwrap());
                reflected(&broker.reflect());
                reflected(&broker.call_named("sys.reflect", ()).await?);
                assert_eq!(broker.call(sys::Health).await.unwrap(), HealthStatus::Serving);
                assert_eq!(broker.tasks(), []);
                Ok(())
            }).await.unwrap();
        }
    }

    async fn who_sends_items_is_reflected() {
        let registry = bowline_rpc::Registry::new("example");
        registry.register_fn("none", |(): ()| async {}).unwrap();
        registry.register_fn("taken", |(): (), items: Incoming<u8>| async move { drop(items) }).unwrap();
        registry.register_stream("given", |(to,): (u8,)| stream::iter(0..to)).unwrap();
        registry.register_stream("both", |(): (), items: Incoming<u8>| items.map(|item| item.unwrap_or(0))).unwrap();
        MemoryBroker::new(AsyncExecutor::new(registry, 4)).run(async |broker| -> Result<(), Error> {
            let kinds: Vec<_> = broker.reflect().methods.into_iter().map(|it| it.kind).collect();
            assert_eq!(kinds, ["unary", "caller_streams", "executor_streams", "both_stream"]);
            Ok(())
        }).await.unwrap();
    }

    async fn what_changes_in_memory_is_found_by_calls_that_wait() {
        within(|group| async move {
            let broker = MemoryBroker::new(AsyncExecutor::new(registry(), 4)).start(&group).await?;
            broker.pause("add")?;
            let calling = broker.clone();
            let waiting = group.spawn_ok(async move { calling.call_named::<i64>("add", (2, 3)).await });
            let error = broker.call_named::<i64>("add", (2, 3)).fail_fast().await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::UnknownMethod, Certainty::NeverSent));
            assert_eq!(broker.reflect().methods.len(), 4);
            broker.resume("add")?;
            assert_eq!(waiting.join().await.expect("it ends")?, 5);
            let more = bowline_rpc::Registry::new("example");
            more.register_fn("more", |(): ()| async { 7 })?;
            let calling = broker.clone();
            let waiting = group.spawn_ok(async move { calling.call_named::<i64>("more", ()).await });
            yield_now().await;
            broker.attach(&more)?;
            assert_eq!(waiting.join().await.expect("it ends")?, 7);
            assert!(broker.attach(&more).is_err() && broker.pause("nothing").is_err());
            assert!(broker.detach(&more) && !broker.detach(&more));
            let runs_nothing = MemoryBroker::new(NullExecutor::new(registry())).start(&group).await?;
            assert_eq!(runs_nothing.attach(&more).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(broker.call_named::<i64>("more", ()).fail_fast().await.is_err());
            assert_eq!(method(&broker.stats(), "more").calls, 1, "what was counted stays");
            Ok(())
        }).await;
    }

    async fn a_reserved_method_that_is_asked_for_without_being_offered_is_denied() {
        within(|group| async move {
            let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0");
            let server = server.start(&group).await?;
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            for name in ["sys.stats", "sys.drain"] {
                let target = Target::Name(name.into());
                peer.command(Command::Open(Open::new(target, CodecId::JSON, Bytes::from_static(b"null"))));
                let ended = peer.until(|event| matches!(event, Event::Replied { .. } | Event::Failed { .. })).await;
                let Event::Failed { error, .. } = ended else {
                    panic!("{ended:?}");
                };
                assert_eq!((error.code(), error.certainty()), (Code::PermissionDenied, Certainty::Refused));
            }
            assert_eq!(server.health(), HealthStatus::Serving);
            Ok(())
        }).await;
    }
}
