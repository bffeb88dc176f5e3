//! Calls with a key that may have run at a peer, which alone knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_concurrency::{now, sleep, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Advertised, Command, Config, Event, MethodId, Side};
use bowline_rpc::{Broker, Caller, Certainty, Code, Registry, Secret, TcpBroker};
use bytes::Bytes;

use crate::backends::{on_every_backend, within};
use crate::keys::relay;
use crate::raw_peer::{LONG, RawPeer, next_call};

/// The start of number `start` of a peer that recognises who comes again, which offers `add`.
fn offering(stream: TcpStream, side: Side, start: u8) -> RawPeer {
    let config = Config::new("example", [start; 16]).passes([start; 32]);
    offering_with(stream, side, config)
}

fn offering_with(stream: TcpStream, side: Side, config: Config) -> RawPeer {
    let mut peer = RawPeer::with(stream, side, config);
    peer.command(Command::Advertise(vec![Advertised::new(
        MethodId(1),
        "add",
    )]));
    peer
}

// R24, P6
#[test]
fn a_worker_that_does_not_come_back_is_not_waited_for_without_end() {
    crate::backends::run(Backend::Sim, async {
        within(|group| async move {
            let hub = TcpBroker::caller()
                .project("example")
                .listen("127.0.0.1:0")
                .start(&group)
                .await?;
            let at = hub.local_addrs()[0];
            let stream = TcpStream::connect(at).await.unwrap();
            let mut first = offering(stream, Side::Dialer, 1);
            let caller = hub.clone();
            let call = group.spawn_ok(async move {
                let call = caller
                    .call_named::<i64>("add", (1, 1))
                    .idempotency_key("k")
                    .no_deadline();
                call.await.unwrap_err()
            });
            next_call(&mut first).await;
            let lost = now();
            drop(first);
            // Whether that is the first one, started again, nobody knows.
            let stream = TcpStream::connect(at).await.unwrap();
            let mut second = offering(stream, Side::Dialer, 2);
            let others = group.spawn_ok(async move {
                let is_call = |event: &Event| matches!(event, Event::Opened(_));
                second.until_end(is_call).await.is_some()
            });
            let error = call.join().await.expect("it is not cancelled");
            assert_eq!(
                (error.code(), error.certainty()),
                (Code::ConnectionLost, Certainty::MaybeExecuted)
            );
            let waited = now() - lost;
            assert!(waited < Duration::from_secs(31), "{waited:?}");
            hub.close();
            assert!(
                !others.join().await.expect("it is not cancelled"),
                "another got the call"
            );
            Ok(())
        })
        .await;
    });
}

/// What `peer` calls next is answered with 7.
async fn answer_next(peer: &mut RawPeer) {
    let asked = timeout(LONG, next_call(peer)).await.expect("it is asked");
    peer.command(Command::Reply {
        call: asked.call,
        body: Bytes::from_static(&[7]),
    });
    peer.flush().await;
}

/// The next whom `listener` takes, once it knows who connected.
async fn accepted(listener: &TcpListener, config: Config) -> RawPeer {
    let (stream, _) = listener.accept().await.unwrap();
    let mut peer = offering_with(stream, Side::Listener, config);
    peer.until(|event| matches!(event, Event::Ready(_))).await;
    peer.flush().await;
    peer
}

on_every_backend! {
    // R24
    async fn a_start_that_knows_its_caller_is_asked_again_whichever_way_it_comes_back() {
        within(|group| async move {
            let secret = || Secret::new([3; 32]).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let place = listener.local_addr().unwrap();
            let hub = TcpBroker::caller().project("example").key_id("k").secret(secret());
            let hub = hub.listen("127.0.0.1:0").connect(place);
            let start = move || Config::new("example", [1; 16]).secret("k", secret());
            let accepting = group.spawn_ok(async move { accepted(&listener, start()).await });
            let hub = hub.start(&group).await?;
            let at = hub.local_addrs()[0];
            let mut first = accepting.join().await.expect("it is not cancelled");
            let call = group.spawn_ok(async move {
                hub.call_named::<i64>("add", (1, 1)).idempotency_key("k").no_deadline().await
            });
            next_call(&mut first).await;
            drop(first);
            let stream = TcpStream::connect(at).await.unwrap();
            let secret = Secret::new([3; 32]).unwrap();
            let config = Config::new("example", [1; 16]).secret("k", secret);
            let mut again = offering_with(stream, Side::Dialer, config);
            answer_next(&mut again).await;
            let outcome = timeout(LONG, call.join()).await.expect("it is answered");
            assert_eq!(outcome.expect("it is not cancelled")?, 7);
            Ok(())
        }).await;
    }

    // R24
    async fn a_start_that_knows_its_caller_by_the_way_alone_is_asked_again_by_no_other() {
        within(|group| async move {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let place = listener.local_addr().unwrap();
            let start = || Config::new("example", [1; 16]).passes([1; 32]);
            let hub = TcpBroker::caller().project("example").listen("127.0.0.1:0").connect(place);
            let accepting = group.spawn_ok(async move {
                (accepted(&listener, start()).await, listener)
            });
            let hub = hub.start(&group).await?;
            let at = hub.local_addrs()[0];
            let (mut first, listener) = accepting.join().await.expect("it is not cancelled");
            let stream = TcpStream::connect(at).await.unwrap();
            let mut other = offering(stream, Side::Dialer, 1);
            other.until(|event| matches!(event, Event::Ready(_))).await;
            other.flush().await;
            let caller = hub.clone();
            let call = group.spawn_ok(async move {
                caller.call_named::<i64>("add", (1, 1)).idempotency_key("k").no_deadline().await
            });
            next_call(&mut first).await;
            drop(first);
            let mut again = accepted(&listener, start()).await;
            answer_next(&mut again).await;
            let outcome = timeout(LONG, call.join()).await.expect("it is answered");
            assert_eq!(outcome.expect("it is not cancelled")?, 7);
            hub.close();
            let is_call = |event: &Event| matches!(event, Event::Opened(_));
            assert!(other.until_end(is_call).await.is_none(), "it ran twice");
            Ok(())
        }).await;
    }
}

/// Two places of one server, whose caller has proved nothing: the call stays with the place it was made at.
// R24, P6
#[test]
fn a_call_with_a_key_does_not_run_again_at_another_place_of_the_same_server() {
    crate::backends::run(Backend::Sim, async {
        within(|group| async move {
            let runs = Arc::new(AtomicUsize::new(0));
            let counted = runs.clone();
            let registry = Registry::new("example");
            registry.register_fn("slow", move |(): ()| {
                counted.fetch_add(1, Ordering::SeqCst);
                async { sleep(Duration::from_secs(1)).await }
            })?;
            let server = TcpBroker::builder(AsyncExecutor::new(registry, 64));
            let server = server.listen("127.0.0.1:0").listen("127.0.0.1:0");
            let server = server.start(&group).await?;
            let caller = TcpBroker::caller().project("example");
            let (places, cuts): (Vec<_>, Vec<_>) = server
                .local_addrs()
                .into_iter()
                .map(|place| relay(&group, place))
                .unzip();
            let caller = places.iter().fold(caller, |it, place| it.connect(*place));
            let caller = caller.start(&group).await?;
            sleep(Duration::from_secs(1)).await;
            let call = group.spawn_ok(async move {
                let call = caller.call_named::<()>("slow", ()).idempotency_key("k");
                call.no_deadline().await
            });
            sleep(Duration::from_millis(100)).await;
            for cut in &cuts {
                // The other one has no call, and comes back as well.
                cut.send(()).await.unwrap();
            }
            call.join().await.expect("it is not cancelled")?;
            assert_eq!(runs.load(Ordering::SeqCst), 1);
            Ok(())
        })
        .await;
    });
}
