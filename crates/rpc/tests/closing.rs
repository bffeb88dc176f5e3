//! How a broker closes: it waits for calls in flight, and not for ever.

#[path = "suite/backends.rs"]
#[allow(dead_code)]
mod backends;
#[path = "suite/raw_peer.rs"]
#[allow(dead_code)]
mod raw_peer;

use std::time::Duration;

use backends::on_every_backend;
use bowline_backend::net::TcpStream;
use bowline_channel::{Receiver, Sender, bounded, oneshot};
use bowline_concurrency::{TaskGroup, sleep_forever, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CodecId, Command, Event, Open, Target};
use bowline_rpc::{Caller, Certainty, Code, Error, Limits, Registry, TcpBroker, TcpBrokerBuilder};
use bytes::Bytes;
use raw_peer::{LONG, RawPeer};

/// `gate` says `started` and ends once it is let through, with 7; `hang` says so and never ends;
/// `ping` ends at once.
fn gated() -> (Registry, Receiver<&'static str>, Sender<()>) {
    let registry = Registry::new("example");
    let (started, events) = bounded(64);
    let (open, gate) = bounded::<()>(64);
    let tells = started.clone();
    registry
        .register_fn("gate", move |(): ()| {
            let (started, gate) = (tells.clone(), gate.clone());
            async move {
                let _ = started.send("started").await;
                let _ = gate.recv().await;
                7
            }
        })
        .unwrap();
    registry
        .register_fn("hang", move |(): ()| {
            let started = started.clone();
            async move {
                let _ = started.send("started").await;
                sleep_forever().await;
            }
        })
        .unwrap();
    registry.register_fn("ping", |(): ()| async {}).unwrap();
    (registry, events, open)
}

fn serve(registry: Registry, drain: Duration) -> TcpBrokerBuilder {
    let mut limits = Limits::default();
    limits.drain = drain;
    TcpBroker::builder(AsyncExecutor::new(registry, 64))
        .limits(limits)
        .unwrap()
        .listen("127.0.0.1:0")
}

async fn started(events: &Receiver<&'static str>) {
    let event = timeout(LONG, events.recv()).await;
    assert_eq!(event.expect("a handler starts"), Ok("started"));
}

on_every_backend! {
    async fn calls_in_flight_are_answered_before_the_broker_closes() {
        let (registry, events, gate) = gated();
        let (sender, address) = oneshot();
        task_group(|group: TaskGroup<Error>| async move {
            let server = group.spawn_ok(serve(registry, LONG).run(async move |server| -> Result<(), Error> {
                let _ = sender.send(server.local_addrs()[0]);
                started(&events).await;
                started(&events).await;
                Ok(())
            }));
            let address = address.await.unwrap();
            TcpBroker::caller().project("example").connect(address).run(async |client| -> Result<(), Error> {
                let calls: Vec<_> = (0..2).map(|_| {
                    let client = client.clone();
                    group.spawn_ok(async move { client.call_named::<i64>("gate", ()).await })
                }).collect();
                // The server's body ends once both have started: from then on it takes no call.
                let refused = timeout(LONG, async {
                    loop {
                        match client.call_named::<()>("ping", ()).fail_fast().await {
                            Err(error) if error.code() == Code::UnknownMethod => break error,
                            // It crossed the news that no call is taken.
                            Err(error) => assert_eq!((error.code(), error.certainty().did_not_run()), (Code::Draining, true)),
                            Ok(()) => {}
                        }
                    }
                });
                assert_eq!(refused.await.expect("it drains").certainty(), Certainty::NeverSent);
                // And no connection.
                assert!(closed_to(address).await);
                gate.send(()).await.unwrap();
                gate.send(()).await.unwrap();
                for call in calls {
                    let outcome = timeout(LONG, call.join()).await.expect("it is answered");
                    assert_eq!(outcome.expect("it is not cancelled")?, 7);
                }
                Ok(())
            }).await?;
            timeout(LONG, server.join()).await.expect("it ends").expect("it is not cancelled")
        }).await.unwrap();
    }

    // R7
    async fn calls_that_do_not_end_are_given_up_after_the_drain() {
        let (registry, events, _gate) = gated();
        let (sender, address) = oneshot();
        task_group(|group: TaskGroup<Error>| async move {
            let server = group.spawn_ok(serve(registry, Duration::from_millis(50)).run(async move |server| -> Result<(), Error> {
                let _ = sender.send(server.local_addrs()[0]);
                started(&events).await;
                Ok(())
            }));
            let client = TcpBroker::caller().project("example").connect(address.await.unwrap());
            client.run(async |client| -> Result<(), Error> {
                let error = client.call_named::<()>("hang", ()).no_deadline().await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::ConnectionLost, Certainty::MaybeExecuted), "{error}");
                Ok(())
            }).await?;
            timeout(LONG, server.join()).await.expect("it ends").expect("it is not cancelled")
        }).await.unwrap();
    }

    async fn a_caller_waits_for_its_own_calls_when_it_closes() {
        let (registry, events, gate) = gated();
        serve(registry, LONG).run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
            task_group(|group: TaskGroup<Error>| async move {
                let call = client.run(async |client| -> Result<_, Error> {
                    let call = group.spawn_ok(async move { client.call_named::<i64>("gate", ()).await });
                    started(&events).await;
                    gate.send(()).await.unwrap();
                    // Whether or not the answer has come by now.
                    Ok(call)
                }).await?;
                assert_eq!(call.join().await.expect("it is not cancelled")?, 7);
                Ok(())
            }).await.unwrap();
            Ok(())
        }).await.unwrap();
    }

    async fn a_peer_is_told_which_call_was_the_last() {
        let (registry, events, gate) = gated();
        let (sender, address) = oneshot();
        task_group(|group: TaskGroup<Error>| async move {
            let server = group.spawn_ok(serve(registry, LONG).run(async move |server| -> Result<(), Error> {
                let _ = sender.send(server.local_addrs()[0]);
                started(&events).await;
                Ok(())
            }));
            let mut peer = RawPeer::dial(address.await.unwrap(), &Limits::default()).await;
            let open = || Open::new(Target::Name("gate".into()), CodecId::JSON, Bytes::from_static(b"null"));
            peer.command(Command::Open(open()));
            let draining = peer.until(|event| matches!(event, Event::Draining { .. })).await;
            assert!(matches!(draining, Event::Draining { last_taken: true, within } if within == LONG), "{draining:?}");
            gate.send(()).await.unwrap();
            let replied = peer.until(|event| matches!(event, Event::Replied { .. })).await;
            assert!(matches!(replied, Event::Replied { body, .. } if &body[..] == b"7"));
            let closed = peer.until(|event| matches!(event, Event::Closed(_))).await;
            assert!(matches!(&closed, Event::Closed(cause) if cause.to_string().starts_with("closed by the peer")), "{closed:?}");
            drop(peer);
            timeout(LONG, server.join()).await.expect("it ends").expect("it is not cancelled")
        }).await.unwrap();
    }

    async fn idle_and_handshaking_connections_do_not_delay_the_end() {
        let (registry, _events, _gate) = gated();
        let hour = Duration::from_secs(3600);
        let mut silent = None;
        serve(registry, hour).run(async |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            silent = Some(TcpStream::connect(address).await.unwrap());
            let mut idle = RawPeer::dial(address, &Limits::default()).await;
            idle.until(|event| matches!(event, Event::Discovered)).await;
            drop(idle);
            Ok(())
        }).await.unwrap();
        drop(silent);
    }
}

/// Whether nobody listens at `address` any more, within a while.
async fn closed_to(address: std::net::SocketAddr) -> bool {
    let closed = timeout(LONG, async {
        while TcpStream::connect(address).await.is_ok() {
            bowline_concurrency::yield_now().await;
        }
    });
    closed.await.is_ok()
}
