//! Calls with a key that may have run at a peer, which alone knows.

use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_concurrency::{now, timeout};
use bowline_rpc::proto::{Advertised, Command, Config, Event, MethodId, Side};
use bowline_rpc::{Broker, Caller, Certainty, Code, TcpBroker};
use bytes::Bytes;

use crate::backends::{on_every_backend, within};
use crate::raw_peer::{LONG, RawPeer, next_call};

/// The start of number `start` of a peer, which offers `add`.
fn offering(stream: TcpStream, side: Side, start: u8) -> RawPeer {
    let mut peer = RawPeer::with(stream, side, Config::new("example", [start; 16]));
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

on_every_backend! {
    // R24
    async fn a_start_that_comes_back_the_other_way_is_asked_again() {
        within(|group| async move {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let place = listener.local_addr().unwrap();
            let hub = TcpBroker::caller().project("example").listen("127.0.0.1:0").connect(place);
            let accepting = group.spawn_ok(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut peer = offering(stream, Side::Listener, 1);
                peer.until(|event| matches!(event, Event::Ready(_))).await;
                peer.flush().await;
                peer
            });
            let hub = hub.start(&group).await?;
            let at = hub.local_addrs()[0];
            let mut first = accepting.join().await.expect("it is not cancelled");
            let caller = hub.clone();
            let call = group.spawn_ok(async move {
                caller.call_named::<i64>("add", (1, 1)).idempotency_key("k").no_deadline().await
            });
            next_call(&mut first).await;
            drop(first);
            let stream = TcpStream::connect(at).await.unwrap();
            let mut again = offering(stream, Side::Dialer, 1);
            let asked = timeout(LONG, next_call(&mut again)).await.expect("it is asked again");
            again.command(Command::Reply { call: asked.call, body: Bytes::from_static(&[7]) });
            again.flush().await;
            let outcome = timeout(LONG, call.join()).await.expect("it is answered");
            assert_eq!(outcome.expect("it is not cancelled")?, 7);
            Ok(())
        }).await;
    }
}
