//! A peer that stops reading, and one that never lets anybody in.

use std::future::IntoFuture;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_backend::time;
use bowline_concurrency::{TaskGroup, task_group, timeout};
use bowline_rpc::{Caller, Code, Error, Limits, Retry, TcpBroker};
use futures_util::future::join_all;

use crate::backends::on_every_backend;
use crate::raw_peer::{LONG, RawPeer};

const SOON: Duration = Duration::from_millis(100);
const BODY: usize = 60_000;

on_every_backend! {
    // P8
    async fn a_peer_that_stops_reading_costs_no_more_than_the_limits() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        task_group(|group: TaskGroup<Error>| async move {
            let mut limits = Limits::default();
            limits.queue_bytes = 4 * BODY;
            let accepted = group.spawn_ok(async move {
                RawPeer::accept(&listener, &Limits::default(), &["f"]).await
            });
            let client = TcpBroker::caller().project("example").limits(limits).unwrap().connect(address);
            client.run(async |client| -> Result<(), Error> {
                let peer = accepted.join().await.expect("it is not cancelled");
                // What the system buffers, the driver's buffer and the queue together hold few of these.
                let text = "x".repeat(BODY);
                let call = || client.call_named::<u8>("f", (text.clone(),)).timeout(SOON).retry(Retry::never());
                let calls = (0..1000).map(|_| call().into_future());
                let outcomes = timeout(LONG, join_all(calls)).await.expect("each ends by its deadline");
                let refused = outcomes.into_iter().filter(|outcome| {
                    let code = outcome.as_ref().unwrap_err().code();
                    assert!(matches!(code, Code::Overloaded | Code::DeadlineExceeded), "{code:?}");
                    code == Code::Overloaded
                });
                assert!(refused.count() > 500);
                // Those that gave up left their places.
                let error = call().await.unwrap_err();
                assert_eq!(error.code(), Code::DeadlineExceeded);
                drop(peer);
                Ok(())
            }).await
        }).await.unwrap();
    }
}

// P8
#[test]
fn attempts_to_connect_again_are_spread_and_become_rare() {
    crate::backends::run(Backend::Sim, async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let ended = task_group(|group: TaskGroup<Error>| async move {
            let client = TcpBroker::caller().project("example").start(&group).await?;
            let connecting = group.spawn_ok(async move { drop(client.connect(address).await) });
            let mut pauses = Vec::new();
            let mut last = time::now();
            for _ in 0..14 {
                // Nobody is let in.
                drop(listener.accept().await.unwrap());
                let now = time::now();
                pauses.push(now.saturating_duration_since(last));
                last = now;
            }
            let mut longest = Duration::from_millis(50);
            let slack = Duration::from_millis(20);
            for pause in &pauses[1..] {
                assert!(*pause <= longest + slack, "{pauses:?}");
                longest = (longest * 2).min(Duration::from_secs(30));
            }
            let sum: Duration = pauses.iter().sum();
            assert!(sum > Duration::from_secs(5), "{pauses:?}");
            connecting.cancel("done");
            group.cancel("done");
            Ok(())
        });
        ended.await.unwrap();
    });
}
