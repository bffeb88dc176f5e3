//! Long messages that the program does not take: what is held of them, counted by the allocator, and what
//! goes on beside them.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_channel::bounded;
use bowline_concurrency::{TaskGroup, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CallKind, CodecId, Command, Event, Open, Target};
use bowline_rpc::{
    Caller, Codec, Context, Error, Incoming, Limits, Registry, TcpBroker, TcpBrokerBuilder,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future};

use crate::allocated::held;
use crate::backends::{on_every_backend, run};
use crate::raw_peer::RawPeer;

const LONG: Duration = Duration::from_secs(120);
const MIB: usize = 1024 * 1024;
const READ: NonZeroUsize = NonZeroUsize::new(MIB).unwrap();
/// Of a text in postcard: its length in 4 bytes, and the text.
static BODY: [u8; 4_000_000] = body();
const TEXT: usize = BODY.len() - 4;

const fn body() -> [u8; 4_000_000] {
    let mut body = [b'x'; 4_000_000];
    (body[0], body[1], body[2], body[3]) = (0xFC, 0x91, 0xF4, 0x01);
    body
}

fn text() -> String {
    "x".repeat(TEXT)
}

/// Those of a server whose report has little beside long messages.
fn few() -> Limits {
    let mut limits = Limits::default();
    (limits.max_calls, limits.notify_window) = (60, 1);
    (limits.max_frame, limits.call_window) = (4096, 4096);
    (limits.max_metadata, limits.reply_bytes) = (256, limits.max_message as usize);
    limits
}

/// Those of a peer that may send much.
fn much() -> Limits {
    let mut limits = Limits::default();
    (limits.queue_bytes, limits.reply_bytes) = (1 << 30, 1 << 30);
    limits
}

/// One that may have much under way.
fn client(server: &TcpBroker) -> TcpBrokerBuilder {
    let client = TcpBroker::caller().project("example").limits(much());
    client.unwrap().connect(server.local_addrs()[0])
}

/// Sends what the peer may, and an item where there is room for one, until nothing has happened for a second.
async fn push(peer: &mut RawPeer) -> usize {
    let mut replied = 0;
    loop {
        while let Some(event) = peer.machine.poll_event() {
            match event {
                Event::Room { call } => {
                    let body = Bytes::from_static(&BODY);
                    let _ = peer
                        .machine
                        .command(time::now(), Command::Item { call, body });
                }
                Event::Opened(call) => {
                    let (call, body) = (call.call, Bytes::from_static(&BODY));
                    peer.command(Command::Reply { call, body });
                }
                Event::Replied { .. } => replied += 1,
                Event::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
        peer.flush().await;
        let mut bytes = BytesMut::new();
        let read = peer.stream.read_into(&mut bytes, READ);
        match timeout(Duration::from_secs(1), read).await {
            Ok(Ok(1..)) => peer.receive(&bytes),
            // It has ended, or nothing comes.
            _ => return replied,
        }
    }
}

/// What a server with one worker holds of 60 calls with 4 MB each, and what it holds in the end.
fn held_of_calls(kind: CallKind, workers: usize) -> (isize, isize) {
    let mut measured = None;
    run(Backend::Sim, async {
        let (let_go, waiting) = bounded::<()>(1);
        let registry = Registry::new("example");
        let gate = waiting.clone();
        registry
            .register_fn("take", move |(_,): (String,)| {
                let gate = gate.clone();
                async move {
                    {
                        let _ = gate.recv().await;
                    }
                }
            })
            .unwrap();
        registry
            .register_fn("hold", move |(): (), items: Incoming<String>| {
                let gate = waiting.clone();
                async move {
                    let _ = gate.recv().await;
                    drop(items);
                }
            })
            .unwrap();
        let server = TcpBroker::builder(AsyncExecutor::new(registry, workers)).limits(few());
        let server = server.unwrap().listen("127.0.0.1:0");
        let measured = &mut measured;
        server
            .run(async |server| -> Result<(), Error> {
                let mut peer = RawPeer::dial(server.local_addrs()[0], &much()).await;
                let before = held();
                for _ in 0..60 {
                    let (method, body) = match kind {
                        CallKind::UNARY => ("take", Bytes::from_static(&BODY)),
                        _ => ("hold", Bytes::new()),
                    };
                    let open = Open::new(Target::Name(method.into()), CodecId::POSTCARD, body);
                    let deadline = time::now() + LONG;
                    peer.command(Command::Open(open.kind(kind).deadline(deadline)));
                }
                assert_eq!(push(&mut peer).await, 0);
                let during = held() - before;
                drop(let_go);
                assert_eq!(push(&mut peer).await, 60, "all are answered");
                *measured = Some((during, held() - before));
                Ok(())
            })
            .await
            .unwrap();
    });
    measured.expect("it came to its end")
}

// R28
#[test]
fn long_arguments_that_wait_for_a_worker_are_bounded() {
    let (during, after) = held_of_calls(CallKind::UNARY, 1);
    let limits = few();
    // Those of the budget, one beyond, and the one that runs.
    let least = limits.reassembly as isize - 4 * MIB as isize;
    let most = (limits.reassembly + 3 * BODY.len()) as isize;
    assert!((least..most).contains(&during), "{during}");
    assert!(during < limits.report().called() as isize);
    assert!(after < 4 * MIB as isize, "{after}");
}

// R28
#[test]
fn long_items_that_nobody_takes_are_bounded() {
    let (during, after) = held_of_calls(CallKind::CALLER_STREAMS, 60);
    let limits = few();
    let most = (limits.reassembly + BODY.len()) as isize;
    let least = limits.reassembly as isize - 4 * MIB as isize;
    assert!((least..most).contains(&during), "{during}");
    assert!(during < limits.report().called() as isize);
    assert!(after < 4 * MIB as isize, "{after}");
}

// R28
#[test]
fn long_replies_that_nobody_takes_are_bounded() {
    run(Backend::Sim, async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpBroker::caller()
            .project("example")
            .limits(few())
            .unwrap();
        let client = client.connect(address);
        let accepts = async {
            let mut peer = RawPeer::accept(&listener, &much(), &["ask"]).await;
            push(&mut peer).await;
            push(&mut peer).await;
            peer
        };
        let calls = client.run(async |client| -> Result<(), Error> {
            let before = held();
            let call = || {
                client
                    .call_named::<String>("ask", ())
                    .codec(Codec::Postcard)
                    .timeout(LONG)
                    .into_future()
            };
            let mut calls: Vec<_> = (0..50).map(|_| call()).collect();
            assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
            bowline_concurrency::sleep(Duration::from_millis(1500)).await;
            let (during, limits) = (held() - before, few());
            let most = (limits.reassembly + BODY.len()) as isize;
            assert!((8 * MIB as isize..most).contains(&during), "{during}");
            assert!(during < limits.report().calling() as isize);
            // Each is there in its turn.
            for call in calls.iter_mut().rev() {
                assert!(call.await?.len() == TEXT);
            }
            drop(calls);
            assert!(held() - before < 4 * MIB as isize);
            Ok(())
        });
        let (calls, _) = future::join(calls, accepts).await;
        calls.unwrap();
    });
}

/// What a server holds of 60 calls whose handlers take none of their items, of `length` bytes each, while
/// others come between them and are taken; and how many bytes the items have.
fn held_of_items_far_between(length: usize) -> (isize, usize) {
    let mut measured = None;
    run(Backend::Sim, async {
        let registry = Registry::new("example");
        registry
            .register_fn("hold", |(): (), items: Incoming<String>| async move {
                let _items = items;
                future::pending::<()>().await
            })
            .unwrap();
        registry
            .register_fn("eat", |(): (), mut items: Incoming<String>| async move {
                while let Ok(Some(_)) = items.recv().await {}
            })
            .unwrap();
        let measured = &mut measured;
        let server = TcpBroker::builder(AsyncExecutor::new(registry, 100)).listen("127.0.0.1:0");
        let run = server.run(async |server| -> Result<(), Error> {
            let mut peer = RawPeer::dial(server.local_addrs()[0], &much()).await;
            let open = |peer: &mut RawPeer, method: &str| {
                let target = Target::Name(method.into());
                let open = Open::new(target, CodecId::POSTCARD, Bytes::new());
                let open = open
                    .kind(CallKind::CALLER_STREAMS)
                    .deadline(time::now() + LONG);
                peer.machine
                    .command(time::now(), Command::Open(open))
                    .unwrap()
            };
            let eaten = open(&mut peer, "eat");
            let calls: Vec<_> = (0..60).map(|_| open(&mut peer, "hold")).collect();
            let mut text = BODY[..1000].to_vec();
            (text[0], text[1]) = (0xE6, 0x07);
            let (text, body) = (Bytes::from(text), Bytes::from_static(&BODY[..length]));
            peer.flush().await;
            peer.turn().await;
            let (before, mut payload) = (held(), 0);
            for _ in 0..60_000 / (length + 16) {
                for call in &calls {
                    let (call, body) = (*call, body.clone());
                    payload += length;
                    peer.command(Command::Item { call, body });
                    // As many as there is credit for.
                    for _ in 0..56 {
                        let (call, body) = (eaten, text.clone());
                        let item = Command::Item { call, body };
                        let _ = peer.machine.command(time::now(), item);
                    }
                    peer.flush().await;
                    peer.turn().await;
                }
            }
            *measured = Some((held() - before, payload));
            assert_eq!(server.connections(), 1, "it did nothing that is forbidden");
            drop(peer);
            Ok(())
        });
        run.await.unwrap();
    });
    measured.expect("it came to its end")
}

// R29
#[test]
fn received_items_keep_little_of_what_came_with_them() {
    for length in [4096, 8000, 9000, 20_000] {
        let (during, payload) = held_of_items_far_between(length);
        let most = 8 * payload as isize + MIB as isize;
        assert!(
            (payload as isize..most).contains(&during),
            "{length}: {during} of {payload}"
        );
    }
}

/// `many` sends three texts, `get` gives one, `put` takes one and says how long it is.
fn registry() -> Registry {
    let registry = Registry::new("example");
    registry
        .register_stream("many", |(): ()| stream::iter(0..3).map(|_| text()))
        .unwrap();
    registry
        .register_fn("get", |(): ()| async { text() })
        .unwrap();
    registry
        .register_fn("put", |(text,): (String,)| async move { text.len() })
        .unwrap();
    registry
}

fn serve(registry: Registry, workers: usize) -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry, workers)).listen("127.0.0.1:0")
}

on_every_backend! {
    // R17, R28
    async fn streams_of_long_items_may_be_read_one_after_the_other() {
        serve(registry(), 64).run(async |server| -> Result<(), Error> {
 client(&server).run(async |client| -> Result<(), Error> {
            let mut streams = Vec::new();
            for _ in 0..8 {
                let call = client.call_named::<()>("many", ()).timeout(LONG);
                streams.push(call.open::<String>().await?);
            }
            bowline_concurrency::sleep(Duration::from_millis(20)).await;
            // The last first, whose items came last.
            for mut items in streams.into_iter().rev() {
                let mut count = 0;
                while let Some(item) = items.recv().await? {
                    assert!(item.len() == TEXT);
                    count += 1;
                }
                assert_eq!(count, 3);
            }
            Ok(())
        }).await
        }).await.unwrap();
    }

    // R28
    async fn a_call_ends_beside_replies_that_nobody_looks_at() {
        serve(registry(), 64).run(async |server| -> Result<(), Error> {
 client(&server).run(async |client| -> Result<(), Error> {
            let get = || client.call_named::<String>("get", ()).timeout(LONG).into_future();
            let mut calls: FuturesUnordered<_> = (0..10).map(|_| get()).collect();
            while let Some(reply) = calls.next().await {
                assert!(reply?.len() == TEXT);
                // Meanwhile the others come, and nobody polls them.
                bowline_concurrency::sleep(Duration::from_millis(5)).await;
                assert!(get().await?.len() == TEXT);
            }
            Ok(())
        }).await
        }).await.unwrap();
    }

    // P5, R28
    async fn what_a_handler_waits_for_comes_though_long_arguments_wait_for_its_place() {
        let (starting, started) = bounded::<()>(64);
        let registry = registry();
        registry.register_fn("collect", move |(): (), mut items: Incoming<String>| {
            let starting = starting.clone();
            async move {
                let _ = starting.send(()).await;
                let mut length = 0;
                while let Ok(Some(item)) = items.recv().await {
                    length += item.len();
                }
                length
            }
        }).unwrap();
        serve(registry, 1).run(async |server| -> Result<(), Error> {
 client(&server).run(async |client| -> Result<(), Error> {
            let call = client.call_named::<usize>("collect", ()).timeout(LONG);
            let mut call = call.open_sending::<String>().await?;
            started.recv().await.expect("it runs");
            // It has the one place, for which these wait.
            let put = || client.call_named::<usize>("put", (text(),)).timeout(LONG).into_future();
            let mut waiting: Vec<_> = (0..8).map(|_| put()).collect();
            for call in &mut waiting {
                assert!(pin!(call).now_or_never().is_none());
            }
            bowline_concurrency::sleep(Duration::from_millis(50)).await;
            for _ in 0..3 {
                call.sender.send(text()).await.expect("it takes it");
            }
            call.sender.close();
            assert_eq!(call.receiver.reply().await?, 3 * TEXT);
            for length in future::join_all(waiting).await {
                assert_eq!(length?, TEXT);
            }
            Ok(())
        }).await
        }).await.unwrap();
    }

    // P5, R28
    async fn a_nested_call_with_long_arguments_has_its_turn_before_those_that_wait_for_its_caller() {
        let (starting, started) = bounded::<()>(64);
        let (let_go, waiting) = bounded::<()>(64);
        let registry = registry();
        registry.register_fn("nest", move |context: Context, (): ()| {
            let (starting, waiting) = (starting.clone(), waiting.clone());
            async move {
                let _ = starting.send(()).await;
                let _ = waiting.recv().await;
                let broker = context.broker().expect("it runs in one");
                let back = broker.call_named::<usize>("back", ()).timeout(LONG);
                back.await.expect("it comes")
            }
        }).unwrap();
        let back = Registry::new("example");
        back.register_fn("back", |context: Context, (): ()| async move {
            let broker = context.broker().expect("it runs in one");
            broker.call_named::<usize>("put", (text(),)).timeout(LONG).await.expect("it comes")
        }).unwrap();
        let server = TcpBroker::builder(AsyncExecutor::new(registry, 1)).listen("127.0.0.1:0");
        let ended = server.run(async |server| -> Result<(), Error> {
            let client = TcpBroker::builder(AsyncExecutor::new(back, 1)).limits(much()).unwrap();
            let client = client.connect(server.local_addrs()[0]);
            let called = client.run(async |client| task_group(|group: TaskGroup<Error>| async move {
                let caller = client.clone();
                let nest = group.spawn(async move {
                    Ok(caller.call_named::<usize>("nest", ()).timeout(LONG).await?)
                });
                started.recv().await.expect("it runs");
                for _ in 0..8 {
                    let caller = client.clone();
                    drop(group.spawn(async move {
                        let put = caller.call_named::<usize>("put", (text(),)).timeout(LONG);
                        assert_eq!(put.await?, TEXT);
                        Ok(())
                    }));
                }
                bowline_concurrency::sleep(Duration::from_millis(50)).await;
                let _ = let_go.send(()).await;
                assert_eq!(nest.join().await.expect("it is not cancelled"), TEXT);
                Ok::<_, Error>(())
            }).await.map_err(|_| panic!("no call fails")));
            timeout(LONG, called).await.expect("nothing waits for ever")
        });
        ended.await.unwrap();
    }
}
