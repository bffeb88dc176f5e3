//! What a `tracing` subscriber hears of calls, and how a trace crosses the wire, on every backend.

#[cfg(feature = "tracing")]
mod recorder;
#[cfg(feature = "tracing")]
mod secrets;

#[path = "../suite/backends.rs"]
#[allow(dead_code, unused_imports)] // As much as these tests need.
mod backends;
#[path = "../suite/wire.rs"]
#[allow(dead_code)] // As much as these tests need.
mod wire;

use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Caller, Certainty, Code, Context, Error, MemoryBroker, Registry, TcpBroker,
    with_traceparent,
};

use backends::{on_every_backend, within};
use wire::{Wire, over_every_wire};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

type Traced = (Option<String>, Option<String>);

/// A registry with `trace`, which answers the trace it is called in, and that of a call it makes.
fn tracing_registry() -> Registry {
    let registry = Registry::new("example");
    registry
        .register_fn("trace", |context: Context, (deeper,): (bool,)| async move {
            let here = context.traceparent().map(str::to_owned);
            let there = match context.broker().filter(|_| deeper) {
                None => None,
                Some(broker) => {
                    let nested = broker.call_named::<Traced>("trace", (false,));
                    nested.await.expect("it is offered").0
                }
            };
            (here, there)
        })
        .unwrap();
    registry
}

/// Calls `trace`, whose own call comes to a broker that offers it too.
async fn traces_cross<B: Broker>(broker: &B) -> Result<(), Error> {
    let call = || broker.call_named::<Traced>("trace", (true,));
    assert_eq!(call().await?, (None, None));
    let both = (Some(PARENT.to_owned()), Some(PARENT.to_owned()));
    assert_eq!(call().metadata("traceparent", PARENT).await?, both);
    let around = with_traceparent(PARENT, async { call().await }).unwrap();
    assert_eq!(around.await?, both);
    // What the call itself says counts, and other metadata goes with it.
    let other = (Some("other".to_owned()), Some("other".to_owned()));
    let call = call().metadata("traceparent", "other").metadata("a", "b");
    let around = with_traceparent(PARENT, async { call.await }).unwrap();
    assert_eq!(around.await?, other);
    let odd = broker.call_named::<Traced>("trace", (true,));
    let error = odd.metadata("traceparent", "\u{e9}").await.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (Code::BadArguments, Certainty::NeverSent)
    );
    assert!(with_traceparent("", async {}).is_err());
    Ok(())
}

over_every_wire! {
    async fn a_trace_goes_with_calls_and_with_those_of_their_handlers(wire: Wire) {
        within(|group| async move {
            let server = wire.serve(tracing_registry()).start(&group).await?;
            // The handler calls back: over the wire a second time.
            let client = TcpBroker::builder(AsyncExecutor::new(tracing_registry(), 4));
            let client = wire.prepare(client).connect(server.endpoints()[0].clone()).start(&group).await?;
            traces_cross(&client).await
        }).await;
    }
}

on_every_backend! {
    async fn a_trace_goes_with_calls_within_the_process() {
        let broker = MemoryBroker::new(AsyncExecutor::new(tracing_registry(), 4));
        broker.run(async |broker| traces_cross(&broker).await).await.unwrap();
    }
}

#[cfg(feature = "tracing")]
mod spans {
    use bowline_backend::Backend;
    use futures_util::FutureExt;
    use tracing::{Instrument, info_span};

    use super::*;
    use crate::backends::{div, fall};
    use crate::recorder::{Recorded, record, spans};

    /// A name that no other test has.
    fn unique(name: &str) -> String {
        format!("{name}.{}", Backend::current().unwrap().name())
    }

    fn ends(spans: &[Recorded]) -> Vec<(&str, &str)> {
        let ends = spans.iter();
        ends.map(|span| (span.field("code"), span.field("certainty")))
            .collect()
    }

    fn registry(name: &str) -> Registry {
        let registry = Registry::new("example");
        registry
            .register_fn(name, |(wait,): (bool,)| async move {
                match wait {
                    true => std::future::pending::<()>().await,
                    false => bowline_concurrency::yield_now().await,
                }
            })
            .unwrap();
        registry.register_as(format!("{name}.fall"), fall).unwrap();
        registry.register_as(format!("{name}.div"), div).unwrap();
        registry
    }

    /// Calls that end in different ways, of three methods.
    async fn call<B: Broker>(broker: &B, name: &str) -> Result<(), Error> {
        broker.call_named::<()>(name, (false,)).await?;
        let given_up = broker.call_named::<()>(name, (true,)).into_future();
        assert!(given_up.now_or_never().is_none());
        let misread = broker.call_named::<()>(name, ("wait",)).await;
        assert_eq!(misread.unwrap_err().code(), Code::BadArguments);
        let fell = broker.call_named::<()>(format!("{name}.fall"), ()).await;
        assert_eq!(fell.unwrap_err().code(), Code::Panic);
        let divided = broker
            .call_named::<i64>(format!("{name}.div"), (1, 0))
            .await;
        assert_eq!(divided.unwrap_err().code(), Code::Application);
        Ok(())
    }

    /// Calls with items that are taken, given up, and asked for where there are none.
    async fn with_items<B: Broker>(broker: &B, name: &str) -> Result<(), Error> {
        let mut items = broker
            .call_named::<()>(name, (2_u32,))
            .open::<u32>()
            .await?;
        while items.recv().await?.is_some() {}
        drop(
            broker
                .call_named::<()>(name, (2_u32,))
                .open::<u32>()
                .await?,
        );
        let error = broker.call_named::<()>(name, (2_u32,)).await.unwrap_err();
        assert_eq!(error.code(), Code::Unsupported);
        broker.notify_named(format!("{name}.note"), ()).await?;
        Ok(())
    }

    const OK: (&str, &str) = ("Ok", "");
    const MISREAD: (&str, &str) = ("BadArguments", "Refused");

    on_every_backend! {
        async fn a_call_and_its_handler_tell_how_they_ended() {
            record();
            let name = unique("ends");
            let executor = AsyncExecutor::new(registry(&name), 4);
            TcpBroker::builder(executor).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
                let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
                client.run(async |client| call(&client, &name).await).await?;
                let address = server.local_addrs()[0].to_string();
                let calls = spans("rpc.call", &name);
                assert_eq!(ends(&calls), [OK, ("Dropped", ""), MISREAD]);
                assert!(calls.iter().all(|span| span.field("peer") == format!("Peer({address})")), "{calls:?}");
                // The one given up was not sent, or was the second.
                assert_eq!(calls[0].field("call"), "1");
                let given_up = ["", "3"].iter().position(|number| calls[1].field("call") == *number);
                assert_eq!(calls[2].field("call"), ["3", "5"][given_up.expect("it has no other")]);
                Ok(())
            }).await.unwrap();
            // The broker has ended, and with it what was given up.
            let handled = spans("rpc.handle", &name);
            assert_eq!(ends(&handled)[0], OK);
            assert_eq!(ends(&handled).last(), Some(&MISREAD));
            assert!(handled.iter().all(|span| span.parent.is_none() && span.field("peer").starts_with("Peer(127.")));
            let numbers: Vec<_> = handled.iter().map(|span| span.field("call")).collect();
            assert_eq!((numbers[0], numbers.last()), ("1", Some(&["3", "5"][handled.len() - 2])));
            for (method, end) in [("fall", ("Panic", "Executed")), ("div", ("Application", "Executed"))] {
                for kind in ["rpc.call", "rpc.handle"] {
                    assert_eq!(ends(&spans(kind, &format!("{name}.{method}"))), [end], "{kind}");
                }
            }
        }

        async fn calls_with_items_and_those_that_nobody_answers_have_spans() {
            record();
            let name = unique("items");
            let counting = || {
                let counts = Registry::new("example");
                counts.register_stream(&*name, |(to,): (u32,)| futures_util::stream::iter(0..to)).unwrap();
                counts.register_fn(format!("{name}.note"), |(): ()| async {}).unwrap();
                AsyncExecutor::new(counts, 4)
            };
            TcpBroker::builder(counting()).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
                let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
                client.run(async |client| with_items(&client, &name).await).await
            }).await.unwrap();
            MemoryBroker::new(counting()).run(async |broker| with_items(&broker, &name).await).await.unwrap();
            let calls = spans("rpc.call", &name);
            let each = [OK, ("Dropped", ""), ("Unsupported", "")];
            assert_eq!(ends(&calls).iter().map(|end| end.0).collect::<Vec<_>>(), [each, each].concat().iter().map(|end| end.0).collect::<Vec<_>>());
            assert_eq!([0, 3].map(|at: usize| calls[at].field("call")), ["1"; 2]);
            assert!(calls[0].field("peer").starts_with("Peer(127."), "{calls:?}");
            let notes = spans("rpc.call", &format!("{name}.note"));
            assert_eq!(ends(&notes), [OK; 2]);
            assert!(notes.iter().all(|note| !note.field("peer").is_empty() && !note.field("call").is_empty()), "{notes:?}");
        }

        async fn each_call_of_a_broadcast_has_a_span() {
            record();
            let serve = || {
                let registry = Registry::new("example");
                registry.register(div).unwrap();
                TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0")
            };
            let outer = info_span!("outer");
            let number = outer.id().map(|id| id.into_u64());
            within(|group| async move {
                let servers = [serve().start(&group).await?, serve().prefer_local().start(&group).await?];
                let client = servers[1].clone();
                client.connect(servers[0].endpoints()[0].clone()).await?;
                let calling = async {
                    let mut all = client.broadcast(div(6, 2)).await?;
                    while let Some((_, outcome)) = all.next().await {
                        assert_eq!(outcome?, 3);
                    }
                    Ok::<_, Error>(())
                };
                calling.instrument(outer).await?;
                let methods = client.methods();
                let (name, _) = methods.iter().next().expect("it is offered");
                let calls = spans("rpc.call", name);
                let calls: Vec<_> = calls.into_iter().filter(|span| span.parent == number).collect();
                assert_eq!(ends(&calls), [OK; 2]);
                assert!(calls.iter().all(|span| !span.field("peer").is_empty() && !span.field("call").is_empty()), "{calls:?}");
                Ok(())
            }).await;
        }

        async fn within_the_process_a_handler_stands_below_its_call() {
            record();
            let name = unique("below");
            let outer = info_span!("outer");
            let number = outer.id().map(|id| id.into_u64());
            MemoryBroker::new(AsyncExecutor::new(registry(&name), 4)).run(async |broker| -> Result<(), Error> {
                let calling = async { call(&broker, &name).await?; broker.call(fall()).await.map(|_| ()).or(Ok(())) };
                calling.instrument(outer).await
            }).await.unwrap();
            let calls = spans("rpc.call", &name);
            assert_eq!(ends(&calls), [OK, ("Dropped", ""), MISREAD]);
            let handled = spans("rpc.handle", &name);
            assert_eq!(ends(&handled), [OK, ("Cancelled", "MaybeExecuted"), MISREAD]);
            for (place, (call, handled)) in calls.iter().zip(&handled).enumerate() {
                assert_eq!((call.parent, handled.parent), (number, Some(call.number)));
                assert_eq!(call.field("call"), (place + 1).to_string());
                assert_eq!((handled.field("call"), handled.field("peer")), (call.field("call"), "Peer(this process)"));
            }
            // A call that is a value goes by the name it has here, and has one span.
            let typed = spans("rpc.call", &format!("{name}.fall"));
            assert_eq!(ends(&typed), [("Panic", "Executed"); 2]);
        }
    }
}
