//! How a broker closes: it waits for calls in flight, and not for ever.

use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::time;
use bowline_channel::{Receiver, Sender, bounded, oneshot};
use bowline_concurrency::{TaskGroup, sleep, sleep_forever, task_group, timeout};
use bowline_rpc::executor::{AsyncExecutor, Executor};
use bowline_rpc::proto::{CodecId, Command, Event, Open, Target};
use bowline_rpc::{
    Call, CallError, Caller, Certainty, Code, Context, DeclaredName, Error, Limits, MethodDef,
    MethodSpec, NoError, Registry, TcpBroker, TcpBrokerBuilder,
};
use bytes::Bytes;

use crate::backends::on_every_backend;
use crate::raw_peer::{LONG, RawPeer};

/// `gate` says `started` and ends once it is let through, with 7; `hang` says so, never ends, and says
/// `ended` when it is dropped; `ping` ends at once.
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
                let _ends = Ends(started);
                sleep_forever().await;
            }
        })
        .unwrap();
    registry.register_fn("ping", |(): ()| async {}).unwrap();
    (registry, events, open)
}

struct Ends(Sender<&'static str>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.try_send("ended");
    }
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
    async fn calls_that_do_not_end_are_cancelled_after_the_drain() {
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
                assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::MaybeExecuted), "{error}");
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

    async fn a_caller_cancels_its_own_calls_after_the_drain() {
        let (registry, events, _gate) = gated();
        let ended = events.clone();
        serve(registry, LONG).run(async |server| -> Result<(), Error> {
            let mut limits = Limits::default();
            limits.drain = Duration::from_millis(50);
            let client = TcpBroker::caller().project("example").limits(limits).unwrap().connect(server.local_addrs()[0]);
            task_group(|group: TaskGroup<Error>| async move {
                let call = client.run(async |client| -> Result<_, Error> {
                    let call = group.spawn_ok(async move { client.call_named::<()>("hang", ()).no_deadline().await });
                    started(&events).await;
                    Ok(call)
                }).await?;
                let error = call.join().await.expect("it is not cancelled").unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::MaybeExecuted), "{error}");
                Ok(())
            }).await.unwrap();
            // The peer was told, so its handler does not go on.
            assert_eq!(timeout(LONG, ended.recv()).await.expect("it ends"), Ok("ended"));
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
            let draining = peer.until(|event| matches!(event, Event::Draining { last_taken: true, .. })).await;
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

const DRAIN: Duration = Duration::from_secs(3);
const GRACE: Duration = Duration::from_secs(2);
/// More than messages take in a simulated world.
const MOMENT: Duration = Duration::from_millis(100);

/// A call whose handler is not dropped: told that it is cancelled, it goes on for so long, in
/// milliseconds.
#[derive(Debug)]
struct GoesOn(u64);

impl Call for GoesOn {
    type Args = (u64,);
    type Reply = i64;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("goes_on");
    const SPEC: MethodSpec = MethodSpec::new().no_cancel();

    fn into_args(self) -> (u64,) {
        (self.0,)
    }

    fn from_args((millis,): (u64,)) -> Self {
        GoesOn(millis)
    }

    async fn run(self, context: Context) -> Result<i64, NoError> {
        while !context.is_cancelled() {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(self.0)).await;
        Ok(7)
    }
}

/// A broker ends with a call in flight whose handler goes on for `millis` once it is told: the outcome
/// of the call, and how long the end took.
async fn end_under(millis: u64) -> (Result<i64, CallError<NoError>>, Duration) {
    let registry = Registry::new("example");
    registry.register_all([MethodDef::of::<GoesOn>()]).unwrap();
    let executor = AsyncExecutor::new(registry, 4);
    let (sender, address) = oneshot();
    let mut limits = Limits::default();
    (limits.drain, limits.cancel_grace) = (DRAIN, GRACE);
    let server = TcpBroker::builder(executor.clone()).limits(limits).unwrap();
    let server = server.listen("127.0.0.1:0");
    let ended = task_group(|group: TaskGroup<Error>| async move {
        let server = group.spawn_ok(async move {
            let ends = server.run(async move |server| -> Result<_, Error> {
                let _ = sender.send(server.local_addrs()[0]);
                while executor.capacity().running == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                Ok(time::now())
            });
            let began = ends.await?;
            Ok::<_, Error>(time::now() - began)
        });
        let client = TcpBroker::caller()
            .project("example")
            .connect(address.await.unwrap());
        let outcome = client.run(async |client| -> Result<_, Error> {
            Ok(client.call(GoesOn(millis)).no_deadline().await)
        });
        let outcome = outcome.await?;
        Ok((outcome, server.join().await.expect("it is not cancelled")?))
    });
    ended.await.unwrap()
}

// D7
#[test]
fn handlers_that_are_told_have_the_grace_to_answer() {
    crate::backends::run(Backend::Sim, async {
        let (outcome, took) = end_under(1_000).await;
        assert_eq!(outcome.unwrap(), 7);
        let told = DRAIN + Duration::from_secs(1);
        assert!((told..told + MOMENT).contains(&took), "{took:?}");
    });
}

// D7
#[test]
fn a_handler_that_ignores_its_cancellation_does_not_outlive_the_grace() {
    crate::backends::run(Backend::Sim, async {
        let (outcome, took) = end_under(1_000_000).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.code(), error.certainty()),
            (Code::ConnectionLost, Certainty::MaybeExecuted)
        );
        let end = DRAIN + GRACE;
        assert!((end..end + MOMENT).contains(&took), "{took:?}");
    });
}
