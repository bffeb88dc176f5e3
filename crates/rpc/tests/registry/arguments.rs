//! How arguments are read, and the options of a method that bound them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    BadArguments, Broker, Call, CallError, CallOptions, Caller, Certainty, Code, Codec, Context,
    DeclaredName, Error, MemoryBroker, MethodDef, MethodSpec, NamedArguments, NoError, OutCall,
    Registry, TcpBroker, named,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::backends::{on_every_backend, registry};

/// Runs the case with a memory broker, then with a client of a TCP broker, over one registry each.
macro_rules! behind_both {
    ($registry:expr, $case:expr) => {
        MemoryBroker::new(AsyncExecutor::new($registry, 4))
            .run(async |broker| -> Result<(), Error> {
                $case(broker).await;
                Ok(())
            })
            .await
            .unwrap();
        TcpBroker::builder(AsyncExecutor::new($registry, 4))
            .listen("127.0.0.1:0")
            .run(async |server| -> Result<(), Error> {
                TcpBroker::caller()
                    .project("example")
                    .connect(server.local_addrs()[0])
                    .run(async |client| -> Result<(), Error> {
                        $case(client).await;
                        Ok(())
                    })
                    .await
            })
            .await
            .unwrap();
    };
}

fn unsigned(runs: &Arc<AtomicUsize>) -> Registry {
    let runs = runs.clone();
    let registry = Registry::new("example");
    registry
        .register_fn("mul", move |(a, b, c): (u64, u64, u64)| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { a * b * c }
        })
        .unwrap();
    registry
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, CallError>, code: Code) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (code, Certainty::Refused)
    );
    error.message().to_owned()
}

async fn other_types(broker: impl Broker) {
    for codec in [Codec::MessagePack, Codec::Json] {
        let call =
            |arguments: (i64, i64, i64)| broker.call_named::<i64>("mul", arguments).codec(codec);
        assert_eq!(call((1, 2, 3)).await.unwrap(), 6);
        // What no u64 is, is found and not misread.
        refused(call((1, -2, 3)).await, Code::BadArguments);
        let texts = broker.call_named::<i64>("mul", (1, "2", 3)).codec(codec);
        refused(texts.await, Code::BadArguments);
        let few = broker.call_named::<i64>("mul", (1, 2)).codec(codec);
        refused(few.await, Code::BadArguments);
        // A reply of another type is not misread either.
        let text = broker.call_named::<String>("mul", (1, 2, 3)).codec(codec);
        assert_eq!(text.await.unwrap_err().code(), Code::BadReply);
    }
}

async fn longer_bodies(broker: impl Broker) {
    let bodies: [(Codec, &[u8]); 3] = [
        (Codec::Postcard, &[1, 2, 3]),
        (Codec::MessagePack, &[0x93, 1, 2, 3]),
        (Codec::Json, b"[1,2,3]"),
    ];
    for (codec, body) in bodies {
        let options = CallOptions::new(codec);
        let exact = OutCall::new("mul", Bytes::copy_from_slice(body), options.clone());
        assert!(broker.submit(exact).await.is_ok(), "{codec:?}");
        for extra in [&[0_u8][..], b"1", b"]", &[0x93, 1, 2, 3]] {
            let longer = OutCall::new("mul", [body, extra].concat().into(), options.clone());
            refused(broker.submit(longer).await, Code::BadArguments);
        }
    }
}

async fn names(broker: impl Broker) {
    let call = broker.call_named_with::<u64>("mul", named! { a: 1, b: 2, c: 3 });
    let message = refused(call.await, Code::BadArguments);
    assert_eq!(message, "the names of the method's arguments are not known");
    let call = broker
        .call_named_with::<u64>("mul", named! {})
        .codec(Codec::Postcard);
    let message = refused(call.await, Code::BadArguments);
    assert_eq!(message, "the names of the method's arguments are not known");
}

/// A call whose arguments have names, as the attribute would make it.
struct Tie(String, u32, Nested);

/// Decoded by recursion.
#[derive(Debug, Default, Serialize, Deserialize)]
enum Nested {
    #[default]
    Leaf,
    Node(Box<Nested>),
}

impl Call for Tie {
    type Args = (String, u32, Nested);
    type Reply = String;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("tie");
    const SPEC: MethodSpec = MethodSpec::new();

    fn into_args(self) -> Self::Args {
        (self.0, self.1, self.2)
    }

    fn from_args((rope, turns, nested): Self::Args) -> Self {
        Tie(rope, turns, nested)
    }

    fn from_named(arguments: NamedArguments<'_>) -> Result<Self, BadArguments> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            rope: String,
            #[serde(default)]
            turns: u32,
            #[serde(default)]
            nested: Nested,
        }
        let Named {
            rope,
            turns,
            nested,
        } = arguments.decode()?;
        Ok(Tie(rope, turns, nested))
    }

    async fn run(self, _: Context) -> Result<String, NoError> {
        Ok(format!("{} {} {:?}", self.0, self.1, self.2))
    }
}

fn ties() -> Registry {
    let registry = Registry::new("example");
    registry.register_all([MethodDef::of::<Tie>()]).unwrap();
    registry
}

async fn in_any_order(broker: impl Broker) {
    for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
        let permuted = [
            broker.call_named_with::<String>("tie", named! { rope: "hemp", turns: 2_u32 }),
            broker.call_named_with::<String>("tie", named! { turns: 2_u32, rope: "hemp" }),
        ];
        for call in permuted {
            assert_eq!(call.codec(codec).await.unwrap(), "hemp 2 Leaf", "{codec:?}");
        }
        let defaults = broker.call_named_with::<String>("tie", named! { rope: "hemp" });
        assert_eq!(defaults.codec(codec).await.unwrap(), "hemp 0 Leaf");
        for (call, wrong) in [
            (
                broker.call_named_with::<String>("tie", named! { turns: 2_u32 }),
                "`rope`",
            ),
            (
                broker.call_named_with("tie", named! { rope: "hemp", knot: 1_u32 }),
                "`knot`",
            ),
            (
                broker.call_named_with("tie", named! { rope: "a", rope: "b" }),
                "`rope`",
            ),
            (broker.call_named_with("tie", named! { rope: 300_u32 }), ""),
        ] {
            let message = refused(call.codec(codec).await, Code::BadArguments);
            assert!(message.contains(wrong), "{codec:?}: {message}");
        }
    }
}

fn named_call(body: impl Into<Bytes>) -> OutCall {
    let mut call = OutCall::new("tie", body.into(), CallOptions::new(Codec::Postcard));
    call.named = true;
    call
}

async fn names_over_postcard(broker: impl Broker) {
    // A sequence of names and bytes.
    let body = b"\x02\x05turns\x01\x02\x04rope\x05\x04hemp";
    let reply = broker.submit(named_call(&body[..])).await.unwrap();
    assert_eq!(&reply.body[..], b"\x0bhemp 2 Leaf");
    for (body, wrong) in [
        (&b"\x01\x04rope\x06\x04hemp0"[..], "`rope`"),
        (b"\x01\x04rope\x04\x04hem", "`rope`"),
        (b"\x01\x04rope\x05\x04hemp0", ""),
        (b"\x02\x04rope\x05\x04hemp", ""),
        (b"\x01\x04\xff\xff\xff\xff\x00", ""),
        (b"\xff\xff\xff\xff\x0f", ""),
        (b"", ""),
    ] {
        let outcome = broker.submit(named_call(body)).await;
        let message = refused(outcome, Code::BadArguments);
        assert!(message.contains(wrong), "{body:?}: {message}");
    }
    // What is nested too deeply overflows no stack, whatever name it has.
    let nested = [vec![1; 60_000], vec![0]].concat();
    let mut body = b"\x02\x04rope\x05\x04hemp\x06nested".to_vec();
    body.extend([0xe1, 0xd4, 0x03]);
    body.extend(nested);
    let message = refused(broker.submit(named_call(body)).await, Code::BadArguments);
    assert!(message.contains("`nested`"), "{message}");
}

/// A call by hand whose name and schema may differ between two versions of a program.
macro_rules! version {
    ($name:ident, $spec:expr) => {
        #[derive(Debug)]
        struct $name(Vec<u8>);

        impl Call for $name {
            type Args = (Vec<u8>,);
            type Reply = Vec<u8>;
            type Error = NoError;
            type Request = bowline_rpc::Typed<Self>;
            const NAME: DeclaredName = DeclaredName::explicit("twice");
            const SPEC: MethodSpec = $spec;

            fn into_args(self) -> Self::Args {
                (self.0,)
            }

            fn from_args((bytes,): Self::Args) -> Self {
                $name(bytes)
            }

            async fn run(self, _: Context) -> Result<Vec<u8>, NoError> {
                Ok(self.0.repeat(2))
            }
        }
    };
}

version!(Ours, MethodSpec::new().schema(7).strict_schema());
version!(Theirs, MethodSpec::new().schema(8).strict_schema());
version!(Unknown, MethodSpec::new().strict_schema());
version!(Lenient, MethodSpec::new().schema(9));
version!(Short, MethodSpec::new().max_args(8).max_reply(12));

fn with<C: Call>() -> Registry {
    let registry = registry();
    registry.register_all([MethodDef::of::<C>()]).unwrap();
    registry
}

async fn lengths(broker: impl Broker) {
    let call = |length: usize| broker.call_named::<Vec<u8>>("twice", (vec![1_u8; length],));
    assert_eq!(call(5).await.unwrap(), [1; 10]);
    // Two bytes of MessagePack beside them.
    let message = refused(call(7).await, Code::TooLarge);
    assert_eq!(message, "arguments of 9 bytes; the method takes 8");
    let error = call(6).await.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (Code::TooLarge, Certainty::Executed)
    );
    assert_eq!(call(5).await.unwrap(), [1; 10]);
}

on_every_backend! {
    // RG13
    async fn arguments_of_another_type_are_never_misread() {
        let runs = Arc::default();
        behind_both!(unsigned(&runs), other_types);
        // The replies that did not decode came from handlers that ran.
        assert_eq!(runs.load(Ordering::SeqCst), 2 * 2 * 2);
    }

    // RG14
    async fn bytes_behind_the_arguments_are_refused() {
        let runs = Arc::default();
        behind_both!(unsigned(&runs), longer_bodies);
        assert_eq!(runs.load(Ordering::SeqCst), 2 * 3);
    }

    // RG12
    async fn names_need_a_method_that_knows_them() {
        behind_both!(unsigned(&Arc::default()), names);
    }

    // RG12
    async fn arguments_with_names_come_in_any_order_in_every_format() {
        behind_both!(ties(), in_any_order);
        behind_both!(ties(), names_over_postcard);
    }

    async fn a_method_bounds_its_arguments_and_its_reply() {
        behind_both!(with::<Short>(), lengths);
    }

    async fn a_call_of_another_version_is_refused_where_the_method_is_strict() {
        TcpBroker::builder(AsyncExecutor::new(with::<Ours>(), 4)).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
            client.run(async |client| -> Result<(), Error> {
                assert_eq!(client.call(Ours(vec![1])).await.unwrap(), [1, 1]);
                let error = client.call(Theirs(vec![1])).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::WrongSchema, Certainty::Refused));
                // Whatever its caller thinks of that.
                let error = client.call(Lenient(vec![1])).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::WrongSchema, Certainty::Refused));
                // Of these nothing is known.
                assert_eq!(client.call(Unknown(vec![1])).await.unwrap(), [1, 1]);
                assert_eq!(client.call_named::<Vec<u8>>("twice", (vec![1_u8],)).await.unwrap(), [1, 1]);
                Ok(())
            }).await
        }).await.unwrap();
    }
}
