//! A peer that stops reading, and one that never lets anybody in.

use std::future::IntoFuture;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_channel::{Sender, bounded};
use bowline_concurrency::{TaskGroup, sleep, sleep_forever, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CodecId, Command, Open, Target};
use bowline_rpc::{Caller, Code, Error, Limits, Registry, Retry, TcpBroker};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};

use crate::backends::{on_every_backend, registry};
use crate::raw_peer::{LONG, RawPeer};

const SOON: Duration = Duration::from_millis(100);
const BODY: usize = 60_000;
/// More than what there is room for, several times over.
const CALLS: usize = 400;

on_every_backend! {
    // P8
    async fn a_peer_that_stops_reading_costs_no_more_than_the_limits() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        task_group(|group: TaskGroup<Error>| async move {
            let mut limits = Limits::default();
            (limits.max_message, limits.queue_bytes) = (4 * BODY as u32, 4 * BODY);
            // It is silent besides, for longer than a busy machine takes.
            limits.heartbeat = LONG;
            let accepted = group.spawn_ok(async move {
                RawPeer::accept(&listener, &Limits::default(), &["f"]).await
            });
            let client = TcpBroker::caller().project("example").limits(limits).unwrap().connect(address);
            client.run(async |client| -> Result<(), Error> {
                let peer = accepted.join().await.expect("it is not cancelled");
                // What the system buffers, the driver's buffer and the queue together hold few of these.
                let text = "x".repeat(BODY);
                let call = |patience| {
                    let call = client.call_named::<u8>("f", (text.clone(),)).timeout(patience);
                    call.retry(Retry::never())
                };
                // It takes this one, as soon as it is known to offer the method.
                let given = async {
                    while client.statistics().calls_sent == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                let first = pin!(call(LONG).into_future());
                let is_given = matches!(select(first, pin!(given)).await, Either::Right(_));
                assert!(is_given, "it answers nothing");
                let (mut patience, mut made_in_time) = (20 * SOON, false);
                let mut outcomes = Vec::new();
                // None is over before the last one is made, if need be with more time.
                while !made_in_time {
                    assert!(patience < LONG, "a call takes too long to make");
                    let began = time::now();
                    let mut calls = join_all((0..CALLS).map(|_| call(patience).into_future()));
                    assert!((&mut calls).now_or_never().is_none(), "all were refused");
                    made_in_time = time::now() - began < patience;
                    patience *= 2;
                    outcomes = timeout(LONG + patience, calls).await.expect("each ends by its deadline");
                }
                let refused = outcomes.into_iter().filter(|outcome| {
                    let code = outcome.as_ref().unwrap_err().code();
                    assert!(matches!(code, Code::Overloaded | Code::DeadlineExceeded), "{code:?}");
                    code == Code::Overloaded
                });
                assert!(refused.count() > CALLS / 4);
                // Those that gave up left their places.
                let error = call(SOON).await.unwrap_err();
                assert_eq!(error.code(), Code::DeadlineExceeded);
                drop(peer);
                Ok(())
            }).await
        }).await.unwrap();
    }
}

/// In a simulated world, a peer that calls `hang` and much besides and reads nothing, then sends `last`:
/// how long it is until the handler of `hang` ends, and until the connection is gone.
fn a_peer_that_does_not_read(last: &'static [u8]) -> (Duration, Duration) {
    let times = Arc::new(Mutex::new(None));
    let took = times.clone();
    crate::backends::run(Backend::Sim, async move {
        let (sender, ended) = bounded(4);
        let registry = Registry::new("example");
        registry
            .register_fn("much", |(): ()| async { "x".repeat(BODY) })
            .unwrap();
        let hang = move |(): ()| {
            let _ends = Ends(sender.clone());
            async move {
                let _ends = _ends;
                sleep_forever().await;
            }
        };
        registry.register_fn("hang", hang).unwrap();
        let server = TcpBroker::builder(AsyncExecutor::new(registry, 1024)).listen("127.0.0.1:0");
        server
            .run(async |server| -> Result<(), Error> {
                let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
                let names = std::iter::repeat_n("much", 500).chain(["hang"]);
                for name in names {
                    let none = Bytes::from_static(b"null");
                    let open = Open::new(Target::Name(name.into()), CodecId::JSON, none);
                    peer.command(Command::Open(open));
                }
                peer.flush().await;
                sleep(Duration::from_secs(1)).await;
                assert_eq!((server.tasks().len(), server.connections()), (1, 1));
                let began = time::now();
                peer.stream.write_all(last).await.unwrap();
                ended.recv().await.unwrap();
                let handler = time::now() - began;
                while server.statistics().open > 0 {
                    sleep(Duration::from_millis(10)).await;
                }
                *took.lock().unwrap() = Some((handler, time::now() - began));
                drop(peer);
                Ok(())
            })
            .await
            .unwrap();
    });
    times.lock().unwrap().take().expect("it came to its end")
}

struct Ends(Sender<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

// P8
#[test]
fn the_end_of_a_connection_is_heard_of_before_the_peer_reads_why() {
    // A frame that is too long by its header.
    let (handler, gone) = a_peer_that_does_not_read(&[0xFF; 16]);
    assert!(handler < SOON, "{handler:?}");
    assert!(gone < Duration::from_millis(1200), "{gone:?}");
}

// R20
#[test]
fn a_peer_that_is_silent_while_much_waits_for_it_is_gone_after_three_heartbeats() {
    let (handler, gone) = a_peer_that_does_not_read(&[]);
    let three = Duration::from_secs(11)..Duration::from_secs(17);
    assert!(
        three.contains(&handler) && three.contains(&gone),
        "{handler:?} {gone:?}"
    );
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
            let mut short = 0;
            for pause in &pauses[1..] {
                assert!(*pause <= longest + slack, "{pauses:?}");
                short += usize::from(*pause < longest / 2);
                longest = (longest * 2).min(Duration::from_secs(30));
            }
            let sum: Duration = pauses.iter().sum();
            assert!(sum > Duration::from_secs(5), "{pauses:?}");
            assert!(short > 0, "they are not spread: {pauses:?}");
            connecting.cancel("done");
            group.cancel("done");
            Ok(())
        });
        ended.await.unwrap();
    });
}

#[test]
fn a_call_for_which_one_connection_has_no_room_goes_to_another_peer() {
    crate::backends::run(Backend::Sim, async {
        let silent = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let place = silent.local_addr().unwrap();
        task_group(|group: TaskGroup<Error>| async move {
            drop(group.spawn_ok(async move {
                let _peer = RawPeer::accept(&silent, &Limits::default(), &["add"]).await;
                sleep_forever().await
            }));
            let server =
                TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0");
            let server = server.start(&group).await?;
            let mut limits = Limits::default();
            (limits.max_calls, limits.queue_calls) = (1, 1);
            let client = TcpBroker::caller()
                .project("example")
                .limits(limits)
                .unwrap();
            let client = client
                .connect(place)
                .connect(server.local_addrs()[0])
                .start(&group)
                .await?;
            let mut hang = Vec::new();
            for n in 0..12 {
                let mut call = Box::pin(client.call_named::<i64>("add", (n, 1)).into_future());
                // No limit of its time, of which the call would hear.
                match select(&mut call, pin!(sleep(SOON))).await {
                    Either::Left((sum, _)) => assert_eq!(sum?, n + 1),
                    Either::Right(_) => hang.push(call),
                }
            }
            assert_eq!(hang.len(), 2, "one that was sent, and one that waits to be");
            group.cancel("done");
            Ok(())
        })
        .await
        .unwrap();
    });
}
