//! Calls that are made again: which, where, and how often.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_concurrency::{Backoff, TaskGroup, sleep, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Command, Event, Failure};
use bowline_rpc::{Broker, Caller, Certainty, Code, Error, Limits, Registry, Retry, TcpBroker};
use futures_util::future::join_all;

use crate::backends::{on_every_backend, registry, within};
use crate::held::client;
use crate::raw_peer::{LONG, RawPeer};

/// What a peer does with every call it gets.
#[derive(Clone, Copy)]
enum Does {
    /// It leaves.
    Leaves,
    /// It has no room.
    Refuses,
}

/// A peer that offers `add`, and how many calls it got.
async fn bad_peer(group: &TaskGroup<Error>, does: Does) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::new(AtomicUsize::new(0));
    let counted = got.clone();
    drop(group.spawn_ok(async move {
        loop {
            let mut peer = RawPeer::accept(&listener, &Limits::default(), &["add"]).await;
            let is_call = |event: &Event| matches!(event, Event::Opened(_));
            while let Some(Event::Opened(call)) = peer.until_end(is_call).await {
                counted.fetch_add(1, Ordering::SeqCst);
                match does {
                    Does::Leaves => break,
                    Does::Refuses => {
                        let failure = Failure::new(Code::Overloaded);
                        peer.command(Command::Fail {
                            call: call.call,
                            failure,
                        });
                    }
                }
            }
        }
    }));
    (address, got)
}

on_every_backend! {
    async fn a_call_that_is_refused_goes_to_another_peer() {
        within(|group| async move {
            let (refuses, got) = bad_peer(&group, Does::Refuses).await;
            let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0").start(&group).await?;
            let client = client(&server).connect(refuses).start(&group).await?;
            for n in 0..10 {
                assert_eq!(client.call_named::<i64>("add", (n, 1)).await?, n + 1);
            }
            assert!(got.load(Ordering::SeqCst) > 0, "nobody asked it");
            // It is asked again, which costs a call that is not made again.
            let asked = got.load(Ordering::SeqCst);
            let refused = timeout(LONG, async {
                loop {
                    let call = client.call_named::<i64>("add", (2, 3)).retry(Retry::never());
                    match call.await {
                        Ok(sum) => assert_eq!(sum, 5),
                        Err(error) => return error,
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            });
            let error = refused.await.expect("it is one of two");
            assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::Refused));
            assert_eq!(got.load(Ordering::SeqCst), asked + 1);
            Ok(())
        }).await;
    }

    async fn who_is_refused_for_load_hears_how_long_the_others_take_and_waits() {
        within(|group| async move {
            let registry = Registry::new("example");
            let work = |(): ()| sleep(Duration::from_millis(20));
            registry.register_fn("work", work)?;
            let executor = AsyncExecutor::new(registry, 1).queue(10);
            let server = TcpBroker::builder(executor).listen("127.0.0.1:0").start(&group).await?;
            let client = client(&server).start(&group).await?;
            let work = |retry| client.call_named::<()>("work", ()).retry(retry).into_future();
            work(Retry::never()).await?;
            let outcomes = join_all((0..30).map(|_| work(Retry::never()))).await;
            let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
            assert!(!refused.is_empty(), "all had room");
            for error in refused {
                assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::Refused));
                // Ten of 20 ms, roughly: one has ended by now, and took longer than its handler did.
                let after = error.retry_after().expect("one has ended");
                assert!(after >= Duration::from_millis(50) && after <= Duration::from_secs(10), "{after:?}");
            }
            // Those that wait that long find room.
            let outcomes = join_all((0..15).map(|_| work(Retry::default()))).await;
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            Ok(())
        }).await;
    }

    async fn a_call_that_may_have_run_is_made_again_only_with_a_key_and_only_there() {
        within(|group| async move {
            let (leaves, got) = bad_peer(&group, Does::Leaves).await;
            let (registry, runs) = (Registry::new("example"), Arc::new(AtomicUsize::new(0)));
            let counted = runs.clone();
            registry.register_fn("add", move |(a, b): (i64, i64)| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move { a + b }
            })?;
            let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0").start(&group).await?;
            // It is lost more often than peers are.
            let soon = Backoff::exponential(Duration::from_millis(5)).max(Duration::from_millis(10));
            let client = client(&server).connect(leaves).reconnect(soon).start(&group).await?;
            let connected = async || {
                let both = timeout(LONG, async {
                    let mut methods = client.methods();
                    while methods.get("add").is_none_or(|add| add.peers < 2) {
                        assert!(methods.changed().await);
                    }
                });
                both.await.expect("it connects again");
            };
            let mut lost = 0;
            for n in 0..4 {
                connected().await;
                if let Err(error) = client.call_named::<i64>("add", (n, 1)).await {
                    assert_eq!((error.code(), error.certainty()), (Code::ConnectionLost, Certainty::MaybeExecuted));
                    lost += 1;
                }
            }
            assert!(lost > 0, "every call went to the other");
            let (before, ran) = (got.load(Ordering::SeqCst), runs.load(Ordering::SeqCst));
            let (mut lost, mut answered) = (0, 0);
            for n in 0..4 {
                connected().await;
                let key = format!("key {n}");
                match client.call_named::<i64>("add", (n, 1)).idempotency_key(key).await {
                    Ok(sum) => {
                        assert_eq!(sum, n + 1);
                        answered += 1;
                    }
                    Err(error) => {
                        assert_eq!((error.code(), error.certainty()), (Code::ConnectionLost, Certainty::MaybeExecuted));
                        lost += 1;
                    }
                }
            }
            assert!(got.load(Ordering::SeqCst) - before > lost, "it is asked again");
            assert!(lost > 0, "every call went to the other");
            // The other would have run it once more.
            assert_eq!(runs.load(Ordering::SeqCst) - ran, answered);
            Ok(())
        }).await;
    }
}

// R25
#[test]
fn an_outage_is_not_made_worse_by_retries() {
    crate::backends::run(Backend::Sim, async {
        within(|group| async move {
            let (refuses, got) = bad_peer(&group, Does::Refuses).await;
            let client = TcpBroker::caller().project("example").connect(refuses);
            let client = client.start(&group).await?;
            for n in 0..500 {
                let error = client.call_named::<i64>("add", (n, 1)).await.unwrap_err();
                assert_eq!(error.code(), Code::Overloaded);
            }
            let got = got.load(Ordering::SeqCst);
            assert!((501..=510).contains(&got), "{got} attempts");
            Ok(())
        })
        .await;
    });
}
