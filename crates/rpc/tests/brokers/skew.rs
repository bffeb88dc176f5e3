//! Two sides that declare one method with different types, as builds of different age may.

use bowline_channel::{Receiver, Sender, unbounded};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CodecId, Command, Event, Extensions, Open, Target};
use bowline_rpc::{
    Broker, Call, Caller, Certainty, Code, Codec, Context, DeclaredName, Error, Limits,
    MemoryBroker, MethodDef, MethodSpec, NoError, NoItem, Registry, Streaming, StreamingCall,
    TcpBroker,
};
use bytes::Bytes;

use crate::backends::on_every_backend;
use crate::raw_peer::RawPeer;
use crate::wire::{Wire, over_every_wire};

/// A call that takes one number from another, of the same type.
macro_rules! shift {
    ($call:ident, $name:literal, $number:ty, $spec:expr) => {
        #[derive(Clone, Copy, Debug)]
        struct $call($number, $number);

        impl Call for $call {
            type Args = ($number, $number);
            type Reply = $number;
            /// What both were.
            type Error = $number;
            type Request = bowline_rpc::Typed<Self>;
            const NAME: DeclaredName = DeclaredName::explicit($name);
            const SPEC: MethodSpec = $spec;

            fn into_args(self) -> Self::Args {
                (self.0, self.1)
            }

            fn from_args((from, by): Self::Args) -> Self {
                $call(from, by)
            }

            async fn run(self, context: Context) -> Result<$number, $number> {
                let $call(from, by) = self;
                if let Some(seen) = context.state::<Sender<i64>>() {
                    let _ = seen.send(from.into()).await;
                }
                match from == by {
                    true => Err(from),
                    false => Ok(from.wrapping_sub(by)),
                }
            }
        }
    };
}

shift!(Signed, "shift", i32, MethodSpec::new().schema(1));
shift!(Unsigned, "shift", u32, MethodSpec::new().schema(2));
shift!(Unknown, "shift", i32, MethodSpec::new());
// Two numbers of two bytes each in postcard; more in every other format.
shift!(Exact, "exact", i32, MethodSpec::new().schema(1).max_args(4));

/// A call that adds up its items.
macro_rules! sum {
    ($call:ident, $number:ty, $schema:literal) => {
        #[derive(Clone, Copy, Debug)]
        struct $call;

        impl Call for $call {
            type Args = ();
            type Reply = $number;
            type Error = NoError;
            type Request = bowline_rpc::Opened<Self>;
            const NAME: DeclaredName = DeclaredName::explicit("sum");
            const SPEC: MethodSpec = MethodSpec::new()
                .schema($schema)
                .streaming(Streaming::Caller);

            fn into_args(self) {}

            fn from_args((): ()) -> Self {
                $call
            }

            async fn run(self, context: Context) -> Result<$number, NoError> {
                let mut items = context.incoming::<$number>();
                let mut sum = 0;
                while let Ok(Some(item)) = items.recv().await {
                    sum += item;
                }
                Ok(sum)
            }
        }

        impl StreamingCall for $call {
            type Sends = $number;
            type Receives = NoItem;
        }
    };
}

sum!(SignedSum, i32, 3);
sum!(UnsignedSum, u32, 4);

fn signed() -> Registry {
    let registry = Registry::new("example");
    let methods = [
        MethodDef::of::<Signed>(),
        MethodDef::of::<Exact>(),
        MethodDef::of::<SignedSum>(),
    ];
    registry.register_all(methods).unwrap();
    registry
}

/// Runs [`signed`], and tells of each call the number that came.
fn telling() -> (AsyncExecutor, Receiver<i64>) {
    let (seen, sees) = unbounded();
    (AsyncExecutor::new(signed(), 16).state(seen), sees)
}

/// Calls with unsigned numbers what has signed ones.
async fn nothing_is_misread(broker: impl Broker, sees: Receiver<i64>) -> Result<(), Error> {
    for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
        let left = broker.call(Unsigned(70_000, 3)).codec(codec).await;
        assert_eq!(left.unwrap(), 69_997, "{codec:?}");
        assert_eq!(sees.recv().await, Ok(70_000));
    }
    assert_eq!(broker.call(Signed(-7, 3)).await.unwrap(), -10);
    assert_eq!(sees.recv().await, Ok(-7));
    // An argument, a reply and an error that the other side cannot have.
    let error = broker.call(Unsigned(u32::MAX, 1)).await.unwrap_err();
    assert_eq!(error.code(), Code::BadArguments, "{error}");
    assert!(error.certainty().did_not_run(), "{error}");
    let error = broker.call(Unsigned(3, 7)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (Code::BadReply, Certainty::Executed)
    );
    assert_eq!(sees.recv().await, Ok(3));
    let error = broker.call(Unsigned(70_000, 70_000)).await.unwrap_err();
    assert_eq!(error.application(), Some(&70_000), "{error}");
    assert_eq!(sees.recv().await, Ok(70_000));

    broker.notify(Unsigned(80_000, 1)).await.unwrap();
    assert_eq!(sees.recv().await, Ok(80_000));
    let mut all = broker.broadcast(Unsigned(90_000, 1)).await.unwrap();
    assert_eq!(all.next().await.expect("one peer").1.unwrap(), 89_999);
    assert_eq!(sees.recv().await, Ok(90_000));
    let mut all = broker.broadcast(Unsigned(90_000, 90_000)).await.unwrap();
    let error = all.next().await.expect("one peer").1.unwrap_err();
    assert_eq!(error.application(), Some(&90_000), "{error}");

    let opened = broker.call(UnsignedSum).open().await?;
    let (mut sender, receiver) = (opened.sender, opened.receiver);
    for item in [70_000, 5] {
        sender.send(item).await.unwrap();
    }
    sender.close();
    assert_eq!(receiver.reply().await.unwrap(), 70_005);
    Ok(())
}

/// Where the types are the same, postcard is what travels.
async fn the_same_types_go_as_they_are(broker: impl Broker) {
    assert_eq!(broker.call(Exact(8191, 8000)).await.unwrap(), 191);
    let other = broker.call(Exact(8191, 8000)).codec(Codec::MessagePack);
    assert_eq!(other.await.unwrap_err().code(), Code::TooLarge);
}

over_every_wire! {
    async fn calls_to_other_types_are_never_misread(wire: Wire) {
        let (executor, sees) = telling();
        let server = wire.serve_by(executor);
        server.run(async |server| -> Result<(), Error> {
            let client = wire.client(&server);
            client.run(async |client| -> Result<(), Error> {
                nothing_is_misread(client.clone(), sees).await?;
                the_same_types_go_as_they_are(client).await;
                Ok(())
            }).await
        }).await.unwrap();
    }
}

on_every_backend! {
    async fn in_memory_calls_to_other_types_are_never_misread() {
        for encode_always in [false, true] {
            let (executor, sees) = telling();
            let broker = MemoryBroker::new(executor);
            let broker = match encode_always {
                true => broker.encode_always(),
                false => broker,
            };
            broker.run(async |broker| nothing_is_misread(broker, sees).await).await.unwrap();
        }
        let (executor, sees) = telling();
        let broker = TcpBroker::builder(executor).prefer_local();
        broker.run(async |broker| -> Result<(), Error> {
            nothing_is_misread(broker.clone(), sees).await?;
            the_same_types_go_as_they_are(broker).await;
            Ok(())
        }).await.unwrap();
    }

    async fn each_peer_gets_a_call_in_the_types_that_it_has() {
        let unsigned = Registry::new("example");
        unsigned.register_all([MethodDef::of::<Unsigned>()]).unwrap();
        let servers = [signed(), unsigned].map(|registry| {
            TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0")
        });
        let [first, second] = servers;
        first.run(async |first| -> Result<(), Error> {
            second.run(async |second| -> Result<(), Error> {
                let client = TcpBroker::caller().project("example");
                let client = client.connect(first.local_addrs()[0]).connect(second.local_addrs()[0]);
                client.run(async |client| -> Result<(), Error> {
                    let methods = client.methods();
                    let offer = methods.get("shift").expect("both offer it");
                    assert_eq!((offer.peers, offer.schema), (2, 0), "they do not say the same");
                    for n in 0..4 {
                        let left = client.call(Unsigned(70_000 + n, 1));
                        assert_eq!(left.await.unwrap(), 69_999 + n);
                    }
                    let mut all = client.broadcast(Unsigned(70_000, 1)).await.unwrap();
                    for _ in 0..2 {
                        assert_eq!(all.next().await.expect("two peers").1.unwrap(), 69_999);
                    }
                    Ok(())
                }).await
            }).await
        }).await.unwrap();
    }

    async fn without_a_format_that_carries_types_the_call_is_refused() {
        let server = TcpBroker::builder(AsyncExecutor::new(signed(), 4)).codecs([Codec::Postcard]);
        server.listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
            client.run(async |client| -> Result<(), Error> {
                let error = client.call(Unsigned(3, 1)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::WrongSchema, Certainty::NeverSent));
                assert!(error.to_string().contains("no format there carries types"), "{error}");
                assert_eq!(client.call(Signed(3, 1)).await.unwrap(), 2);
                // Of these nothing is known.
                assert_eq!(client.call(Unknown(3, 1)).await.unwrap(), 2);
                Ok(())
            }).await
        }).await.unwrap();
    }

    async fn a_call_that_says_which_types_it_is_for_is_not_decoded_as_others() {
        let server = TcpBroker::builder(AsyncExecutor::new(signed(), 4)).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            let mut ask = async |codec, schema, body: &'static [u8]| {
                let open = Open::new(Target::Name("shift".into()), codec, Bytes::from_static(body));
                let extensions = Extensions::builder().schema(schema).build();
                peer.command(Command::Open(open.extensions(extensions)));
                let answered = |event: &Event| matches!(event, Event::Replied { .. } | Event::Failed { .. });
                match peer.until(answered).await {
                    Event::Replied { body, .. } => Ok(body),
                    Event::Failed { error, .. } => Err(error.code()),
                    _ => unreachable!("that is what was asked for"),
                }
            };
            assert_eq!(ask(CodecId::POSTCARD, 1, &[6, 2]).await, Ok(Bytes::from_static(&[4])));
            assert_eq!(ask(CodecId::POSTCARD, 0, &[6, 2]).await, Ok(Bytes::from_static(&[4])));
            assert_eq!(ask(CodecId::POSTCARD, 2, &[6, 2]).await, Err(Code::WrongSchema));
            assert_eq!(ask(CodecId::MESSAGE_PACK, 2, &[0x92, 6, 2]).await, Ok(Bytes::from_static(&[4])));
            Ok(())
        }).await.unwrap();
    }
}
