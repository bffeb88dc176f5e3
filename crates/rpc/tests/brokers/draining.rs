//! What a drain does to calls and connections, and what it reports.

use std::time::Duration;

use bowline_backend::net::{TcpListener, TcpStream, UnixStream};
use bowline_backend::stream::{ByteStreamExt, UnixAddress};
use bowline_backend::{Backend, time};
use bowline_concurrency::{sleep, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CodecId, Command, Event, Open, Target};
use bowline_rpc::sys::HealthStatus;
use bowline_rpc::{
    Broker, Caller, Certainty, CloseCause, Code, DynBroker, Limits, MemoryBroker, Registry, Retry,
    TcpBroker, TcpBrokerBuilder,
};

use futures_util::FutureExt;

use crate::backends::{Div, on_every_backend, registry, within};
use crate::held::{Held, LONG, client, ended, held, hold};
use crate::on_time::ends_on_time;
use crate::raw_peer::RawPeer;
use crate::wire::{Wire, over_every_wire};

pub(crate) const SOON: Duration = Duration::from_millis(50);

pub(crate) fn serve(registry: Registry) -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry, 2)).listen("127.0.0.1:0")
}

pub(crate) async fn until(holds: impl Fn() -> bool) {
    let held = timeout(LONG, async {
        while !holds() {
            yield_now().await;
        }
    });
    held.await.expect("it comes to hold");
}

/// What `peer` sends for a long call of `method`: its first part, and the rest.
pub(crate) fn in_two(peer: &mut RawPeer, method: &str, arguments: &str) -> [Vec<u8>; 2] {
    let body = format!("[{arguments}{}]", " ".repeat(50_000));
    let target = Target::Name(method.into());
    peer.command(Command::Open(Open::new(target, CodecId::JSON, body.into())));
    let mut bytes = peer.bytes();
    let first = 16 + u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    let rest = bytes.split_off(first);
    [bytes, rest]
}

/// Connects to `server` and says nothing, until the answer is dropped; over TLS with a handshake of that, or
/// without.
async fn stranger(wire: &Wire, server: &TcpBroker, secures: bool) -> Box<dyn Send> {
    let at = server.endpoints()[0].to_string();
    let tcp = || TcpStream::connect(server.local_addrs()[0]);
    match wire {
        Wire::Tls(_, client) if secures => {
            let handshake = client.handshake(tcp().await.unwrap(), "127.0.0.1").unwrap();
            Box::new(handshake.await.unwrap())
        }
        Wire::Tcp | Wire::Tls(..) => Box::new(tcp().await.unwrap()),
        Wire::Unix => {
            let name = at.strip_prefix("unix:@").unwrap();
            let address = UnixAddress::from_abstract(name).unwrap();
            Box::new(UnixStream::connect(&address).await.unwrap())
        }
        Wire::Memory(network) => {
            let name = at.strip_prefix("mem://").unwrap();
            Box::new(network.connect(name).await.unwrap())
        }
    }
}

over_every_wire! {
    // D2
    async fn idle_and_handshaking_connections_do_not_delay_a_drain(wire: Wire) {
        within(|group| async move {
            let mut limits = Limits::default();
            limits.handshake_timeout = Duration::from_secs(3600);
            let server = wire.serve(registry()).limits(limits)?.start(&group).await?;
            let idle = wire.client(&server).start(&group).await?;
            let strangers = [
                stranger(&wire, &server, false).await,
                stranger(&wire, &server, true).await,
            ];
            // And one that this side has connected to.
            let silent = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let connecting = server.clone();
            let at = silent.local_addr().unwrap();
            drop(group.spawn_ok(async move { connecting.connect(at).await }));
            until(|| server.statistics().open == 4).await;
            let began = time::now();
            let report = timeout(LONG, server.drain(Duration::from_secs(3600))).await.expect("nothing delays it");
            ends_on_time(began, Duration::ZERO);
            assert_eq!(report, Default::default());
            assert_eq!(server.statistics().handshake_timeouts, 0);
            drop((idle, strangers));
            Ok(())
        }).await;
    }

    // A2
    async fn strangers_hear_nothing_of_methods_and_have_their_time(wire: Wire) {
        within(|group| async move {
            let mut limits = Limits::default();
            // Enough for a handshake of TLS, on a busy machine too.
            limits.handshake_timeout = match Backend::current() {
                Ok(Backend::Sim) => 4 * SOON,
                _ => 60 * SOON,
            };
            let server = wire.serve(registry()).limits(limits)?.start(&group).await?;
            let _strangers = [
                stranger(&wire, &server, false).await,
                stranger(&wire, &server, true).await,
            ];
            until(|| server.statistics().accepted == 2).await;
            server.pause("add").unwrap();
            until(|| server.statistics().open == 0).await;
            assert_eq!(server.statistics().handshake_timeouts, 2);
            Ok(())
        }).await;
    }
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

    // D1
    async fn a_call_that_has_come_in_part_is_answered_before_the_connection_ends() {
        within(|group| async move {
            let server = serve(registry()).start(&group).await?;
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            let [first, rest] = in_two(&mut peer, "add", "2,3");
            peer.stream.write_all(&first).await.unwrap();
            until(|| server.statistics().ready == 1).await;
            let drains = server.clone();
            let drain = group.spawn_ok(async move { drains.drain(LONG).await });
            peer.until(|event| matches!(event, Event::Draining { last_taken: true, .. })).await;
            // Long enough for a connection that is idle to end.
            sleep(SOON).await;
            peer.stream.write_all(&rest).await.unwrap();
            let answer = peer.until(|event| matches!(event, Event::Replied { .. } | Event::Failed { .. })).await;
            assert!(matches!(&answer, Event::Replied { body, .. } if *body == "5"), "{answer:?}");
            drop(peer);
            assert_eq!(drain.join().await.expect("it ends").finished, 1);
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
}
