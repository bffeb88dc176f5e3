//! What the memory broker promises about calls nobody answers, and about its end.

use bowline_concurrency::{TaskGroup, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, Caller, Certainty, Code, Context, DeclaredName, Error, MemoryBroker, MethodDef,
    MethodSpec, NoError, test,
};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize, Serializer};

use crate::backends::{DivError, div, fall, on_every_backend, registry};
use crate::held::LONG;
use crate::wire::{Wire, over_every_wire};

/// Closes the broker in the end.
async fn waiting_is_bounded(broker: &impl Broker) -> Result<(), Error> {
    let call = || {
        let call = broker.call_named::<i64>("nobody", ());
        call.no_deadline().into_future()
    };
    let mut waiting: Vec<_> = (0..1024).map(|_| call()).collect();
    for call in &mut waiting {
        assert!(call.now_or_never().is_none());
    }
    let overloaded = (Code::Overloaded, Certainty::NeverSent);
    let error = call().await.unwrap_err();
    assert_eq!((error.code(), error.certainty()), overloaded);
    // A call that is given up makes room for one more, and known methods are as ever.
    drop(waiting.pop());
    let mut last = call();
    assert!((&mut last).now_or_never().is_none());
    let error = call().await.unwrap_err();
    assert_eq!((error.code(), error.certainty()), overloaded);
    assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
    waiting.push(last);
    broker.close();
    for call in waiting {
        let ended = timeout(LONG, call).await;
        let error = ended.expect("it ends with its broker").unwrap_err();
        let cancelled = (Code::Cancelled, Certainty::NeverSent);
        assert_eq!((error.code(), error.certainty()), cancelled);
    }
    Ok(())
}

over_every_wire! {
    // BR18, BR7
    async fn calls_that_wait_for_a_peer_to_offer_their_method_are_bounded(wire: Wire) {
        task_group(|group: TaskGroup<Error>| async move {
            let server = wire.serve(registry()).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            waiting_is_bounded(&client).await?;
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }
}

on_every_backend! {
    // BR7
    async fn calls_of_a_method_nobody_offers_are_bounded_and_end_with_their_broker() {
        task_group(|group: TaskGroup<Error>| async move {
            let broker = MemoryBroker::new(AsyncExecutor::new(registry(), 1)).start(&group).await?;
            waiting_is_bounded(&broker).await?;
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }

    // BR14
    async fn limits_of_a_method_hold_whether_its_values_are_encoded_or_not() {
        let registry = || {
            let registry = registry();
            registry.register_all([MethodDef::of::<MeasureShort>()]).unwrap();
            AsyncExecutor::new(registry, 4)
        };
        for start in [MemoryBroker::new(registry()), test::memory_broker(registry())] {
            start.run(async |broker| -> Result<(), Error> {
                let measure = async |length| {
                    let measured = broker.call(MeasureShort(Length(length))).await;
                    measured.map_err(|error| (error.code(), error.certainty()))
                };
                assert_eq!(measure(63).await, Ok(Length(126)));
                assert_eq!(measure(64).await, Err((Code::TooLarge, Certainty::Executed)));
                assert_eq!(measure(128).await, Err((Code::TooLarge, Certainty::Refused)));
                Ok(())
            }).await.unwrap();
        }
    }

    // BR14
    async fn what_cannot_travel_is_found_where_everything_is_encoded() {
        let registry = || {
            let registry = registry();
            registry.register_all([MethodDef::of::<Measure>()]).unwrap();
            AsyncExecutor::new(registry, 4)
        };
        MemoryBroker::new(registry()).run(async |broker| -> Result<(), Error> {
            assert_eq!(broker.call(Measure(Length(7))).await.unwrap(), Length(14));
            assert_eq!(broker.call(Measure(Length(0))).await.unwrap(), Length(0));
            Ok(())
        }).await.unwrap();
        test::memory_broker(registry()).run(async |broker| -> Result<(), Error> {
            let error = broker.call(Measure(Length(0))).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::BadArguments, Certainty::NeverSent));
            // All else is as ever.
            assert_eq!(broker.call(Measure(Length(7))).await.unwrap(), Length(14));
            assert_eq!(broker.call(div(7, 2)).await.unwrap(), 3);
            let error = broker.call(div(7, 0)).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Application, Certainty::Executed));
            assert_eq!(error.into_application().unwrap(), DivError::ByZero { dividend: 7 });
            assert_eq!(broker.call(fall()).await.unwrap_err().code(), Code::Panic);
            let error = broker.call(Unregistered).fail_fast().await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::UnknownMethod, Certainty::NeverSent));
            Ok(())
        }).await.unwrap();
    }
}

/// A length; none at all cannot be written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Length(u32);

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => Err(serde::ser::Error::custom("no length at all")),
            length => serializer.serialize_newtype_struct("Length", &length),
        }
    }
}

/// Twice the length.
struct Measure(Length);

impl Call for Measure {
    type Args = (Length,);
    type Reply = Length;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("measure");
    const SPEC: MethodSpec = MethodSpec::new();

    fn into_args(self) -> (Length,) {
        (self.0,)
    }

    fn from_args((length,): (Length,)) -> Self {
        Measure(length)
    }

    async fn run(self, _: Context) -> Result<Length, NoError> {
        Ok(Length(2 * self.0.0))
    }
}

/// The same, of a byte at most and with a byte at most.
struct MeasureShort(Length);

impl Call for MeasureShort {
    type Args = (Length,);
    type Reply = Length;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("measure_short");
    const SPEC: MethodSpec = MethodSpec::new().max_args(1).max_reply(1);

    fn into_args(self) -> (Length,) {
        (self.0,)
    }

    fn from_args((length,): (Length,)) -> Self {
        MeasureShort(length)
    }

    async fn run(self, context: Context) -> Result<Length, NoError> {
        Measure(self.0).run(context).await
    }
}

struct Unregistered;

impl Call for Unregistered {
    type Args = ();
    type Reply = ();
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("unregistered");
    const SPEC: MethodSpec = MethodSpec::new();

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        Unregistered
    }

    async fn run(self, _: Context) -> Result<(), NoError> {
        Ok(())
    }
}
