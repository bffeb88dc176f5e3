//! Handlers that call others while their own broker drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::net::TcpListener;
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, sleep, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Command, Event, Failure};
use bowline_rpc::sys::HealthStatus;
use bowline_rpc::{
    Broker, CallError, Caller, Certainty, Code, Context, DrainReport, Error, Limits, Registry,
    TcpBroker, TcpBrokerBuilder,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::select_all;

use crate::backends::{on_every_backend, registry, within};
use crate::draining::{SOON, in_two, until};
use crate::held::LONG;
use crate::on_time::ends_on_time;
use crate::raw_peer::{RawPeer, next_call};
use crate::wire::{Wire, over_every_wire};

type Answer = Result<(i64, i64), String>;

/// A registry with `once`, which calls `add` at somebody else; `relay`, which does so, says so, and once it is
/// let go does so again; and `note`, which says so, does so once it is let go, and is a notification.
struct Relay {
    registry: Registry,
    between: Receiver<()>,
    let_go: Sender<()>,
    noted: Arc<AtomicUsize>,
}

fn relay() -> Relay {
    let ((says, between), (let_go, waits)) = (bounded(8), bounded(8));
    let registry = Registry::new("example");
    let (tells, waiting) = (says.clone(), waits.clone());
    let relay = move |context: Context, (): ()| {
        let (says, waits) = (tells.clone(), waiting.clone());
        async move {
            let broker = context.broker().expect("it runs");
            let add = |n: i64| {
                let sum = broker.call_named::<i64>("add", (n, 1)).into_future();
                async move { sum.await.map_err(failed) }
            };
            let first = add(1).await?;
            let _ = says.send(()).await;
            let _ = waits.recv().await;
            Ok::<_, String>((first, add(2).await?))
        }
    };
    registry.register_fn("relay", relay).unwrap();
    let once = |context: Context, (n,): (i64,)| async move {
        let broker = context.broker().expect("it runs");
        broker
            .call_named::<i64>("add", (n, 1))
            .await
            .map_err(failed)
    };
    registry.register_fn("once", once).unwrap();
    let noted = Arc::new(AtomicUsize::new(0));
    let counts = noted.clone();
    let note = move |context: Context, (): ()| {
        let (says, waits, counts) = (says.clone(), waits.clone(), counts.clone());
        async move {
            let _ = says.send(()).await;
            let _ = waits.recv().await;
            let broker = context.broker().expect("it runs");
            let sum = broker.call_named::<i64>("add", (1, 1)).await;
            counts.fetch_add(usize::from(sum.ok() == Some(2)), Ordering::SeqCst);
        }
    };
    registry.register_fn("note", note).unwrap();
    Relay {
        registry,
        between,
        let_go,
        noted,
    }
}

fn failed(error: CallError) -> String {
    assert_eq!(error.certainty(), Certainty::NeverSent, "{error:?}");
    error.to_string()
}

/// Why a handler of a broker that drains has no peer.
fn nobody() -> Answer {
    Err("add: no peer offers the method: this broker drains, and waits for no peer".into())
}

impl Relay {
    fn serve(&self, wire: &Wire) -> TcpBrokerBuilder {
        let executor = AsyncExecutor::new(self.registry.clone(), 4);
        wire.serve_by(executor)
    }

    /// Waits until a handler is between its two calls.
    async fn between(&self) {
        let between = timeout(LONG, self.between.recv());
        between.await.expect("it comes so far").unwrap();
    }

    async fn go_on(&self) {
        self.let_go.send(()).await.unwrap();
    }
}

/// Calls `relay` at `gateway`, in a task of its own.
fn call(group: &TaskGroup<Error>, client: &TcpBroker) -> impl Future<Output = Answer> + use<> {
    let client = client.clone();
    let call = group.spawn_ok(async move {
        let call = client.call_named::<Answer>("relay", ());
        call.no_deadline().await
    });
    async move {
        let outcome = timeout(LONG, call.join()).await.expect("it ends");
        outcome.expect("it is not cancelled").expect("it ran")
    }
}

/// Drains `gateway` for as long as it takes, in a task of its own; goes on when a connection without calls that
/// offers nothing, which is `idle`, is gone by that.
async fn drain(
    group: &TaskGroup<Error>,
    gateway: &TcpBroker,
    idle: &TcpBroker,
) -> impl Future<Output = DrainReport> + use<> {
    let drains = gateway.clone();
    let drain = group.spawn_ok(async move { drains.drain(Duration::from_secs(3600)).await });
    until(|| idle.connections() == 0).await;
    assert_eq!(gateway.health(), HealthStatus::Draining);
    async move {
        let report = timeout(LONG, drain.join()).await.expect("it ends");
        report.expect("it is not cancelled")
    }
}

fn finished(calls: u64) -> DrainReport {
    let mut report = DrainReport::default();
    report.finished = calls;
    report
}

over_every_wire! {
    // D1, D2
    async fn a_handler_that_runs_calls_on_while_its_broker_drains(wire: Wire) {
        let relay = relay();
        within(|group| async move {
            let leaf = wire.serve(registry()).start(&group).await?;
            let gateway = relay.serve(&wire).connect(leaf.endpoints()[0].clone()).start(&group).await?;
            let [client, idle] = [wire.client(&gateway), wire.client(&gateway)];
            let (client, idle) = (client.start(&group).await?, idle.start(&group).await?);
            let answer = call(&group, &client);
            relay.between().await;
            let report = drain(&group, &gateway, &idle).await;
            // The leaf is asked to open nothing, as the client is, and its connection stays all the same.
            until(|| !client.methods().contains("relay")).await;
            until(|| !leaf.methods().contains("relay")).await;
            assert_eq!((client.connections(), leaf.connections()), (1, 1));
            relay.go_on().await;
            assert_eq!(answer.await, Ok((2, 3)));
            assert_eq!(report.await, finished(1));
            until(|| leaf.connections() == 0).await;
            Ok(())
        }).await;
    }

    // D1
    async fn a_handler_that_runs_calls_those_who_came_while_its_broker_drains(wire: Wire) {
        let relay = relay();
        within(|group| async move {
            let gateway = relay.serve(&wire).start(&group).await?;
            let leaf = wire.prepare(TcpBroker::builder(AsyncExecutor::new(registry(), 4)));
            let leaf = leaf.connect(gateway.endpoints()[0].clone()).start(&group).await?;
            let [client, idle] = [wire.client(&gateway), wire.client(&gateway)];
            let (client, idle) = (client.start(&group).await?, idle.start(&group).await?);
            let answer = call(&group, &client);
            relay.between().await;
            let began = time::now();
            let report = drain(&group, &gateway, &idle).await;
            relay.go_on().await;
            assert_eq!(answer.await, Ok((2, 3)));
            assert_eq!(report.await, finished(1));
            until(|| leaf.connections() == 0).await;
            ends_on_time(began, Duration::ZERO);
            Ok(())
        }).await;
    }

    // D1
    async fn a_broker_that_drains_connects_again_for_its_handlers(wire: Wire) {
        let relay = relay();
        within(|group| async move {
            let leaf = wire.serve(registry()).start(&group).await?;
            let at = leaf.endpoints()[0].clone();
            let gateway = relay.serve(&wire).connect(at.clone()).start(&group).await?;
            let [client, idle] = [wire.client(&gateway), wire.client(&gateway)];
            let (client, idle) = (client.start(&group).await?, idle.start(&group).await?);
            let answer = call(&group, &client);
            relay.between().await;
            let report = drain(&group, &gateway, &idle).await;
            leaf.drain(LONG).await;
            until(|| gateway.connections() == 1).await;
            let leaf = wire.prepare(TcpBroker::builder(AsyncExecutor::new(registry(), 4)));
            let leaf = leaf.listen(at).start(&group).await?;
            until(|| gateway.methods().contains("add")).await;
            // It is for calls of the one side alone.
            let backwards = leaf.call_named::<Answer>("relay", ()).fail_fast().await.unwrap_err();
            assert_eq!((backwards.code(), backwards.certainty()), (Code::UnknownMethod, Certainty::NeverSent));
            relay.go_on().await;
            assert_eq!(answer.await, Ok((2, 3)));
            assert_eq!(report.await, finished(1));
            until(|| leaf.connections() == 0).await;
            Ok(())
        }).await;
    }

    // D1, D3
    async fn a_handler_that_finds_nobody_while_its_broker_drains_hears_of_it_at_once(wire: Wire) {
        let relay = relay();
        within(|group| async move {
            let leaf = wire.serve(registry()).start(&group).await?;
            let gateway = relay.serve(&wire).connect(leaf.endpoints()[0].clone()).start(&group).await?;
            let [client, idle] = [wire.client(&gateway), wire.client(&gateway)];
            let (client, idle) = (client.start(&group).await?, idle.start(&group).await?);
            let answers = [1, 2, 3].map(|_| Box::pin(call(&group, &client)));
            for _ in 0..3 {
                relay.between().await;
            }
            leaf.drain(LONG).await;
            until(|| gateway.connections() == 2).await;
            // One waits for it to come back by now, as that may be. The program waits as well.
            relay.go_on().await;
            let program = gateway.call_named::<i64>("add", (1, 1)).no_deadline();
            let mut program = Box::pin(program.into_future());
            assert!((&mut program).now_or_never().is_none());
            for _ in 0..100 {
                yield_now().await;
            }
            let began = time::now();
            let report = drain(&group, &gateway, &idle).await;
            let (first, _, others) = select_all(answers).await;
            assert_eq!(first, nobody());
            ends_on_time(began, Duration::ZERO);
            // The others look when it drains.
            let began = time::now();
            for answer in others {
                relay.go_on().await;
                relay.go_on().await;
                assert_eq!(answer.await, nobody());
            }
            ends_on_time(began, Duration::ZERO);
            assert_eq!(report.await, finished(3));
            let error = program.await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::NeverSent));
            Ok(())
        }).await;
    }
}

on_every_backend! {
    // D1, BR17
    async fn the_handler_of_a_notification_calls_on_while_its_broker_drains() {
        let relay = relay();
        within(|group| async move {
            let wire = Wire::tcp();
            let leaf = wire.serve(registry()).start(&group).await?;
            let gateway = relay.serve(&wire).connect(leaf.endpoints()[0].clone()).start(&group).await?;
            let client = wire.client(&gateway).start(&group).await?;
            client.notify_named("note", ()).await?;
            relay.between().await;
            let report = drain(&group, &gateway, &client).await;
            relay.go_on().await;
            assert_eq!(report.await, finished(1));
            assert_eq!(relay.noted.load(Ordering::SeqCst), 1);
            Ok(())
        }).await;
    }

    // D7
    async fn a_drain_that_is_too_short_ends_the_calls_of_handlers_and_what_was_kept_for_them() {
        let relay = relay();
        within(|group| async move {
            let wire = Wire::tcp();
            let leaf = wire.serve(registry()).start(&group).await?;
            let gateway = relay.serve(&wire).connect(leaf.endpoints()[0].clone()).start(&group).await?;
            let client = wire.client(&gateway).start(&group).await?;
            let calling = client.clone();
            let answer = group.spawn_ok(async move { calling.call_named::<Answer>("relay", ()).await });
            relay.between().await;
            client.notify_named("note", ()).await?;
            relay.between().await;
            let report = timeout(LONG, gateway.drain(SOON)).await.expect("it ends");
            // The notification is one of the two.
            assert_eq!((report.finished, report.cancelled, report.abandoned), (0, 2, 0));
            until(|| leaf.connections() == 0).await;
            let error = answer.join().await.expect("it is not cancelled").unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::MaybeExecuted));
            Ok(())
        }).await;
    }

    // D1
    async fn a_peer_that_is_to_open_nothing_more_is_called_all_the_same() {
        let relay = relay();
        within(|group| async move {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let gateway = relay.serve(&Wire::tcp()).start(&group).await?;
            let connecting = gateway.clone();
            let at = listener.local_addr().unwrap();
            let connected = group.spawn_ok(async move { connecting.connect(at).await });
            let mut leaf = RawPeer::accept(&listener, &Limits::default(), &["add"]).await;
            until(|| gateway.methods().contains("add")).await;
            connected.join().await.expect("it is not cancelled")?;
            let client = Wire::tcp().client(&gateway).start(&group).await?;
            let answer = call(&group, &client);
            let asked = next_call(&mut leaf).await;
            leaf.command(Command::Reply { call: asked.call, body: Bytes::from_static(&[1]) });
            leaf.flush().await;
            relay.between().await;
            let drains = gateway.clone();
            drop(group.spawn_ok(async move { drains.drain(LONG).await }));
            leaf.until(|event| matches!(event, Event::Draining { last_taken: false, .. })).await;
            leaf.until(|event| matches!(event, Event::Draining { last_taken: true, .. })).await;
            relay.go_on().await;
            // One that is refused is made again, as ever.
            let asked = next_call(&mut leaf).await;
            leaf.command(Command::Fail { call: asked.call, failure: Failure::new(Code::Overloaded) });
            let asked = next_call(&mut leaf).await;
            leaf.command(Command::Reply { call: asked.call, body: Bytes::from_static(&[2]) });
            leaf.flush().await;
            // A number as small as that is itself.
            assert_eq!(answer.await, Ok((1, 2)));
            assert!(leaf.until_end(|event| matches!(event, Event::Opened(_))).await.is_none());
            Ok(())
        }).await;
    }

    // D1
    async fn a_call_that_is_on_its_way_when_its_broker_begins_to_drain_calls_on() {
        let relay = relay();
        within(|group| async move {
            let wire = Wire::tcp();
            let leaf = wire.serve(registry()).start(&group).await?;
            let gateway = relay.serve(&wire).connect(leaf.endpoints()[0].clone()).start(&group).await?;
            let idle = wire.client(&gateway).start(&group).await?;
            let mut peer = RawPeer::dial(gateway.local_addrs()[0], &Limits::default()).await;
            let [first, rest] = in_two(&mut peer, "once", "2");
            peer.stream.write_all(&first).await.unwrap();
            until(|| gateway.statistics().ready == 3).await;
            let report = drain(&group, &gateway, &idle).await;
            peer.until(|event| matches!(event, Event::Draining { last_taken: true, .. })).await;
            // Long enough for a connection that is idle to end.
            sleep(SOON).await;
            peer.stream.write_all(&rest).await.unwrap();
            let answer = peer.until(|event| matches!(event, Event::Replied { .. } | Event::Failed { .. })).await;
            assert!(matches!(&answer, Event::Replied { body, .. } if *body == "{\"Ok\":3}"), "{answer:?}");
            drop(peer);
            assert_eq!(report.await, finished(1));
            Ok(())
        }).await;
    }

    // D1
    async fn a_peer_that_a_broker_connects_to_while_it_drains_is_to_open_nothing() {
        let relay = relay();
        within(|group| async move {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let gateway = relay.serve(&Wire::tcp()).start(&group).await?;
            let connecting = gateway.clone();
            let at = listener.local_addr().unwrap();
            drop(group.spawn_ok(async move { connecting.connect(at).await }));
            let mut leaf = RawPeer::accept(&listener, &Limits::default(), &["add"]).await;
            until(|| gateway.methods().contains("add")).await;
            let client = Wire::tcp().client(&gateway).start(&group).await?;
            let answer = call(&group, &client);
            for n in [1, 2] {
                let asked = next_call(&mut leaf).await;
                leaf.command(Command::Reply { call: asked.call, body: Bytes::from(vec![n]) });
                leaf.flush().await;
                if n == 1 {
                    relay.between().await;
                    let drains = gateway.clone();
                    drop(group.spawn_ok(async move { drains.drain(LONG).await }));
                    leaf.until(|event| matches!(event, Event::Draining { last_taken: true, .. })).await;
                    drop(leaf);
                    leaf = RawPeer::accept(&listener, &Limits::default(), &["add"]).await;
                    let is_told = |event: &Event| matches!(event, Event::Advertised(_) | Event::Draining { .. });
                    let told = leaf.until(is_told).await;
                    assert!(matches!(told, Event::Draining { last_taken: true, .. }), "{told:?}");
                    until(|| gateway.methods().contains("add")).await;
                    relay.go_on().await;
                }
            }
            assert_eq!(answer.await, Ok((1, 2)));
            Ok(())
        }).await;
    }

    async fn a_drain_that_nobody_waits_for_ends_the_connections_all_the_same() {
        let relay = relay();
        within(|group| async move {
            let wire = Wire::tcp();
            let leaf = wire.serve(registry()).start(&group).await?;
            let gateway = relay.serve(&wire).connect(leaf.endpoints()[0].clone()).start(&group).await?;
            let client = wire.client(&gateway).start(&group).await?;
            let answer = call(&group, &client);
            relay.between().await;
            let drain = timeout(SOON, gateway.drain(LONG)).await;
            assert!(drain.is_err(), "a handler runs");
            relay.go_on().await;
            assert_eq!(answer.await, Ok((2, 3)));
            until(|| leaf.connections() == 0 && client.connections() == 0).await;
            Ok(())
        }).await;
    }
}
