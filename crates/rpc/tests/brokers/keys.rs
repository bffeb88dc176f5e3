//! Calls with a key run once however often they are made.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt, ByteWriter};
use bowline_channel::{Sender, bounded};
use bowline_concurrency::{TaskGroup, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{
    Advertised, CodecId, Command, Config, Event, Extensions, MethodId, Open, Side, Target,
};
use bowline_rpc::{
    Broker, Caller, Certainty, Code, Codec, Error, MemoryBroker, Registry, Secret, TcpBroker,
    TcpBrokerBuilder,
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{join, join_all, select};

use crate::backends::{Div, DivError, on_every_backend, registry, within};
use crate::held::{Held, client, held};
use crate::raw_peer::{LONG, RawPeer, listener};

/// Carries bytes between a client and the broker at `to`, until the connection is cut.
pub(crate) fn relay(group: &TaskGroup<Error>, to: SocketAddr) -> (SocketAddr, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let place = listener.local_addr().unwrap();
    let (sender, cut) = bounded(1);
    drop(group.spawn_ok(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(to).await.unwrap();
            let ((from, back), (other, there)) = (client.into_split(), server.into_split());
            let both = pin!(join(forward(from, there), forward(other, back)));
            select(both, pin!(cut.recv())).await;
        }
    }));
    (place, sender)
}

async fn forward(mut from: impl ByteReader, mut to: impl ByteWriter) {
    let mut some = BytesMut::new();
    while let Ok(1..) = from
        .read_into(&mut some, NonZeroUsize::MIN.saturating_add(4095))
        .await
    {
        if to.write_all(&some).await.is_err() {
            break;
        }
        some.clear();
    }
}

/// A broker with `count`, which says how often it has run before.
fn serve_counting() -> TcpBrokerBuilder {
    let runs = AtomicUsize::new(0);
    let registry = Registry::new("example");
    let count = move |(): ()| {
        let number = runs.fetch_add(1, Ordering::SeqCst);
        async move { number }
    };
    registry.register_fn("count", count).unwrap();
    TcpBroker::builder(AsyncExecutor::new(registry, 64)).listen("127.0.0.1:0")
}

/// What `count` answers to a peer of its own connection, with the key that all have.
async fn counts_with_a_key(server: &TcpBroker, config: Config) -> String {
    let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    let mut peer = RawPeer::with(stream, Side::Dialer, config);
    peer.until(|event| matches!(event, Event::Ready(_))).await;
    let none = Bytes::from_static(b"null");
    let key = Extensions::builder().idempotency_key(b"k").build();
    let open = Open::new(Target::Name("count".into()), CodecId::JSON, none).extensions(key);
    peer.command(Command::Open(open));
    let replied = peer
        .until(|event| matches!(event, Event::Replied { .. }))
        .await;
    let Event::Replied { body, .. } = replied else {
        unreachable!()
    };
    String::from_utf8(body.to_vec()).expect("it is JSON")
}

/// Methods that are not to run twice.
struct Counted {
    let_go: Sender<()>,
    runs: Arc<AtomicUsize>,
}

fn counted() -> (Counted, AsyncExecutor) {
    let Held {
        registry, let_go, ..
    } = held();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let count = move |(): ()| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move { number }
    };
    registry.register_fn("count", count).unwrap();
    let executor = AsyncExecutor::new(registry, 64);
    (Counted { let_go, runs }, executor)
}

impl Counted {
    /// They run once for each key, however often `broker` is asked.
    async fn runs_once(&self, broker: &impl Broker) -> Result<(), Error> {
        let held = |n: i64| broker.call_named::<i64>("held", (n,));
        let twins = [1, 2].map(|n| held(n).idempotency_key("twins").into_future());
        let (outcomes, ()) = futures_util::future::join(join_all(twins), async {
            // One is let go, and there is no second.
            self.let_go.send(()).await.unwrap();
        })
        .await;
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes[0], outcomes[1]);
        let count = |key: &str| {
            let count = broker.call_named::<usize>("count", ());
            count.idempotency_key(key)
        };
        let counts = [count("a"), count("a"), count("b"), count("a")];
        for (call, expected) in counts.into_iter().zip([0, 0, 1, 0]) {
            assert_eq!(call.await?, expected);
        }
        let twins = (0..50).map(|_| count("many").into_future());
        for outcome in join_all(twins).await {
            assert_eq!(outcome?, 2);
        }
        assert_eq!(self.runs.load(Ordering::SeqCst), 3);
        Ok(())
    }
}

fn secret(n: u8) -> Secret {
    Secret::new([n; 16]).expect("it is long enough")
}

on_every_backend! {
    // R24
    async fn a_call_with_a_key_is_given_up_with_the_start_of_the_peer_that_may_have_run_it() {
        within(|group| async move {
            let (listener, client) = listener();
            let got = Arc::new(AtomicUsize::new(0));
            let counted = got.clone();
            drop(group.spawn_ok(async move {
                for start in 1_u8.. {
                    let (stream, _) = listener.accept().await.unwrap();
                    let config = Config::new("example", [start; 16]);
                    let mut peer = RawPeer::with(stream, Side::Listener, config);
                    peer.command(Command::Advertise(vec![Advertised::new(MethodId(1), "add")]));
                    let is_call = |event: &Event| matches!(event, Event::Opened(_));
                    // It leaves with each call that it gets.
                    if peer.until_end(is_call).await.is_some() {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }));
            let client = client.start(&group).await?;
            let call = client.call_named::<i64>("add", (1, 1)).idempotency_key("k").no_deadline();
            let error = call.await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::ConnectionLost, Certainty::MaybeExecuted));
            assert_eq!(got.load(Ordering::SeqCst), 1);
            Ok(())
        }).await;
    }

    // R24
    async fn a_call_with_a_key_gets_its_answer_over_the_next_connection() {
        within(|group| async move {
            let Held { registry, started, let_go } = held();
            let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0").start(&group).await?;
            let (place, cut) = relay(&group, server.local_addrs()[0]);
            let client = TcpBroker::caller().project("example").connect(place).start(&group).await?;
            let caller = client.clone();
            let call = group.spawn_ok(async move {
                caller.call_named::<i64>("held", (7,)).idempotency_key("k").no_deadline().await
            });
            started.recv().await.unwrap();
            cut.send(()).await.unwrap();
            let_go.send(()).await.unwrap();
            let outcome = timeout(LONG, call.join()).await.expect("it is answered");
            assert_eq!(outcome.expect("it is not cancelled")?, 7);
            assert!(started.try_recv().is_err(), "it ran twice");
            Ok(())
        }).await;
    }

    // R24
    async fn calls_with_one_key_run_once_and_have_equal_replies() {
        let (counted, executor) = counted();
        TcpBroker::builder(executor).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| counted.runs_once(&client).await).await
        }).await.unwrap();
    }

    // R24
    async fn a_broker_that_runs_its_calls_itself_keeps_their_answers() {
        let (counted_in_memory, executor) = counted();
        MemoryBroker::new(executor).run(async |broker| -> Result<(), Error> {
            counted_in_memory.runs_once(&broker).await?;
            let count = |codec, key: &str| broker.call_named::<usize>("count", ()).codec(codec).idempotency_key(key);
            assert_eq!(count(Codec::MessagePack, "k").await?, 3);
            let error = count(Codec::Json, "k").await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::BadArguments, Certainty::Refused));
            // A value, too, which goes as postcard then.
            let div = |n| broker.call(Div(n, 2)).idempotency_key("d");
            assert_eq!((div(7).await.unwrap(), div(9).await.unwrap()), (3, 3));
            let error = broker.call_named::<i64>("example.shop.math.div", (7, 2)).idempotency_key("d").await.unwrap_err();
            assert_eq!(error.code(), Code::BadArguments);
            let by_zero = || broker.call(Div(7, 0)).idempotency_key("z");
            for error in [by_zero().await.unwrap_err(), by_zero().await.unwrap_err()] {
                assert_eq!(error.application(), Some(&DivError::ByZero { dividend: 7 }));
            }
            // What did not run is not kept, and nobody waits for it.
            broker.close();
            for _ in 0..2 {
                let error = count(Codec::Postcard, "late").await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::NeverSent));
            }
            Ok(())
        }).await.unwrap();
        let (counted_here, executor) = counted();
        TcpBroker::builder(executor).prefer_local().run(async |broker| counted_here.runs_once(&broker).await).await.unwrap();
    }

    // R24, EX4
    async fn a_call_with_a_key_goes_on_without_its_caller_and_needs_room_in_the_queue() {
        let Held { registry, started, let_go } = held();
        let executor = AsyncExecutor::new(registry, 1).queue(1);
        MemoryBroker::new(executor).run(async |broker| -> Result<(), Error> {
            let held = |n: i64, key: &str| broker.call_named::<i64>("held", (n,)).idempotency_key(key);
            let mut first = held(1, "a").into_future();
            assert!((&mut first).now_or_never().is_none());
            started.recv().await.unwrap();
            drop(first);
            let mut second = held(2, "b").into_future();
            assert!((&mut second).now_or_never().is_none());
            let error = held(3, "c").await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::Refused));
            let_go.send(()).await.unwrap();
            let_go.send(()).await.unwrap();
            assert_eq!((held(1, "a").await?, second.await?), (1, 2));
            started.recv().await.unwrap();
            assert!(started.try_recv().is_err(), "a call ran twice");
            Ok(())
        }).await.unwrap();
    }

    // R24
    async fn a_key_is_that_of_one_codec() {
        serve_counting().run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| -> Result<(), Error> {
                let count = |codec| client.call_named::<usize>("count", ()).codec(codec).idempotency_key("k");
                assert_eq!(count(Codec::MessagePack).await?, 0);
                let error = count(Codec::Json).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::BadArguments, Certainty::Refused));
                assert_eq!(count(Codec::MessagePack).await?, 0);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R24
    async fn a_key_is_that_of_the_caller_that_has_proved_itself() {
        let server = serve_counting().keys([("a", secret(1)), ("b", secret(2))]);
        server.run(async |server| -> Result<(), Error> {
            for (id, n, runs) in [("a", 1, 0), ("b", 2, 1), ("a", 1, 0)] {
                // Each says that it is the same broker.
                let config = Config::new("example", [9; 16]).secret(id, secret(n));
                assert_eq!(counts_with_a_key(&server, config).await, format!("{runs}"), "{id}");
            }
            Ok(())
        }).await.unwrap();
    }

    // R24
    async fn who_says_that_it_is_another_gets_none_of_its_answers() {
        serve_counting().run(async |server| -> Result<(), Error> {
            // Nobody proves anything.
            let same = || Config::new("example", [9; 16]);
            for (config, runs) in [
                (same(), 0),
                (same(), 1),
                (same().passes([1; 32]), 2),
                (same().passes([1; 32]), 2),
                (same().passes([2; 32]), 3),
                (Config::new("example", [8; 16]).passes([1; 32]), 4),
                (same().passes([1; 32]), 2),
                (same(), 5),
            ] {
                assert_eq!(counts_with_a_key(&server, config).await, format!("{runs}"));
            }
            Ok(())
        }).await.unwrap();
    }

    async fn keys_of_two_callers_are_two_keys() {
        serve_counting().run(async |server| -> Result<(), Error> {
            for n in 0..2 {
                client(&server).run(async |client| -> Result<(), Error> {
                    for _ in 0..2 {
                        assert_eq!(client.call_named::<usize>("count", ()).idempotency_key("k").await?, n);
                    }
                    Ok(())
                }).await?;
            }
            Ok(())
        }).await.unwrap();
    }

    async fn what_is_said_besides_has_its_bounds() {
        TcpBroker::builder(AsyncExecutor::new(registry(), 64)).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| {
                let call = || client.call_named::<i64>("add", (2, 3));
                for key in [0, 65] {
                    let error = call().idempotency_key(vec![7; key]).await.unwrap_err();
                    assert_eq!((error.code(), error.certainty()), (Code::BadArguments, Certainty::NeverSent), "{error}");
                }
                let error = call().metadata("k".repeat(256), "v").await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::TooLarge, Certainty::NeverSent), "{error}");
                let error = call().metadata("k", vec![7; 9000]).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::TooLarge, Certainty::NeverSent), "{error}");
                assert_eq!(call().metadata("k", vec![7; 8000]).idempotency_key([7; 64]).priority(9).await?, 5);
                assert_eq!(client.connections(), 1);
                Ok(())
            }).await
        }).await.unwrap();
    }
}
