//! What crosses the socket between parent and child with a call, in either direction.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_channel::bounded;
use bowline_concurrency::{TaskGroup, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Balance, Broker, Caller, Certainty, Code, Codec, Context, Error, Limits, MemoryBroker,
    MethodName, Registry, RegistryError, Secret, TcpBroker, current_broker,
};
use futures_util::future::{Either, join, select};
use futures_util::stream;

use crate::methods::{LONG, Mirrored, SOON, Scratch, Short, Stubborn, ended, exists, pool};

type Besides = (Option<Vec<u8>>, Option<String>, bool);
/// Principal, address, instance and number of a call.
type Whose = (String, Option<String>, [u8; 16], u64);

/// What came with the call besides its arguments, and how long it may take.
async fn besides(context: Context, (): ()) -> Besides {
    let tenant = context.metadata("tenant").map(<[u8]>::to_vec);
    let trace = context.traceparent().map(str::to_owned);
    (tenant, trace, context.deadline().is_some())
}

async fn whose(context: Context, (): ()) -> Whose {
    let peer = context.caller().expect("it is called through a broker");
    let address = peer.address().map(ToString::to_string);
    let principal = peer.principal().to_owned();
    (principal, address, peer.instance(), context.call_id())
}

/// The outcome of a call of this method from a child, with `key` for those who balance by it.
async fn ask_by((method, key): (String, u64)) -> Option<usize> {
    let broker = current_broker()?;
    let call = broker.call_named::<usize>(method, (0_u8,)).key(key);
    call.timeout(LONG).await.ok()
}

/// What two calls with one idempotency key come to that are made at once.
async fn ask_once((key,): (String,)) -> Option<(usize, usize)> {
    let broker = current_broker()?;
    let call = || {
        let call = broker.call_named::<usize>("once", (0_u8,)).timeout(LONG);
        call.idempotency_key(key.clone()).into_future()
    };
    let (one, two) = join(call(), call()).await;
    Some((one.ok()?, two.ok()?))
}

/// What `served` here says of a value, asked for by a child in a format of the program's own.
async fn ask_mirrored((n,): (u32,)) -> Option<u32> {
    let mirrored = Codec::private(&Mirrored).ok()?;
    let call = current_broker()?.call_named::<u32>("twice", (n,));
    call.codec(mirrored).timeout(LONG).await.ok()
}

/// Has another child say how long a text is that came from this one.
async fn measured(context: Context, (length,): (usize,)) -> Result<usize, String> {
    let text = "x".repeat(length);
    let broker = context.broker().expect("it is run by one");
    let call = broker.call_named::<String>("echo", (text,));
    let echoed = call.codec(Codec::Postcard).timeout(LONG).await;
    echoed
        .map(|text| text.len())
        .map_err(|error| error.to_string())
}

pub(crate) fn register(registry: &Registry) -> Result<MethodName, RegistryError> {
    registry.register_fn("besides", besides)?;
    registry.register_fn("whose", whose)?;
    registry.register_fn("ask_by", |asked: (String, u64)| ask_by(asked))?;
    registry.register_fn("ask_once", |asked: (String,)| ask_once(asked))?;
    registry.register_fn("ask_mirrored", |asked: (u32,)| ask_mirrored(asked))?;
    registry.register_fn("echo", |(text,): (String,)| async move { text })?;
    registry.register_fn(
        "text",
        |(length,): (usize,)| async move { "x".repeat(length) },
    )?;
    registry.register_stream("texts", |(length,): (usize,)| {
        stream::iter((0..3).map(move |_| "x".repeat(length)))
    })?;
    registry.register_fn("measured", measured)
}

pub(crate) async fn handlers_in_children_have_what_came_with_the_call() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<(), Error> {
            for tenant in [vec![7], vec![7; 8_000], vec![7; 50_000]] {
                let call = broker
                    .call_named::<Besides>("besides", ())
                    // What numbers its calls for the parent is not what a caller says.
                    .metadata("sys.worker.call", [9; 8])
                    .metadata("tenant", tenant.clone())
                    .metadata("traceparent", trace)
                    .no_deadline();
                assert_eq!(call.await?, (Some(tenant), Some(trace.to_owned()), false));
            }
            let none = broker.call_named::<Besides>("besides", ()).timeout(LONG);
            assert_eq!(none.await?, (None, None, true));
            Ok(())
        })
        .await
        .expect("no call fails");
}

pub(crate) async fn handlers_in_children_know_who_calls() {
    let secret = Secret::new(*b"a secret that nobody can guess..").expect("it is long enough");
    let here = Registry::new("example");
    here.register_fn("whose_here", whose).expect("it is a name");
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let trusts = |server: bowline_rpc::TcpBrokerBuilder| {
            let keys = [("ops", secret.clone()), ("dev", secret.clone())];
            server.keys(keys).listen("127.0.0.1:0")
        };
        let server = trusts(TcpBroker::builder(pool(1))).start(&group).await?;
        let other = TcpBroker::builder(AsyncExecutor::new(here, 4));
        let other = trusts(other).start(&group).await?;
        for key in ["ops", "dev"] {
            let client = TcpBroker::caller().project("example");
            let client = client.key_id(key).secret(secret.clone());
            let client = client.connect(server.local_addrs()[0]);
            let client = client.connect(other.local_addrs()[0]).start(&group).await?;
            for _ in 0..3 {
                // As many calls at either, so they have the same numbers.
                let there = client.call_named::<Whose>("whose", ()).await?;
                let here = client.call_named::<Whose>("whose_here", ()).await?;
                assert_eq!(there.0, key);
                let connections = server.stats().connections;
                let its = |address: &String| connections.iter().any(|it| it.peer == *address);
                assert!(there.1.as_ref().is_some_and(its), "{there:?}");
                assert_eq!((there.2, there.3), (here.2, here.3));
            }
            client.close();
            client.closed().await;
        }
        group.cancel("done");
        Ok(())
    });
    outcome.await.expect("the case holds");
    let whose = MemoryBroker::new(pool(1)).run(async |broker| -> Result<_, Error> {
        broker.call_named::<Besides>("besides", ()).await?;
        Ok(broker.call_named::<Whose>("whose", ()).await?)
    });
    let (principal, address, instance, _) = whose.await.expect("no call fails");
    assert_eq!((&*principal, address), ("", None));
    assert_ne!(instance, [0; 16]);
}

/// Bytes of more than a message over a network has, unless its limits are others, and of more than all
/// messages that wait for their turn there.
const LENGTHS: [usize; 2] = [5 << 20, 17 << 20];

pub(crate) async fn messages_between_parent_and_child_have_the_limits_of_their_calls() {
    let outcome = MemoryBroker::new(pool(2)).run(async |broker| -> Result<(), Error> {
        for length in LENGTHS {
            let echo = broker.call_named::<String>("echo", ("x".repeat(length),));
            assert_eq!(
                echo.codec(Codec::Postcard).timeout(LONG).await?.len(),
                length
            );
            // From child to child.
            let measured = broker.call_named::<Result<usize, String>>("measured", (length,));
            assert_eq!(measured.timeout(LONG).await?, Ok(length));
            let texts = broker.call_named::<()>("texts", (length,)).timeout(LONG);
            let mut texts = texts.codec(Codec::Postcard).open::<String>().await?;
            for _ in 0..3 {
                assert_eq!(texts.recv().await?.map(|text| text.len()), Some(length));
            }
            assert_eq!(texts.recv().await?, None);
        }
        // Those of a method.
        let short = broker.call(Short("x".repeat(1000))).await;
        assert_eq!(ended(short), (Code::TooLarge, Certainty::Refused));
        Ok(())
    });
    outcome.await.expect("the case holds");

    // Those of a broker.
    let mut limits = Limits::default();
    limits.max_message = 6 << 20;
    let server = TcpBroker::builder(pool(1)).limits(limits.clone());
    let server = server.expect("they fit").listen("127.0.0.1:0");
    let outcome = server.run(async |server| -> Result<(), Error> {
        let client = TcpBroker::caller().project("example").limits(limits);
        let client = client.expect("they fit").connect(server.local_addrs()[0]);
        client
            .run(async |client| -> Result<(), Error> {
                let text = |length: usize| client.call_named::<String>("text", (length,));
                assert_eq!(text(5 << 20).timeout(LONG).await?.len(), 5 << 20);
                let error = text(7 << 20)
                    .timeout(LONG)
                    .await
                    .expect_err("it is too long");
                assert_eq!(
                    (error.code(), error.certainty()),
                    (Code::TooLarge, Certainty::Executed)
                );
                Ok(())
            })
            .await
    });
    outcome.await.expect("the case holds");
}

pub(crate) async fn calls_of_children_go_to_the_peer_of_their_key() {
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let server = TcpBroker::builder(pool(1)).balance(Balance::Hash);
        let server = server.listen("127.0.0.1:0").start(&group).await?;
        for number in 0..3_usize {
            let registry = Registry::new("example");
            registry.register_fn("which", move |context: Context, (_,): (u8,)| {
                // What is for the broker alone goes no further.
                let told = context.metadata("sys.worker.hash").is_some();
                async move { if told { 99 } else { number } }
            })?;
            let peer = TcpBroker::builder(AsyncExecutor::new(registry, 4));
            let peer = peer.connect(server.local_addrs()[0]);
            peer.start(&group).await?;
        }
        let client = TcpBroker::caller().project("example");
        let client = client
            .connect(server.local_addrs()[0])
            .start(&group)
            .await?;
        let mut seen = [0; 3];
        for key in 0..20_u64 {
            let which = server
                .call_named::<usize>("which", (0_u8,))
                .key(key)
                .await?;
            seen[which] += 1;
            let asked = client.call_named::<Option<usize>>("ask_by", ("which", key));
            assert_eq!(asked.timeout(LONG).await?, Some(which), "{key}");
        }
        assert!(seen.iter().all(|calls| *calls > 0), "{seen:?}");
        group.cancel("done");
        Ok(())
    });
    outcome.await.expect("the case holds");
}

// R24
pub(crate) async fn calls_of_children_with_one_idempotency_key_run_once() {
    let registry = Registry::new("example");
    let runs = Arc::new(AtomicUsize::new(0));
    let (counts, (began, begins), (let_go, waits)) = (runs.clone(), bounded(8), bounded(8));
    let made = registry.register_fn("once", move |(_,): (u8,)| {
        let (counts, began, waits) = (counts.clone(), began.clone(), waits.clone());
        async move {
            let run = counts.fetch_add(1, Ordering::SeqCst);
            let _ = began.send(()).await;
            let _: Result<(), _> = waits.recv().await;
            run
        }
    });
    made.expect("it is a name");
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let server = TcpBroker::builder(pool(2)).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        let client = TcpBroker::builder(AsyncExecutor::new(registry, 64));
        let client = client
            .connect(server.local_addrs()[0])
            .start(&group)
            .await?;
        for (run, key) in ["a", "b"].into_iter().enumerate() {
            // Two children at once.
            let asked = [(); 2].map(|()| {
                let client = client.clone();
                group.spawn_ok(async move {
                    let call = client.call_named::<Option<(usize, usize)>>("ask_once", (key,));
                    call.timeout(LONG).await
                })
            });
            begins.recv().await.expect("it says so");
            // One that was the twin of none would begin here as well.
            let _ = let_go.send(()).await;
            for call in asked {
                let answers = timeout(LONG, call.join()).await.expect("it ends");
                let answers = answers.expect("it is not cancelled")?;
                assert_eq!(answers, Some((run, run)));
            }
            assert_eq!(runs.load(Ordering::SeqCst), run + 1);
        }
        group.cancel("done");
        Ok(())
    });
    outcome.await.expect("the case holds");
}

pub(crate) async fn calls_in_a_format_of_ones_own_reach_children_and_come_from_them() {
    let mirrored = Codec::private(&Mirrored).expect("its number is one of ours");
    let twice = Registry::new("example");
    let doubled = |(n,): (u32,)| async move { 2 * n };
    twice.register_fn("twice", doubled).expect("it is a name");
    let other =
        TcpBroker::builder(AsyncExecutor::new(twice, 4)).codecs([Codec::MessagePack, mirrored]);
    other
        .listen("127.0.0.1:0")
        .run(async |other| -> Result<(), Error> {
            let broker = TcpBroker::builder(pool(2))
                .codecs([Codec::MessagePack, mirrored])
                .prefer_local();
            broker
                .connect(other.local_addrs()[0])
                .run(async |broker| -> Result<(), Error> {
                    let call = |n: u32| broker.call_named::<Option<u32>>("ask_mirrored", (n,));
                    assert_eq!(call(21).codec(mirrored).timeout(LONG).await?, Some(42));
                    Ok(())
                })
                .await
        })
        .await
        .expect("the case holds");
}

// R24
pub(crate) async fn a_call_with_a_key_runs_again_once_its_child_is_dead() {
    let path = Scratch::new("keyed");
    MemoryBroker::new(pool(2))
        .run(async |broker| -> Result<(), Error> {
            let stubborn = || broker.call(Stubborn(path.text())).idempotency_key("once");
            let pid = async |not: Option<u32>| loop {
                let told = std::fs::read_to_string(&path.0).unwrap_or_default();
                match told.parse::<u32>() {
                    Ok(pid) if Some(pid) != not => break pid,
                    _ => bowline_concurrency::sleep(std::time::Duration::from_millis(1)).await,
                }
            };
            // A child is there already.
            broker.call_named::<u32>("pid", ()).await?;
            let mut patience = 10 * SOON;
            let first = loop {
                let outcome = stubborn().timeout(patience).await;
                // On a busy machine the time may be over before it begins.
                if let Ok(first) = timeout(patience, pid(None)).await {
                    let late = (Code::DeadlineExceeded, Certainty::MaybeExecuted);
                    assert_eq!(ended(outcome), late);
                    break first;
                }
                assert_eq!(ended(outcome).0, Code::DeadlineExceeded);
                patience *= 4;
                assert!(patience < LONG, "it never begins");
            };
            let second = stubborn().timeout(LONG).into_future();
            let begun = Box::pin(timeout(LONG, pid(Some(first))));
            match select(second, begun).await {
                Either::Left((outcome, _)) => panic!("it never ends: {outcome:?}"),
                Either::Right((pid, _)) => {
                    assert!(pid.is_ok() && !exists(first), "two ran at once")
                }
            }
            Ok(())
        })
        .await
        .expect("the case holds");
}
