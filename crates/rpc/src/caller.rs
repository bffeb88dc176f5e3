//! The calling side of every broker.

mod builder;
mod opened;

pub use builder::CallBuilder;
pub use opened::{Awaited, CallStream, Opened};

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::{decode_reply, encode_arguments, encoded, named};
use crate::{
    Broker, Call, CallError, CallOptions, CallType, Certainty, Code, Codec, ErrorBody, NamedValues,
    OutCall, Pairs, Streaming, ToAll,
};

/// Calls methods through a broker; every [`Broker`] has it.
pub trait Caller: Broker {
    /// Calls with a call that is a value: the function with `#[bowline::rpc]`, applied.
    ///
    /// A call without items is awaited, one with items [opened](CallBuilder::open); the other way round is an error
    /// of the compiler.
    fn call<C: Call>(&self, call: C) -> CallBuilder<Self, C::Request> {
        CallBuilder::new(self.clone(), Codec::Postcard, call.into())
    }

    /// Calls every peer that offers the method, each once; the outcomes come as a
    /// [`Broadcast`](crate::Broadcast). None of these calls is made again if it fails.
    ///
    /// # Examples
    /// ```
    /// # mod calls {
    /// #     use bowline_rpc::{Call, Context, DeclaredName, MethodSpec, NoError};
    /// #     pub struct Load;
    /// #     impl Call for Load {
    /// #         type Args = ();
    /// #         type Reply = u32;
    /// #         type Error = NoError;
    /// #         type Request = bowline_rpc::Typed<Self>;
    /// #         const NAME: DeclaredName = DeclaredName::explicit("load");
    /// #         const SPEC: MethodSpec = MethodSpec::new();
    /// #         fn into_args(self) {}
    /// #         fn from_args((): ()) -> Self { Load }
    /// #         async fn run(self, _: Context) -> Result<u32, NoError> { Ok(7) }
    /// #     }
    /// # }
    /// # use calls::Load;
    /// use bowline_rpc::{Broker, CallError, Caller, NoError};
    ///
    /// async fn least<B: Broker>(broker: &B) -> Result<Option<u32>, CallError<NoError>> {
    ///     let mut loads = broker.broadcast(Load).await?;
    ///     let mut least = None;
    ///     while let Some((_peer, load)) = loads.next().await {
    ///         least = [least, load.ok()].into_iter().flatten().min();
    ///     }
    ///     Ok(least)
    /// }
    /// # let _ = least::<bowline_rpc::MemoryBroker>;
    /// ```
    fn broadcast<C: Call>(&self, call: C) -> CallBuilder<Self, ToAll<C>> {
        CallBuilder::new(self.clone(), Codec::Postcard, ToAll(call))
    }

    /// Calls with a call that is a value, and wants no answer: awaited, it is done when the call was handed
    /// to the transport, so there is no knowing what becomes of it. While a peer has not begun with 256 of
    /// them, one more waits.
    ///
    /// For methods without items.
    fn notify<C: Call>(&self, call: C) -> CallBuilder<Self, Notify<C>> {
        CallBuilder::new(self.clone(), Codec::Postcard, Notify(call))
    }

    /// Calls the method called `name` with a tuple of arguments, and wants no answer, as
    /// [`notify`](Self::notify).
    fn notify_named(
        &self,
        name: impl Into<Arc<str>>,
        arguments: impl Serialize + Send + 'static,
    ) -> CallBuilder<Self, NotifyNamed> {
        let named = Named::new(name.into(), arguments);
        CallBuilder::new(self.clone(), Codec::MessagePack, NotifyNamed(named))
    }

    /// Calls the method called `name` with a tuple of arguments.
    ///
    /// Uses MessagePack unless told otherwise, so that arguments of another type than the
    /// method's are found and never misread.
    fn call_named<R: DeserializeOwned + Send + 'static>(
        &self,
        name: impl Into<Arc<str>>,
        arguments: impl Serialize + Send + 'static,
    ) -> CallBuilder<Self, Named<R>> {
        let named = Named::new(name.into(), arguments);
        CallBuilder::new(self.clone(), Codec::MessagePack, named)
    }

    /// Calls the method called `name` with arguments in any order, each with its name. Those that the
    /// method has a default for may be left out.
    ///
    /// For methods that the macros made, which know the names. Uses MessagePack unless told otherwise;
    /// over postcard each value has to be of the very type of its parameter, as a tuple of them would.
    ///
    /// ```no_run
    /// # async fn call(broker: bowline_rpc::MemoryBroker) -> Result<(), bowline_rpc::CallError> {
    /// use bowline_rpc::{Caller, named};
    ///
    /// let knot: String = broker.call_named_with("tie", named! { turns: 2, rope: "hemp" }).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn call_named_with<R: DeserializeOwned + Send + 'static>(
        &self,
        name: impl Into<Arc<str>>,
        arguments: NamedValues<impl Pairs + Send + 'static>,
    ) -> CallBuilder<Self, Named<R>> {
        CallBuilder::new(
            self.clone(),
            Codec::MessagePack,
            Named {
                method: name.into(),
                encode: Box::new(move |codec| {
                    arguments.encode(codec).map_err(|error| {
                        CallError::new(Code::BadArguments, Certainty::NeverSent)
                            .with_message(error.to_string())
                    })
                }),
                names: true,
                reply: PhantomData,
            },
        )
    }
}

impl<B: Broker> Caller for B {}

/// What a [`CallBuilder`] sends.
pub trait Request: Send + Sized + 'static {
    /// What a call that succeeds gives.
    type Reply: Send;
    /// What a call that fails in the method's own terms gives.
    type Error: Send;

    /// The failure with the name of the method that was to be called through `broker`.
    fn named<E>(&self, broker: &impl Broker, error: CallError<E>) -> CallError<E>;

    /// Sends it through `broker` and waits for the outcome.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    fn send<B: Broker>(
        self,
        broker: B,
        options: CallOptions,
    ) -> impl Future<Output = Result<Self::Reply, CallError<Self::Error>>> + Send;
}

/// Refuses to await a call that is to be opened: its options say more than its type.
fn has_no_items<C: Call, E>(broker: &impl Broker) -> Result<(), CallError<E>> {
    let streams = C::SPEC.streams();
    if streams == Streaming::No {
        return Ok(());
    }
    let error = CallError::new(Code::Unsupported, Certainty::NeverSent);
    let error = error.with_message(streams.asked_wrongly());
    Err(named(broker, CallType::of::<C>(), error))
}

/// A call without items that is a value, as a [`Request`].
#[derive(Debug)]
pub struct Typed<C>(C);

impl<C> From<C> for Typed<C> {
    fn from(call: C) -> Self {
        Typed(call)
    }
}

impl<C: Call> Request for Typed<C> {
    type Reply = C::Reply;
    type Error = C::Error;

    fn named<E>(&self, broker: &impl Broker, error: CallError<E>) -> CallError<E> {
        named(broker, CallType::of::<C>(), error)
    }

    async fn send<B: Broker>(
        self,
        broker: B,
        options: CallOptions,
    ) -> Result<C::Reply, CallError<C::Error>> {
        has_no_items::<C, _>(&broker)?;
        let outcome = broker.submit_typed(self.0, options).await;
        outcome.map_err(|error| named(&broker, CallType::of::<C>(), error))
    }
}

/// A call that is a value and wants no answer, as a [`Request`].
#[derive(Debug)]
pub struct Notify<C>(C);

impl<C: Call> Request for Notify<C> {
    type Reply = ();
    type Error = ErrorBody;

    fn named<E>(&self, broker: &impl Broker, error: CallError<E>) -> CallError<E> {
        named(broker, CallType::of::<C>(), error)
    }

    async fn send<B: Broker>(self, broker: B, options: CallOptions) -> Result<(), CallError> {
        has_no_items::<C, _>(&broker)?;
        let call = encoded(&broker, self.0, options)?;
        let outcome = broker.notify_raw(call).await;
        outcome.map_err(|error| named(&broker, CallType::of::<C>(), error))
    }
}

/// A call by name that wants no answer, as a [`Request`].
#[derive(Debug)]
pub struct NotifyNamed(Named<()>);

impl Request for NotifyNamed {
    type Reply = ();
    type Error = ErrorBody;

    fn named<E>(&self, _: &impl Broker, error: CallError<E>) -> CallError<E> {
        error.of_method(self.0.method.clone())
    }

    async fn send<B: Broker>(self, broker: B, options: CallOptions) -> Result<(), CallError> {
        let method = self.0.method.clone();
        let call = self.0.encoded(options)?;
        let outcome = broker.notify_raw(call).await;
        outcome.map_err(|error| error.of_method(method))
    }
}

type EncodeArguments = Box<dyn FnOnce(Codec) -> Result<Bytes, CallError> + Send>;

/// A call by name, as a [`Request`].
pub struct Named<R> {
    method: Arc<str>,
    encode: EncodeArguments,
    names: bool,
    reply: PhantomData<fn() -> R>,
}

impl<R> Named<R> {
    fn new(method: Arc<str>, arguments: impl Serialize + Send + 'static) -> Self {
        Self {
            method,
            encode: Box::new(move |codec| encode_arguments(codec, &arguments)),
            names: false,
            reply: PhantomData,
        }
    }

    fn encoded(self, options: CallOptions) -> Result<OutCall, CallError> {
        let body = (self.encode)(options.codec)?;
        let mut call = OutCall::new(self.method, body, options);
        call.named = self.names;
        Ok(call)
    }
}

impl<R: DeserializeOwned + Send + 'static> Request for Named<R> {
    type Reply = R;
    type Error = ErrorBody;

    fn named<E>(&self, _: &impl Broker, error: CallError<E>) -> CallError<E> {
        error.of_method(self.method.clone())
    }

    async fn send<B: Broker>(self, broker: B, options: CallOptions) -> Result<R, CallError> {
        let method = self.method.clone();
        let outcome = async {
            let call = self.encoded(options)?;
            let reply = broker.submit(call).await?;
            decode_reply(&reply)
        };
        outcome.await.map_err(|error| error.of_method(method))
    }
}

impl<R> fmt::Debug for Named<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}
