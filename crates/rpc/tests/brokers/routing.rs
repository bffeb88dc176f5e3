//! Which of several peers gets a call, and what calls that wait do to others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::Address;
use bowline_backend::time;
use bowline_concurrency::{TaskGroup, sleep, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Command, Event, Extensions};
use bowline_rpc::{
    Balance, Broker, Caller, Certainty, Code, Error, Limits, MemoryBroker, Registry, Retry,
    TcpBroker, TcpBrokerBuilder,
};
use futures_util::future::join_all;

use crate::backends::{Div, DivError, on_every_backend, registry, within};
use crate::raw_listener::RawListener;
use crate::raw_peer::LONG;
use crate::wire::{Wire, over_every_wire};

const SOON: Duration = Duration::from_millis(50);

/// A broker with `who`, which answers `id` and counts.
async fn server(
    wire: &Wire,
    group: &TaskGroup<Error>,
    id: usize,
    counts: &Arc<[AtomicUsize]>,
) -> Result<TcpBroker, Error> {
    let registry = registry();
    let counts = counts.clone();
    registry.register_fn("who", move |(): ()| {
        counts[id].fetch_add(1, Ordering::SeqCst);
        async move { id }
    })?;
    wire.serve(registry).start(group).await
}

async fn servers(
    wire: &Wire,
    group: &TaskGroup<Error>,
    count: usize,
) -> Result<(Vec<TcpBroker>, Arc<[AtomicUsize]>), Error> {
    let counts: Arc<[AtomicUsize]> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    let mut servers = Vec::new();
    for id in 0..count {
        servers.push(server(wire, group, id, &counts).await?);
    }
    Ok((servers, counts))
}

fn caller(wire: &Wire, servers: &[TcpBroker]) -> TcpBrokerBuilder {
    let caller = wire.prepare(TcpBroker::caller().project("example"));
    servers.iter().fold(caller, |caller, server| {
        caller.connect(server.endpoints()[0].clone())
    })
}

/// A peer that leaves with each of its first five calls, and from then on says `answer` to each, if
/// anything; it counts them.
async fn leaves_with_five(
    mut listener: RawListener,
    answer: Option<&'static [u8]>,
    taken: Arc<AtomicUsize>,
) {
    loop {
        let mut peer = listener.accept(&["who", "example.shop.math.div"]).await;
        while let Some(opened) = peer
            .until_end(|event| matches!(event, Event::Opened(_)))
            .await
        {
            let Event::Opened(call) = opened else {
                unreachable!()
            };
            if taken.fetch_add(1, Ordering::SeqCst) < 5 {
                break;
            }
            if let Some(body) = answer {
                let body = bytes::Bytes::from_static(body);
                peer.command(Command::Reply {
                    call: call.call,
                    body,
                });
            }
        }
    }
}

/// In a simulated world, a caller of three peers, one of which has lost five calls, has been left out
/// for that, and is back, saying `answer`; and the count of its calls.
fn after_five_losses<F>(
    answer: Option<&'static [u8]>,
    then: impl FnOnce(TcpBroker, Arc<AtomicUsize>) -> F + Send,
) where
    F: Future<Output = ()> + Send,
{
    crate::backends::run(
        Backend::Sim,
        within(|group| async move {
            let wire = Wire::tcp();
            let (servers, _) = servers(&wire, &group, 2).await?;
            let (listener, sick) = RawListener::of(&wire).await;
            let taken = Arc::new(AtomicUsize::new(0));
            drop(group.spawn_ok(leaves_with_five(listener, answer, taken.clone())));
            let client = caller(&wire, &servers).connect(sick).start(&group).await?;
            while taken.load(Ordering::SeqCst) < 5 {
                let _ = client
                    .call_named::<usize>("who", ())
                    .retry(Retry::never())
                    .await;
                sleep(Duration::from_millis(1)).await;
            }
            // It is connected again by then, and its first window over.
            sleep(Duration::from_secs(10)).await;
            assert_eq!((client.connections(), taken.load(Ordering::SeqCst)), (3, 5));
            then(client, taken).await;
            Ok(())
        }),
    );
}

// BR12
#[test]
fn a_broadcast_goes_to_all_while_one_of_them_is_tried() {
    after_five_losses(Some(b"\x06"), |client, _| async move {
        for _ in 0..2 {
            let mut outcomes = client.broadcast(Div(7, 2)).await.unwrap();
            assert_eq!(outcomes.peers().len(), 3);
            while let Some((_, outcome)) = outcomes.next().await {
                assert_eq!(outcome.unwrap(), 3);
            }
        }
    });
}

// BR11
#[test]
fn a_peer_that_never_answers_its_trial_does_not_get_every_call() {
    after_five_losses(None, |client, taken| async move {
        for _ in 0..100 {
            let call = client
                .call_named::<usize>("who", ())
                .timeout(Duration::from_secs(1));
            let _ = call.retry(Retry::never()).await;
            sleep(Duration::from_millis(100)).await;
        }
        let hung = taken.load(Ordering::SeqCst) - 5;
        assert!((1..=5).contains(&hung), "{hung} of 100 calls");
    });
}

over_every_wire! {
    // BR18, BR10
    async fn equal_keys_go_to_equal_peers_and_a_lost_peer_moves_only_its_own(wire: Wire) {
        within(|group| async move {
            let (servers, _) = servers(&wire, &group, 3).await?;
            let client = caller(&wire, &servers).balance_of("who", Balance::Hash).start(&group).await?;
            let who = async |key: u64| client.call_named::<usize>("who", ()).key(key).await;
            let mut at = BTreeMap::new();
            for key in 0..60 {
                at.insert(key, who(key).await?);
                assert_eq!(who(key).await?, at[&key]);
            }
            assert_eq!(at.values().collect::<BTreeSet<_>>().len(), 3, "{at:?}");
            servers[1].close();
            let lost = timeout(LONG, async {
                while client.connections() > 2 {
                    yield_now().await;
                }
            });
            lost.await.expect("the connection is lost");
            for (key, before) in at {
                let now = who(key).await?;
                assert!(now != 1 && (now == before || before == 1), "key {key} moved");
            }
            // Without a key each has its turn.
            let turns = [(); 4].map(|()| client.call_named::<usize>("who", ()));
            let mut each = BTreeSet::new();
            for turn in turns {
                each.insert(turn.await?);
            }
            assert_eq!(each.into_iter().collect::<Vec<_>>(), [0, 2]);
            Ok(())
        }).await;
    }

    // BR18, BR11
    async fn a_peer_that_loses_every_call_gets_few(wire: Wire) {
        within(|group| async move {
            let (servers, counts) = servers(&wire, &group, 1).await?;
            let (mut listener, dead) = RawListener::of(&wire).await;
            let taken = Arc::new(AtomicUsize::new(0));
            let counted = taken.clone();
            drop(group.spawn_ok(async move {
                // It offers the method, and leaves with the call.
                loop {
                    let mut peer = listener.accept(&["who"]).await;
                    let call = peer.until_end(|event| matches!(event, Event::Opened(_))).await;
                    counted.fetch_add(usize::from(call.is_some()), Ordering::SeqCst);
                }
            }));
            let client = caller(&wire, &servers).connect(dead).start(&group).await?;
            let call = async || {
                let outcome = client.call_named::<usize>("who", ()).retry(Retry::never()).await;
                if let Err(error) = outcome {
                    assert_eq!(error.code(), Code::ConnectionLost);
                }
            };
            let five = timeout(LONG, async {
                while taken.load(Ordering::SeqCst) < 5 {
                    call().await;
                    // It is not connected for most of the time.
                    sleep(Duration::from_millis(1)).await;
                }
            });
            five.await.expect("it has its turn whenever it is connected");
            let (well, began) = (counts[0].load(Ordering::SeqCst), time::now());
            for _ in 0..200 {
                call().await;
            }
            let (dead, well) = (taken.load(Ordering::SeqCst), counts[0].load(Ordering::SeqCst) - well);
            // From then on one per pause: half a second at least, then twice that, and so on.
            let (mut over, mut pause, mut more) = (began, Duration::from_millis(500), 1);
            while over + pause < time::now() {
                (over, pause, more) = (over + pause, pause * 2, more + 1);
            }
            assert!(dead <= 5 + more && well >= 200 - more, "{dead} calls of the dead, {well} of the other");
            Ok(())
        }).await;
    }

    // BR18, BR12
    async fn a_broadcast_has_an_outcome_of_every_peer(wire: Wire) {
        within(|group| async move {
            let failing = Registry::new("example");
            // It takes other arguments than the call has.
            failing.register_fn("example.shop.math.div", |(_,): (String,)| async { 0_i64 })?;
            let failing = wire.serve(failing).start(&group).await?;
            let (mut servers, _) = servers(&wire, &group, 2).await?;
            servers.push(failing);
            let client = caller(&wire, &servers).start(&group).await?;
            let mut outcomes = client.broadcast(Div(7, 2)).await.unwrap();
            assert_eq!(outcomes.peers().len(), 3);
            let (mut results, mut peers) = (Vec::new(), BTreeSet::new());
            while let Some((peer, outcome)) = outcomes.next().await {
                peers.insert(peer.instance());
                results.push(outcome.map_err(|error| (error.code(), error.certainty())));
            }
            results.sort_by_key(Result::is_err);
            assert_eq!(results, [Ok(3), Ok(3), Err((Code::BadArguments, Certainty::Refused))]);
            assert_eq!(peers.len(), 3);
            Ok(())
        }).await;
    }

    async fn a_broadcast_waits_for_the_first_peer_and_brings_typed_errors(wire: Wire) {
        within(|group| async move {
            let mine = Registry::new("example");
            let alone = wire.serve(mine).start(&group).await?;
            let error = alone.broadcast(Div(1, 0)).fail_fast().await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
            let address = alone.endpoints()[0].clone();
            let inet = matches!(wire, Wire::Tcp | Wire::Tls(..));
            let joins = wire.prepare(TcpBroker::builder(AsyncExecutor::new(registry(), 1))).connect(address);
            drop(group.spawn_ok(async move {
                let _ = joins.run(async |_| -> Result<(), Error> { sleep(LONG).await; Ok(()) }).await;
            }));
            let mut outcomes = alone.broadcast(Div(1, 0)).await.unwrap();
            let (peer, outcome) = outcomes.next().await.expect("one peer");
            assert_eq!(matches!(peer.address(), Some(Address::Inet(_))), inet);
            let error = outcome.unwrap_err();
            assert_eq!(error.application(), Some(&DivError::ByZero { dividend: 1 }));
            assert!(outcomes.next().await.is_none());
            Ok(())
        }).await;
        MemoryBroker::new(AsyncExecutor::new(registry(), 1)).run(async |broker| -> Result<(), Error> {
            let mut outcomes = broker.broadcast(Div(7, 2)).await.unwrap();
            let (peer, outcome) = outcomes.next().await.expect("one peer");
            assert_eq!((peer.address(), outcome.unwrap()), (None, 3));
            assert!(outcomes.next().await.is_none());
            Ok(())
        }).await.unwrap();
    }

    // P7
    async fn calls_that_wait_delay_no_others_and_the_last_peer_may_go(wire: Wire) {
        within(|group| async move {
            let (servers, _) = servers(&wire, &group, 1).await?;
            let client = caller(&wire, &servers).start(&group).await?;
            let waiting: Vec<_> = (0..100).map(|_| {
                let client = client.clone();
                group.spawn_ok(async move { client.call_named::<i64>("nowhere", ()).timeout(LONG).await })
            }).collect();
            let known = (0..1000).map(|n: i64| {
                let call = client.call_named::<i64>("add", (n, 1));
                async move { assert_eq!(call.await.unwrap(), n + 1) }
            });
            timeout(LONG, join_all(known)).await.expect("they are not held up");
            servers[0].close();
            let lost = timeout(LONG, async {
                while client.connections() > 0 {
                    yield_now().await;
                }
            });
            lost.await.expect("the connection is lost");
            let error = client.call_named::<i64>("add", (2, 3)).timeout(SOON).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
            client.close();
            for call in waiting {
                let outcome = timeout(LONG, call.join()).await.expect("it ends").expect("it is not cancelled");
                let error = outcome.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::NeverSent));
            }
            Ok(())
        }).await;
    }

    // BR18, BR8
    async fn a_late_reply_is_dropped_and_the_next_call_fine(wire: Wire) {
        within(|group| async move {
            let (mut listener, address) = RawListener::of(&wire).await;
            let peer = group.spawn_ok(async move {
                let mut peer = listener.accept(&["late"]).await;
                let mut calls = Vec::new();
                while calls.len() < 2 {
                    let opened = peer.until(|event| matches!(event, Event::Opened(_))).await;
                    let Event::Opened(call) = opened else { unreachable!() };
                    assert_eq!(call.extensions, Extensions::new());
                    calls.push(call.call);
                }
                // The first has timed out, for the second came after that.
                for (call, body) in calls.into_iter().zip(["1", "2"]) {
                    let body = bytes::Bytes::from_static(body.as_bytes());
                    peer.command(Command::Reply { call, body });
                }
                peer.flush().await;
                peer
            });
            let client = wire.prepare(TcpBroker::caller().project("example")).connect(address).start(&group).await?;
            let call = || client.call_named::<i64>("late", ()).codec(bowline_rpc::Codec::Json);
            let late = timeout(LONG, async {
                loop {
                    let error = call().timeout(SOON).await.unwrap_err();
                    assert_eq!(error.code(), Code::DeadlineExceeded);
                    // On a busy machine the time may be over before the call has left.
                    if error.certainty() != Certainty::NeverSent {
                        return error.certainty();
                    }
                }
            });
            assert_eq!(late.await, Ok(Certainty::MaybeExecuted));
            assert_eq!(call().await?, 2);
            assert_eq!(client.connections(), 1);
            drop(peer.join().await.expect("it is not cancelled"));
            Ok(())
        }).await;
    }
}

on_every_backend! {
    async fn bodies_of_calls_that_wait_are_bounded() {
        let mut limits = Limits::default();
        limits.waiting_bytes = 1000;
        TcpBroker::caller().limits(limits).unwrap().run(async |client| -> Result<(), Error> {
            let call = |bytes: usize| client.call_named::<()>("nowhere", ("x".repeat(bytes),)).timeout(SOON);
            let calls = [call(900), call(200), call(10)].map(std::future::IntoFuture::into_future);
            let outcomes = join_all(calls).await;
            let codes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap_err().code()).collect();
            assert_eq!(codes, [Code::NoPeer, Code::Overloaded, Code::NoPeer]);
            Ok(())
        }).await.unwrap();
    }
}
