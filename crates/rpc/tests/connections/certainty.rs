//! What a connection does for the calls on it: in what order it speaks, what it keeps when the peer
//! falls silent, floods it or is lost.

use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_channel::oneshot;
use bowline_concurrency::{TaskGroup, TaskHandle, task_group, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CodecId, Command, Event, Failure, Open, Target};
use bowline_rpc::{CallError, Caller, Certainty, Code, Error, Limits, Retry, TcpBroker};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::backends::{on_every_backend, registry};
use crate::on_time::ends_on_time;
use crate::raw_peer::{LONG, RawPeer, listener, next_call, read_to_end};

type Outcome = TaskHandle<Result<u8, CallError>>;

/// `client.call_named("f", (n,))` as a task; returns once the broker has given it to a connection.
async fn call(
    group: &TaskGroup<Error>,
    client: &TcpBroker,
    body: impl serde::Serialize + Send + 'static,
) -> Outcome {
    let before = client.statistics().calls_sent;
    let caller = client.clone();
    let task = group.spawn_ok(async move {
        caller
            .call_named::<u8>("f", body)
            .no_deadline()
            .retry(Retry::never())
            .await
    });
    let sent = timeout(LONG, async {
        while client.statistics().calls_sent == before {
            yield_now().await;
        }
    });
    sent.await.expect("a peer offers the method");
    task
}

async fn outcome(task: Outcome) -> Result<u8, (Code, Certainty)> {
    let ended = timeout(LONG, task.join()).await.expect("every call ends");
    let outcome = ended.expect("it is not cancelled");
    outcome.map_err(|error| (error.code(), error.certainty()))
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls both until the second is ready; the first must not end.
async fn poll_while<A: Future + Unpin, B: Future>(first: &mut A, second: B) -> B::Output {
    let mut second = std::pin::pin!(second);
    std::future::poll_fn(|cx| {
        assert!(Pin::new(&mut *first).poll(cx).is_pending(), "it ended");
        second.as_mut().poll(cx)
    })
    .await
}

/// Kind and number of each whole frame.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u64)> {
    let mut frames = Vec::new();
    while let Some((header, after)) = bytes.split_first_chunk::<16>() {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(rest) = after.get(length..) else {
            break;
        };
        let id = header[8..]
            .iter()
            .fold(0, |id, byte| id << 8 | u64::from(*byte));
        frames.push((header[4], id));
        bytes = rest;
    }
    frames
}

on_every_backend! {
    // R4
    async fn the_cancel_of_a_dropped_call_leads_the_next_write() {
        let (listener, client) = listener();
        task_group(|group: TaskGroup<Error>| async move {
            let (sender, seen) = oneshot();
            let peer = group.spawn_ok(async move {
                let mut peer = RawPeer::accept(&listener, &Limits::default(), &["f"]).await;
                let first = next_call(&mut peer).await.call;
                let _ = sender.send(());
                let mut bytes = Vec::new();
                while frames(&bytes).len() < 2 {
                    bytes.extend(peer.read().await);
                }
                peer.receive(&bytes);
                let cancelled = peer.until(|event| matches!(event, Event::Cancelled { .. })).await;
                assert!(matches!(cancelled, Event::Cancelled { call, .. } if call == first));
                let second = next_call(&mut peer).await.call;
                peer.command(Command::Reply { call: second, body: Bytes::from_static(&[7]) });
                peer.flush().await;
                (frames(&bytes), first.as_u64(), peer)
            });
            client.run(async |client| -> Result<(), Error> {
                let mut first = Box::pin(client.call_named::<u8>("f", (1,)).into_future());
                assert_eq!(poll_while(&mut first, seen).await, Ok(()));
                let mut second = Box::pin(client.call_named::<u8>("f", (2,)).into_future());
                // Nothing awaits in between: both are there when the connection's task looks next.
                drop(first);
                // On a busy machine its answer may be there already.
                let reply = match poll_once(&mut second) {
                    Poll::Ready(reply) => reply,
                    Poll::Pending => timeout(LONG, second).await.expect("it is answered"),
                };
                assert_eq!(reply?, 7);
                let (frames, first, peer) = peer.join().await.expect("it is not cancelled");
                assert_eq!(frames, [(0x14, first), (0x10, first + 2)], "CANCEL, then the OPEN");
                drop(peer);
                Ok(())
            }).await
        }).await.unwrap();
    }

    async fn the_deadline_of_the_scope_around_a_call_travels_with_it() {
        let (listener, client) = listener();
        task_group(|group: TaskGroup<Error>| async move {
            let peer = group.spawn_ok(async move {
                let mut peer = RawPeer::accept(&listener, &Limits::default(), &["f"]).await;
                let mut left = Vec::new();
                for _ in 0..3 {
                    let call = next_call(&mut peer).await;
                    left.push(call.deadline.saturating_duration_since(time::now()));
                    peer.command(Command::Reply { call: call.call, body: Bytes::from_static(&[7]) });
                    peer.flush().await;
                }
                (left, peer)
            });
            client.run(async |client| -> Result<(), Error> {
                let (short, long) = (Duration::from_secs(10), Duration::from_secs(100));
                let plain = || client.call_named::<u8>("f", (1,));
                assert_eq!(timeout(short, plain()).await.expect("in time")?, 7);
                assert_eq!(timeout(short, plain().no_deadline()).await.expect("in time")?, 7);
                assert_eq!(timeout(long, plain()).await.expect("in time")?, 7);
                let (left, peer) = peer.join().await.expect("it is not cancelled");
                // The earlier of the two: 10 s, 10 s, and the 30 s of every call.
                assert!(left[0] <= short && left[1] <= short, "{left:?}");
                assert!(left[2] <= Duration::from_secs(30) && left[2] > short, "{left:?}");
                drop(peer);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R5, R7
    async fn a_call_in_the_queue_of_its_connection_expires_and_is_not_sent() {
        let (listener, client) = listener();
        task_group(|group: TaskGroup<Error>| async move {
            let mut one = Limits::default();
            one.max_calls = 1;
            let accepted = group.spawn_ok(async move {
                let mut peer = RawPeer::accept(&listener, &one, &["f"]).await;
                let call = next_call(&mut peer).await;
                (peer, call.call)
            });
            client.run(async |client| -> Result<(), Error> {
                let first = call(&group, &client, (1,)).await;
                let (mut peer, running) = timeout(LONG, accepted.join()).await.expect("it comes").expect("it is not cancelled");
                // The only slot of the peer is taken: this one does not leave, and ends on time.
                let began = time::now();
                let soon = Duration::from_millis(50);
                let queued = client.call_named::<u8>("f", (2,)).timeout(soon).await.unwrap_err();
                assert_eq!((queued.code(), queued.certainty()), (Code::DeadlineExceeded, Certainty::NeverSent));
                ends_on_time(began, soon);
                peer.command(Command::Reply { call: running, body: Bytes::from_static(&[7]) });
                peer.flush().await;
                assert_eq!(outcome(first).await, Ok(7));
                // The peer sees the call after it, and never the one that expired.
                let third = call(&group, &client, (3,)).await;
                let seen = next_call(&mut peer).await;
                assert_eq!(&seen.body[..], [0x91, 3]);
                drop(peer);
                assert_eq!(outcome(third).await, Err((Code::ConnectionLost, Certainty::MaybeExecuted)));
                Ok(())
            }).await
        }).await.unwrap();
    }

    async fn a_burst_finds_every_slot_and_every_place_of_the_queue() {
        let executor = AsyncExecutor::new(registry(), 64);
        TcpBroker::builder(executor).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
            client.run(async |client| -> Result<(), Error> {
                assert_eq!(client.call_named::<i64>("add", (1, 1)).await?, 2);
                let limits = Limits::default();
                let most = i64::from(limits.max_calls) + limits.queue_calls as i64;
                let add = |n| client.call_named::<i64>("add", (n, 1)).no_deadline().into_future();
                // One that is answered before its first poll is over leaves its place to another.
                let (mut calls, mut begun) = (Vec::new(), 0);
                while (calls.len() as i64) < most {
                    let mut call = add(begun);
                    match poll_once(&mut call) {
                        Poll::Pending => calls.push(async move { (begun, call.await) }),
                        Poll::Ready(outcome) => assert_eq!(outcome?, begun + 1),
                    }
                    begun += 1;
                }
                assert_eq!(client.statistics().calls_sent, begun as u64 + 1);
                let beyond = add(most).await.unwrap_err();
                assert_eq!((beyond.code(), beyond.certainty()), (Code::Overloaded, Certainty::NeverSent));
                assert_eq!(client.statistics().calls_sent, begun as u64 + 1, "it was not let in");
                for (n, outcome) in join_all(calls).await {
                    assert_eq!(outcome?, n + 1);
                }
                Ok(())
            }).await
        }).await.unwrap();
    }

    async fn the_queue_of_a_connection_has_one_limit_wherever_a_call_waits() {
        let (listener, client) = listener();
        let mut limits = Limits::default();
        (limits.max_frame, limits.max_message) = (1024, 1024);
        (limits.queue_calls, limits.queue_bytes) = (2, 1024);
        let client = client.limits(limits).unwrap();
        task_group(|group: TaskGroup<Error>| async move {
            let mut one = Limits::default();
            one.max_calls = 1;
            let accepted = group.spawn_ok(async move {
                let mut peer = RawPeer::accept(&listener, &one, &["f"]).await;
                let call = next_call(&mut peer).await;
                (peer, call.call)
            });
            client.run(async |client| -> Result<(), Error> {
                let first = call(&group, &client, (1,)).await;
                let (mut peer, running) = timeout(LONG, accepted.join()).await.expect("it comes").expect("it is not cancelled");
                let refused = async |body: String| {
                    let error = client.call_named::<u8>("f", (body,)).no_deadline().await.unwrap_err();
                    assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::NeverSent));
                };
                // Each waits first for the driver, then in the machine: it counts once in both.
                let second = call(&group, &client, ("x".repeat(600),)).await;
                refused("x".repeat(600)).await;
                let third = call(&group, &client, (3,)).await;
                refused(String::new()).await;
                assert_eq!(client.statistics().calls_sent, 3, "those that were let in");
                peer.command(Command::Reply { call: running, body: Bytes::from_static(&[7]) });
                peer.flush().await;
                assert_eq!(outcome(first).await, Ok(7));
                // What was sent makes room for as much.
                let running = next_call(&mut peer).await.call;
                let fourth = call(&group, &client, ("x".repeat(600),)).await;
                peer.command(Command::Reply { call: running, body: Bytes::from_static(&[8]) });
                peer.flush().await;
                assert_eq!(outcome(second).await, Ok(8));
                drop(peer);
                for task in [third, fourth] {
                    assert_eq!(outcome(task).await.unwrap_err().0, Code::ConnectionLost);
                }
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R7
    async fn when_the_connection_breaks_every_call_says_how_far_it_got() {
        let (listener, client) = listener();
        task_group(|group: TaskGroup<Error>| async move {
            let mut five = Limits::default();
            five.max_calls = 5;
            let peer = group.spawn_ok(async move {
                let mut peer = RawPeer::accept(&listener, &five, &["f"]).await;
                let mut calls = Vec::new();
                while calls.len() < 5 {
                    calls.push(next_call(&mut peer).await.call);
                }
                (peer, calls)
            });
            client.run(async |client| -> Result<(), Error> {
                let mut tasks = Vec::new();
                for n in 0..7u8 {
                    tasks.push(call(&group, &client, (n,)).await);
                }
                let (mut peer, calls) = timeout(LONG, peer.join()).await.expect("they come").expect("it is not cancelled");
                peer.command(Command::Reply { call: calls[0], body: Bytes::from_static(&[7]) });
                let refused = Failure::new(Code::Overloaded);
                peer.command(Command::Fail { call: calls[1], failure: refused });
                let failed = Failure::application(Bytes::from_static(&[0]));
                peer.command(Command::Fail { call: calls[2], failure: failed });
                peer.flush().await;
                let mut tasks = tasks.into_iter();
                let mut next = || tasks.next().expect("seven calls");
                assert_eq!(outcome(next()).await, Ok(7));
                assert_eq!(outcome(next()).await, Err((Code::Overloaded, Certainty::Refused)));
                assert_eq!(outcome(next()).await, Err((Code::Application, Certainty::Executed)));
                // Three places are free again, so the last two calls leave too; the peer runs four.
                let sixth = next_call(&mut peer).await;
                let seventh = next_call(&mut peer).await;
                assert!(seventh.call > sixth.call);
                let mut queued = Vec::new();
                for n in 7..10u8 {
                    queued.push(call(&group, &client, (n,)).await);
                }
                // One place is left: the first of these three leaves, the others wait here.
                next_call(&mut peer).await;
                let cut = time::now();
                drop(peer);
                for _ in 0..4 {
                    assert_eq!(outcome(next()).await, Err((Code::ConnectionLost, Certainty::MaybeExecuted)));
                }
                let mut ends = Vec::new();
                for task in queued {
                    ends.push(outcome(task).await);
                }
                let lost = |certainty| Err((Code::ConnectionLost, certainty));
                assert_eq!(ends, [lost(Certainty::MaybeExecuted), lost(Certainty::NeverSent), lost(Certainty::NeverSent)]);
                ends_on_time(cut, Duration::ZERO);
                assert_eq!(client.statistics().lost, 1);
                // Nobody offers the method any more.
                let error = client.call_named::<u8>("f", (1,)).timeout(Duration::from_millis(20)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R7
    async fn a_peer_that_stops_reading_is_given_up_and_what_it_got_is_told_from_what_it_did_not() {
        let (listener, client) = listener();
        task_group(|group: TaskGroup<Error>| async move {
            let mut limits = Limits::default();
            limits.write_stall = Duration::from_millis(500);
            let accepted = group.spawn_ok(async move { RawPeer::accept(&listener, &Limits::default(), &["f"]).await });
            client.limits(limits).unwrap().run(async |client| -> Result<(), Error> {
                // Larger in all than what any system buffers.
                let text = "x".repeat(60_000);
                let mut calls: Vec<_> = (0..250)
                    .map(|_| Box::pin(client.call_named::<u8>("f", (text.clone(),)).no_deadline().retry(Retry::never()).into_future()))
                    .collect();
                for call in &mut calls {
                    assert!(poll_once(call).is_pending());
                }
                let peer = accepted.join().await.expect("it is not cancelled");
                let mut certainties = Vec::new();
                for call in calls {
                    let error = timeout(LONG, call).await.expect("every call ends").unwrap_err();
                    assert_eq!(error.code(), Code::ConnectionLost);
                    certainties.push(error.certainty());
                }
                // What left first may have run; from some call on, nothing left.
                assert!(certainties.is_sorted_by_key(|certainty| std::cmp::Reverse(*certainty)), "{certainties:?}");
                assert_eq!(certainties.first(), Some(&Certainty::MaybeExecuted));
                assert_eq!(certainties.last(), Some(&Certainty::NeverSent));
                assert_eq!(client.statistics().lost, 1);
                drop(peer);
                Ok(())
            }).await
        }).await.unwrap();
    }

    async fn calls_of_a_peer_that_ends_at_once_are_all_taken() {
        const CALLS: usize = 6144;
        let server = TcpBroker::builder(AsyncExecutor::new(registry(), 64)).limits(Limits::trusted()).unwrap();
        server.listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::trusted()).await;
            for _ in 0..CALLS {
                peer.command(Command::Open(Open::new(Target::Name("add".into()), CodecId::POSTCARD, Bytes::new())));
            }
            let bytes = peer.bytes();
            peer.stream.write_all(&bytes).await.unwrap();
            peer.stream.shutdown().await.unwrap();
            read_to_end(&mut peer.stream).await;
            assert_eq!(server.statistics().calls_received, CALLS as u64);
            Ok(())
        }).await.unwrap();
    }
}
