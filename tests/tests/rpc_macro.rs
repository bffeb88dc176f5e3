//! `#[bowline::rpc]`: a call is a value, here and through brokers.

use std::time::Duration;

use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{
    Call, CallError, Caller, Certainty, Code, Codec, Context, Error, MemoryBroker, Registry,
    Secret, TcpBroker, named,
};
use serde::{Deserialize, Serialize};

/// Adds.
#[bowline::rpc]
pub async fn add(a: i64, mut b: i64) -> i64 {
    b += a;
    b
}

#[bowline::rpc(idempotent, timeout = "5s")]
fn mul(a: i64, b: i64, c: i64) -> i64 {
    a * b * c
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum DivError {
    ByZero { dividend: i64 },
}

#[bowline::rpc(name = "math.div")]
async fn div(dividend: i64, divisor: i64) -> Result<i64, DivError> {
    dividend
        .checked_div(divisor)
        .ok_or(DivError::ByZero { dividend })
}

#[bowline::rpc(concurrency = 8, strict_schema, max_args = 1024, max_reply = 64)]
async fn tie(rope: String, #[rpc(default)] turns: u8, #[rpc(default)] wet: Option<bool>) -> String {
    format!("{rope} {turns} {wet:?}")
}

#[bowline::rpc]
async fn remaining(context: Context) -> Option<Duration> {
    context.remaining()
}

#[bowline::rpc]
async fn nothing() {}

mod inner {
    #[bowline::rpc]
    pub(super) async fn twice(n: u8) -> u16 {
        super::add(n.into(), n.into())
            .await
            .try_into()
            .unwrap_or(u16::MAX)
    }
}

const TIE: &str = "example.rpc_macro.tie";

fn registry() -> Registry {
    let registry = Registry::new("example");
    registry.register(add).unwrap();
    registry.register(mul).unwrap();
    registry.register(div).unwrap();
    registry.register(tie).unwrap();
    registry.register(remaining).unwrap();
    registry.register(nothing).unwrap();
    registry.register(inner::twice).unwrap();
    registry
}

// RG1
#[test]
fn names_are_automatic_or_chosen() {
    let names = registry().names();
    assert_eq!(
        names,
        [
            "example.rpc_macro.add",
            "example.rpc_macro.mul",
            "math.div",
            "example.rpc_macro.tie",
            "example.rpc_macro.remaining",
            "example.rpc_macro.nothing",
            "example.rpc_macro.inner.twice",
        ]
    );
}

// RG2
#[test]
fn strict_names_end_in_a_digest_of_the_function() {
    let name = Registry::new("").strict().register(add).unwrap();
    let digest = name.strip_prefix("rpc_macro.add.").unwrap();
    assert!(
        digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
        "{name}"
    );
}

#[test]
fn options_are_those_of_the_attribute() {
    fn spec<C: Call>(_: &C) -> bowline::rpc::MethodSpec {
        C::SPEC
    }
    let of_mul = spec(&mul(1, 2, 3));
    assert!(of_mul.is_blocking() && of_mul.is_idempotent());
    assert_eq!(of_mul.max_duration(), Some(Duration::from_secs(5)));
    let of_tie = spec(&tie(String::new(), 1, None));
    assert_eq!(of_tie.max_concurrency(), Some(8));
    assert!(of_tie.is_strict_schema() && !of_mul.is_strict_schema());
    assert_eq!(
        (of_tie.longest_args(), of_tie.longest_reply()),
        (Some(1024), Some(64))
    );
    assert_eq!(spec(&add(1, 2)).schema_hash(), 0xc42f_8faa_649e_d966);
    assert_eq!(format!("{:?}", add(1, 2)), "add(..)");
}

async fn everything<B: bowline::rpc::Broker>(broker: B) {
    assert_eq!(broker.call(add(2, 3)).await.unwrap(), 5);
    assert_eq!(broker.call(mul(1, 2, 3)).await.unwrap(), 6);
    assert_eq!(broker.call(div(7, 2)).await.unwrap(), 3);
    let error: CallError<DivError> = broker.call(div(7, 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::Application);
    assert_eq!(error.application(), Some(&DivError::ByZero { dividend: 7 }));
    let left = broker
        .call(remaining())
        .timeout(Duration::from_secs(9))
        .await
        .unwrap();
    assert!(
        left.is_some_and(|left| left <= Duration::from_secs(9)),
        "{left:?}"
    );
    broker.call(nothing()).await.unwrap();
    let tied = broker
        .call(tie("hemp".into(), 2, Some(true)))
        .await
        .unwrap();
    assert_eq!(tied, "hemp 2 Some(true)");
    by_names(&broker).await;
    assert_eq!(broker.call(inner::twice(200)).await.unwrap(), 400);
}

async fn by_names<B: bowline::rpc::Broker>(broker: &B) {
    for codec in [Codec::MessagePack, Codec::Json] {
        let permuted = [
            broker.call_named_with::<String>(TIE, named! { rope: "hemp", turns: 2, wet: true }),
            broker.call_named_with::<String>(TIE, named! { wet: true, turns: 2, rope: "hemp" }),
        ];
        for call in permuted {
            assert_eq!(call.codec(codec).await.unwrap(), "hemp 2 Some(true)");
        }
        let defaults = broker.call_named_with::<String>(TIE, named! { rope: "hemp" });
        assert_eq!(defaults.codec(codec).await.unwrap(), "hemp 0 None");
        let none = broker.call_named_with::<()>("example.rpc_macro.nothing", named! {});
        none.codec(codec).await.unwrap();
        for (call, message) in [
            (
                broker.call_named_with::<String>(TIE, named! { turns: 2 }),
                "`rope`",
            ),
            (
                broker.call_named_with::<String>(TIE, named! { rope: "hemp", knot: 1 }),
                "`knot`",
            ),
        ] {
            let error = call.codec(codec).await.unwrap_err();
            assert_eq!(
                (error.code(), error.certainty()),
                (Code::BadArguments, Certainty::Refused)
            );
            assert!(error.message().contains(message), "{}", error.message());
        }
        let wrong = broker.call_named_with::<String>(TIE, named! { rope: 7 });
        assert_eq!(
            wrong.codec(codec).await.unwrap_err().code(),
            Code::BadArguments
        );
    }
}

// BR1, RG12
#[bowline::test]
async fn a_call_is_the_same_here_in_memory_and_over_tcp() {
    assert_eq!(add(2, 3).await, 5);
    assert_eq!(mul(1, 2, 3).await, 6);
    assert_eq!(div(7, 0).await, Err(DivError::ByZero { dividend: 7 }));
    assert_eq!(remaining().await, None);

    MemoryBroker::new(AsyncExecutor::new(registry(), 4))
        .run(async |broker| -> Result<(), Error> {
            everything(broker).await;
            Ok(())
        })
        .await
        .unwrap();

    let key = Secret::generate();
    TcpBroker::builder(AsyncExecutor::new(registry(), 4))
        .secret(key.clone())
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller()
                .project("example")
                .secret(key)
                .connect(server.local_addrs()[0]);
            client
                .run(async |client| {
                    everything(client).await;
                    Ok(())
                })
                .await
        })
        .await
        .unwrap();
}

mod streams {
    use bowline::rpc::{Incoming, Lossy, Outgoing, Overflow, OverflowExt, StreamCall, Streaming};
    use futures_util::{Stream, StreamExt, stream};

    use super::*;

    #[bowline::rpc]
    fn count(from: u32, to: u32) -> impl Stream<Item = u32> {
        stream::iter(from..to)
    }

    #[bowline::rpc]
    async fn halves(of: u32) -> Result<impl Stream<Item = Result<u32, DivError>>, DivError> {
        if of == 0 {
            return Err(DivError::ByZero { dividend: 0 });
        }
        let mut of = of;
        Ok(stream::iter(std::iter::from_fn(move || {
            let half = match of % 2 {
                0 => Ok(of / 2),
                _ => Err(DivError::ByZero { dividend: 0 }),
            };
            of /= 2;
            Some(half)
        })))
    }

    #[bowline::rpc(name = "sum")]
    async fn sum(context: Context, start: u64, mut items: Incoming<u64>) -> u64 {
        assert!(context.caller().is_some());
        let mut sum = start;
        while let Ok(Some(item)) = items.recv().await {
            sum += item;
        }
        sum
    }

    #[bowline::rpc]
    fn echo(items: Incoming<String>) -> Outgoing<Lossy<String>> {
        items
            .map(|item| item.unwrap_or_default())
            .overflow(Overflow::Block)
    }

    fn registry() -> Registry {
        let registry = Registry::new("example");
        registry.register(count).unwrap();
        registry.register(halves).unwrap();
        registry.register(sum).unwrap();
        registry.register(echo).unwrap();
        registry
    }

    // R18
    #[bowline::test]
    async fn functions_with_items_are_called_with_items() {
        let info = registry().resolve(echo).unwrap();
        assert_eq!(info.spec.streams(), Streaming::Both);
        assert!(!registry().resolve(count).unwrap().spec.is_blocking());
        MemoryBroker::new(AsyncExecutor::new(registry(), 4))
            .run(async |broker| -> Result<(), Error> {
                let call = broker.call(count(1, 4)).open().await.unwrap();
                let got: Vec<u32> = call.receiver.map(Result::unwrap).collect().await;
                assert_eq!(got, [1, 2, 3]);

                let mut halves_of = broker.call(halves(12)).open().await.unwrap().receiver;
                assert_eq!(halves_of.recv().await.unwrap(), Some(6));
                assert_eq!(halves_of.recv().await.unwrap(), Some(3));
                let error = halves_of.recv().await.unwrap_err();
                assert_eq!(
                    error.into_application().unwrap(),
                    DivError::ByZero { dividend: 0 }
                );
                let mut none = broker.call(halves(0)).open().await.unwrap().receiver;
                let error = none.recv().await.unwrap_err();
                assert_eq!(
                    error.into_application().unwrap(),
                    DivError::ByZero { dividend: 0 }
                );

                let opened = broker.call(sum(5)).open().await.unwrap();
                let StreamCall {
                    mut sender,
                    receiver,
                    ..
                } = opened;
                for item in [10, 20] {
                    sender.send(item).await.unwrap();
                }
                sender.close();
                assert_eq!(receiver.reply().await.unwrap(), 35);

                let opened = broker.call(echo()).open().await.unwrap();
                let (mut sender, mut receiver) = (opened.sender, opened.receiver);
                sender.send("one".to_owned()).await.unwrap();
                assert_eq!(
                    receiver.recv().await.unwrap(),
                    Some(Lossy::Item("one".to_owned()))
                );
                sender.close();
                assert_eq!(receiver.recv().await.unwrap(), None);
                Ok(())
            })
            .await
            .unwrap();
    }
}
