//! What brokers promise to callers and handlers, over every kind of stream on every backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::time;
use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, sleep_forever, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, CallError, Caller, Certainty, Code, Context, Error, Limits, MemoryBroker, Registry,
    TcpBroker,
};
use futures_util::future::{Either, select};

use crate::backends::{Div, DivError, div, fall, registry, within};
use crate::on_time::ends_on_time;
use crate::wire::{Wire, over_every_wire};

const SOON: Duration = Duration::from_millis(50);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Tells when it is dropped.
struct Tells(Sender<&'static str>, &'static str);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.try_send(self.1);
    }
}

/// A registry with `hang`: says `started`, starts a child, and never ends by itself; handler and
/// child say when they end.
fn hanging() -> (Registry, Receiver<&'static str>) {
    let (sender, receiver) = bounded(256);
    let registry = registry();
    registry
        .register_fn("hang", move |(): ()| {
            let sender = sender.clone();
            async move {
                let _handler = Tells(sender.clone(), "handler ended");
                let _ = task_group(|group: TaskGroup<CallError>| async move {
                    let child = Tells(sender.clone(), "child ended");
                    drop(group.spawn_ok(async move {
                        let _child = child;
                        sleep_forever().await;
                    }));
                    sender
                        .send("started")
                        .await
                        .map_err(|_| CallError::new(Code::Internal, Certainty::Executed))?;
                    Ok(())
                })
                .await;
            }
        })
        .unwrap();
    (registry, receiver)
}

async fn next(events: &Receiver<&'static str>) -> &'static str {
    timeout(LONG, events.recv())
        .await
        .expect("something happens")
        .expect("a sender is left")
}

over_every_wire! {
    async fn metadata_that_the_peer_does_not_take_costs_one_call(wire: Wire) {
        within(|group| async move {
            let server = wire.serve(registry()).limits(Limits::paranoid()).unwrap().start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            let call = |bytes: usize| client.call_named::<i64>("add", (2, 3)).metadata("k", vec![7; bytes]);
            let error = call(2000).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::TooLarge, Certainty::NeverSent));
            assert_eq!(error.sizes(), Some((1024, 2002)));
            assert_eq!(call(1000).await?, 5);
            assert_eq!(server.statistics().accepted, 1, "the connection is the first");
            Ok(())
        }).await;
    }

    // BR18, BR6
    async fn a_method_nobody_offers_is_waited_for_or_refused_at_once(wire: Wire) {
        wire.serve(registry()).run(async |server| -> Result<(), Error> {
            wire.client(&server).run(async |client| {
                let began = time::now();
                let error = client.call_named::<i64>("nobody", ()).timeout(SOON).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
                ends_on_time(began, SOON);
                let began = time::now();
                let error = client.call_named::<i64>("nobody", ()).fail_fast().await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::UnknownMethod, Certainty::NeverSent));
                ends_on_time(began, Duration::ZERO);
                Ok(())
            }).await
        }).await.unwrap();
        MemoryBroker::new(AsyncExecutor::new(registry(), 1)).run(async |broker| -> Result<(), Error> {
            let began = time::now();
            let error = broker.call_named::<i64>("nobody", ()).timeout(SOON).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
            ends_on_time(began, SOON);
            let error = broker.call_named::<i64>("nobody", ()).fail_fast().await.unwrap_err();
            assert_eq!(error.code(), Code::UnknownMethod);
            Ok(())
        }).await.unwrap();
    }

    // BR18, BR6
    async fn a_call_that_does_not_wait_says_why_nobody_takes_it(wire: Wire) {
        wire.serve(registry()).run(async |server| -> Result<(), Error> {
            let alone = server.call_named::<i64>("add", (2, 3)).fail_fast().await.unwrap_err();
            assert_eq!((alone.code(), alone.certainty()), (Code::NoPeer, Certainty::NeverSent));
            let client = wire.client(&server);
            task_group(|group: TaskGroup<Error>| async move {
                let client = client.start(&group).await?;
                client.close();
                for call in [client.call_named::<i64>("add", (2, 3)), client.call_named::<i64>("add", (2, 3)).fail_fast()] {
                    let error = call.await.unwrap_err();
                    assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::NeverSent));
                }
                Ok(())
            }).await.unwrap();
            Ok(())
        }).await.unwrap();
    }

    // BR18, BR2
    async fn either_side_calls_the_other_on_one_connection(wire: Wire) {
        wire.serve(registry()).run(async |server| -> Result<(), Error> {
            let mine = Registry::new("example");
            mine.register_fn("name", |(): ()| async { String::from("client") }).unwrap();
            let both = wire.prepare(TcpBroker::builder(AsyncExecutor::new(mine, 4))).connect(server.endpoints()[0].clone());
            both.run(async |client| {
                assert_eq!(server.call_named::<String>("name", ()).await?, "client");
                assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                assert_eq!((server.connections(), client.connections()), (1, 1));
                Ok(())
            }).await
        }).await.unwrap();
    }

    // BR18, BR3
    async fn peers_take_turns(wire: Wire) {
        let servers: Vec<_> = (0..3).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let counted = servers.clone();
        task_group(|group: TaskGroup<Error>| async move {
            let mut calling = wire.prepare(TcpBroker::caller().project("example"));
            for served in &counted {
                let registry = Registry::new("example");
                let served = served.clone();
                registry.register_fn("count", move |(): ()| {
                    served.fetch_add(1, Ordering::SeqCst);
                    async {}
                })?;
                let server = wire.serve(registry).start(&group).await?;
                calling = calling.connect(server.endpoints()[0].clone());
            }
            calling.run(async |client| -> Result<(), Error> {
                for _ in 0..9 {
                    client.call_named::<()>("count", ()).await?;
                }
                Ok(())
            }).await?;
            group.cancel("done");
            Ok(())
        }).await.unwrap();
        let each: Vec<_> = servers.iter().map(|served| served.load(Ordering::SeqCst)).collect();
        assert_eq!(each, [3, 3, 3]);
    }

    // BR18, BR9
    async fn an_application_error_comes_back_typed_and_equal(wire: Wire) {
        wire.serve(registry()).run(async |server| -> Result<(), Error> {
            wire.client(&server).run(async |client| {
                assert_eq!(client.call(div(7, 2)).await.unwrap(), 3);
                let error: CallError<DivError> = client.call(Div(7, 0)).await.unwrap_err();
                assert_eq!(error.application(), Some(&DivError::ByZero { dividend: 7 }));
                assert_eq!((error.code(), error.certainty()), (Code::Application, Certainty::Executed));
                Ok(())
            }).await
        }).await.unwrap();
        MemoryBroker::new(AsyncExecutor::new(registry(), 1)).run(async |broker| -> Result<(), Error> {
            let error = broker.call(div(7, 0)).await.unwrap_err();
            assert_eq!(error.into_application().unwrap(), DivError::ByZero { dividend: 7 });
            Ok(())
        }).await.unwrap();
    }

    // BR18, BR16
    async fn a_broker_that_is_dropped_leaves_nothing(wire: Wire) {
        let (registry, events) = hanging();
        let (sender, address) = bowline_channel::oneshot();
        let there = wire.clone();
        let running = wire.serve(registry).run(async move |server| -> Result<(), Error> {
            let _ = sender.send(server.endpoints()[0].clone());
            there.client(&server).run(async |client| {
                Ok(client.call_named::<()>("hang", ()).no_deadline().await?)
            }).await
        });
        let mut running = Box::pin(running);
        let address = while_running(&mut running, address).await.unwrap();
        assert_eq!(while_running(&mut running, events.recv()).await, Ok("started"));
        drop(running);
        let mut ended = [next(&events).await, next(&events).await];
        ended.sort_unstable();
        assert_eq!(ended, ["child ended", "handler ended"]);
        // The last sender was the registry's: the executor is gone too.
        assert!(timeout(LONG, events.recv()).await.expect("the registry is dropped").is_err());
        let late = wire.prepare(TcpBroker::caller().project("example")).connect(address).connect_timeout(SOON);
        assert!(late.run(async |_| -> Result<(), Error> { Ok(()) }).await.is_err());
    }

    // R4
    async fn a_caller_that_is_dropped_ends_the_handler_and_its_children(wire: Wire) {
        let (registry, events) = hanging();
        wire.serve(registry).run(async |server| -> Result<(), Error> {
            wire.client(&server).run(async |client| {
                let mut call = Box::pin(std::future::IntoFuture::into_future(client.call_named::<()>("hang", ())));
                assert_eq!(while_running(&mut call, events.recv()).await, Ok("started"));
                drop(call);
                let mut ended = [next(&events).await, next(&events).await];
                ended.sort_unstable();
                assert_eq!(ended, ["child ended", "handler ended"]);
                assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R5, EX17
    async fn a_deadline_ends_a_running_call_and_one_in_the_queue_is_never_started(wire: Wire) {
        let (registry, events) = hanging();
        let server = wire.serve_by(AsyncExecutor::new(registry, 1));
        server.run(async |server| -> Result<(), Error> {
            wire.client(&server).run(async |client| {
                let mut patience = SOON * 20;
                loop {
                    let first_began = time::now();
                    let first = client.call_named::<()>("hang", ()).timeout(patience);
                    let first = std::future::IntoFuture::into_future(first);
                    let mut was_taken = false;
                    let first = match select(first, Box::pin(events.recv())).await {
                        Either::Left((outcome, _)) => outcome,
                        Either::Right((started, first)) => {
                            assert_eq!(started, Ok("started"));
                            let began = time::now();
                            let second = client.call_named::<()>("hang", ()).timeout(SOON).await.unwrap_err();
                            assert_eq!(second.code(), Code::DeadlineExceeded);
                            ends_on_time(began, SOON);
                            was_taken = time::now() - first_began < patience;
                            let first = first.await;
                            let mut ended = [next(&events).await, next(&events).await];
                            ended.sort_unstable();
                            assert_eq!(ended, ["child ended", "handler ended"]);
                            first
                        }
                    };
                    assert_eq!(first.unwrap_err().code(), Code::DeadlineExceeded);
                    ends_on_time(first_began, patience);
                    assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                    if was_taken {
                        assert!(events.try_recv().is_err(), "the queued call ran");
                        return Ok(());
                    }
                    // On a machine that is so busy the place was free before the second gave up.
                    while events.try_recv().is_ok() {}
                    patience *= 4;
                    assert!(patience < LONG);
                }
            }).await
        }).await.unwrap();
    }

    async fn a_call_without_a_deadline_is_cut_unless_its_executor_allows_it(wire: Wire) {
        let asked = || async {
            let (sender, receiver) = bounded(8);
            let registry = registry();
            registry.register_fn("left", move |context: Context, (): ()| {
                let sender = sender.clone();
                async move { let _ = sender.send(context.remaining()).await; }
            }).unwrap();
            (registry, receiver)
        };
        for allowed in [false, true] {
            let (registry, left) = asked().await;
            let mut limits = Limits::default();
            limits.max_deadline = LONG;
            let mut server = wire.serve(registry).limits(limits).unwrap();
            if allowed {
                server = server.allow_unbounded();
            }
            server.run(async |server| -> Result<(), Error> {
                wire.client(&server).run(async |client| {
                    client.call_named::<()>("left", ()).no_deadline().await?;
                    let unbounded = left.recv().await.unwrap();
                    client.call_named::<()>("left", ()).timeout(LONG * 10).await?;
                    let longer = left.recv().await.unwrap().expect("its caller has one");
                    if allowed {
                        assert_eq!(unbounded, None);
                        assert!(longer > LONG && longer <= LONG * 10, "{longer:?}");
                    } else {
                        assert!(unbounded.is_some_and(|left| left <= LONG), "{unbounded:?}");
                        assert!(longer <= LONG, "{longer:?}");
                    }
                    Ok(())
                }).await
            }).await.unwrap();
        }
    }

    // R7
    async fn a_lost_peer_fails_every_call_in_flight_at_once(wire: Wire) {
        let (registry, events) = hanging();
        task_group(|group: TaskGroup<Error>| async move {
            let server = wire.serve(registry).start(&group).await?;
            wire.client(&server).run(async |client| -> Result<(), Error> {
                let calls: Vec<_> = (0..20).map(|_| {
                    let client = client.clone();
                    group.spawn_ok(async move { client.call_named::<()>("hang", ()).no_deadline().await })
                }).collect();
                for _ in 0..20 {
                    assert_eq!(next(&events).await, "started");
                }
                let cut = time::now();
                server.close();
                for call in calls {
                    let outcome = timeout(LONG, call.join()).await.expect("it ends at once").expect("it is not cancelled");
                    let error = outcome.unwrap_err();
                    assert_eq!(error.certainty(), Certainty::MaybeExecuted, "{error}");
                    assert_eq!(error.code(), Code::ConnectionLost, "{error}");
                }
                ends_on_time(cut, Duration::ZERO);
                let error = client.call_named::<()>("hang", ()).fail_fast().await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R15
    async fn a_call_that_fails_leaves_the_connection_alone(wire: Wire) {
        wire.serve(registry()).run(async |server| -> Result<(), Error> {
            wire.client(&server).run(async |client| {
                let error = client.call_named::<i64>("add", ("two", 3)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::BadArguments, Certainty::Refused));
                let error = client.call_named::<String>("add", (2, 3)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::BadReply, Certainty::Executed));
                assert_eq!(client.call(fall()).await.unwrap_err().code(), Code::Panic);
                let large = "x".repeat(5_000_000);
                assert_eq!(client.call_named::<i64>("add", (large,)).await.unwrap_err().code(), Code::TooLarge);
                assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                assert_eq!(server.connections(), 1);
                Ok(())
            }).await
        }).await.unwrap();
    }
}

/// Polls both until the second is ready; the first must not end.
async fn while_running<A: Future + Unpin, B: Future>(first: &mut A, second: B) -> B::Output {
    let mut second = std::pin::pin!(second);
    std::future::poll_fn(|cx| {
        if std::pin::Pin::new(&mut *first).poll(cx).is_ready() {
            panic!("it ended");
        }
        second.as_mut().poll(cx)
    })
    .await
}
