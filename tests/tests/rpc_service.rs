//! `#[bowline::service]`: one trait is client, server and names.

use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{
    Broker, Caller, Certainty, Code, Context, Error, Incoming, MemoryBroker, Registry,
    RegistryError, TcpBroker, named,
};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum TieError {
    TooShort { length: u32 },
}

/// Ties knots.
#[bowline::service]
trait KnotTying {
    /// How many knots there are.
    async fn count(&self) -> u32;

    /// Every knot up to the last, and how long the ropes were.
    fn knots(&self, last: u32) -> impl Stream<Item = u32>;

    async fn ropes(&self, lengths: Incoming<u32>) -> Result<u64, TieError>;

    #[rpc(name = "bind", idempotent, timeout = "5s", concurrency = 2)]
    async fn tie(&self, context: Context, rope: String, length: u32) -> Result<String, TieError>;
}

/// Has names that the compiler or what the attribute makes of the trait knows otherwise.
#[bowline::service]
trait Named {
    #[rpc(name = "new")]
    async fn renew(&self, r#type: C) -> C;

    async fn as_ref(&self) -> u8;

    async fn r#move(&self, #[rpc(default)] by: B) -> B;

    async fn borrow(&self, context: Context, r#in: u8) -> Result<u8, TieError>;
}

type C = u32;
type B = Option<u16>;

struct Oddly;

impl Named for Oddly {
    async fn renew(&self, r#type: C) -> C {
        r#type + 1
    }

    async fn as_ref(&self) -> u8 {
        7
    }

    async fn r#move(&self, by: B) -> B {
        by
    }

    async fn borrow(&self, _: Context, r#in: u8) -> Result<u8, TieError> {
        Ok(r#in)
    }
}

#[bowline::test]
async fn names_that_mean_something_else_too_are_names() {
    let registry = Registry::new("example");
    registry.register_all(named_service(Oddly)).unwrap();
    MemoryBroker::new(AsyncExecutor::new(registry, 4))
        .run(async |broker| -> Result<(), Error> {
            let client = NamedClient::new(broker.clone());
            assert_eq!(client.renew(2).await?, 3);
            assert_eq!(client.as_ref().await?, 7);
            assert_eq!(client.r#move(Some(1)).await?, Some(1));
            assert_eq!(client.borrow(5).await.unwrap(), 5);
            let by_name = broker.call_named::<u32>("example.named.new", (2_u32,));
            assert_eq!(by_name.await?, 3);
            let by_name = broker.call_named_with::<B>("example.named.move", named! { by: Some(4) });
            assert_eq!(by_name.await?, Some(4));
            let by_name = broker.call_named_with::<u8>("example.named.borrow", named! { r#in: 4 });
            assert_eq!(by_name.await?, 4);
            Ok(())
        })
        .await
        .unwrap();
}

struct Sailor {
    knots: u32,
}

impl KnotTying for Sailor {
    async fn count(&self) -> u32 {
        self.knots
    }

    fn knots(&self, last: u32) -> impl Stream<Item = u32> {
        stream::iter(self.knots..last)
    }

    async fn ropes(&self, lengths: Incoming<u32>) -> Result<u64, TieError> {
        let all: Vec<_> = lengths.map(Result::unwrap_or_default).collect().await;
        match all.iter().find(|length| **length < self.knots) {
            Some(length) => Err(TieError::TooShort { length: *length }),
            None => Ok(all.iter().copied().map(u64::from).sum()),
        }
    }

    async fn tie(&self, context: Context, rope: String, length: u32) -> Result<String, TieError> {
        assert!(context.caller().is_some());
        if length < self.knots {
            return Err(TieError::TooShort { length });
        }
        Ok(format!("{rope} with {} knots", self.knots))
    }
}

fn registry() -> Registry {
    let registry = Registry::new("example");
    registry
        .register_all(knot_tying_service(Sailor { knots: 3 }))
        .unwrap();
    registry
}

async fn ties<B: Broker>(broker: B) {
    let client = KnotTyingClient::new(broker.clone());
    assert_eq!(client.count().await.unwrap(), 3);
    let tied = client.clone().tie("hemp".into(), 7).await.unwrap();
    assert_eq!(tied, "hemp with 3 knots");
    let error = client.tie("hemp".into(), 1).await.unwrap_err();
    assert_eq!(error.certainty(), Certainty::Executed);
    assert_eq!(error.application(), Some(&TieError::TooShort { length: 1 }));
    let knots = client.knots(6).open().await.unwrap().receiver;
    let knots: Vec<_> = knots.map(Result::unwrap).collect().await;
    assert_eq!(knots, [3, 4, 5]);
    for (lengths, expected) in [
        ([7, 8], Ok(15)),
        ([7, 2], Err(TieError::TooShort { length: 2 })),
    ] {
        let opened = client.ropes().open().await.unwrap();
        let (mut sender, receiver) = (opened.sender, opened.receiver);
        for length in lengths {
            sender.send(length).await.unwrap();
        }
        sender.close();
        let outcome = receiver.reply().await;
        assert_eq!(
            outcome.map_err(|error| error.into_application().unwrap()),
            expected
        );
    }
    let count = broker.call_named::<u32>("example.knot_tying.count", ());
    assert_eq!(count.await.unwrap(), 3);
}

#[bowline::test]
async fn a_service_is_the_same_in_memory_and_over_tcp() {
    MemoryBroker::new(AsyncExecutor::new(registry(), 4))
        .run(async |broker| -> Result<(), Error> {
            ties(broker).await;
            Ok(())
        })
        .await
        .unwrap();
    TcpBroker::builder(AsyncExecutor::new(registry(), 4))
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller()
                .project("example")
                .connect(server.local_addrs()[0]);
            client
                .run(async |client| {
                    ties(client).await;
                    Ok(())
                })
                .await
        })
        .await
        .unwrap();
}

#[test]
fn its_methods_have_the_name_of_the_trait_and_the_options_said() {
    let registry = registry();
    assert_eq!(
        registry.names(),
        [
            "example.knot_tying.count",
            "example.knot_tying.knots",
            "example.knot_tying.ropes",
            "example.knot_tying.bind"
        ]
    );
    let spec = registry.resolve("example.knot_tying.bind").unwrap().spec;
    assert!(spec.is_idempotent() && !spec.is_blocking());
    assert_eq!(spec.max_concurrency(), Some(2));
    // All or nothing, as ever.
    let again = registry.register_all(knot_tying_service(Sailor { knots: 1 }));
    assert!(matches!(again, Err(RegistryError::Duplicate(_))));
}

#[bowline::test]
async fn a_service_that_nobody_offers_is_an_unknown_method() {
    MemoryBroker::new(AsyncExecutor::new(Registry::new("example"), 4))
        .run(async |broker| -> Result<(), Error> {
            let client = KnotTyingClient::new(broker);
            let error = client.count().fail_fast().await.unwrap_err();
            assert_eq!(error.code(), Code::UnknownMethod);
            Ok(())
        })
        .await
        .unwrap();
}
