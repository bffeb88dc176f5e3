//! Handlers as a registry has them: of every type of call and function, and for encoded arguments.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handling::Handling;
use super::{NO_NAMES, run_call};
use crate::method::{Arguments, ErasedHandler, HandlerEnd, HandlerFuture};
use crate::stream::HandlerStreams;
use crate::{Call, Codec, Context, Handler, NamedArguments, StreamHandler};

/// The handler of a call type.
pub(crate) struct CallHandler<C>(PhantomData<fn() -> C>);

impl<C> CallHandler<C> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: Call> ErasedHandler for CallHandler<C> {
    fn begin(
        &self,
        arguments: Arguments<'_>,
        context: Context,
    ) -> Result<HandlerFuture, HandlerEnd> {
        let codec = arguments.codec;
        let call: C = call_of(arguments)?;
        let streams = context.streams().cloned();
        Ok(run_call(call, context, move |result| {
            end_of(codec, result, streams.as_deref())
        }))
    }

    fn knows_names(&self) -> bool {
        true
    }
}

/// The handler of a function without a call type.
pub(crate) struct FunctionHandler<H, M> {
    handler: H,
    form: PhantomData<fn() -> M>,
}

impl<H, M> FunctionHandler<H, M> {
    pub(crate) fn new(handler: H) -> Self {
        Self {
            handler,
            form: PhantomData,
        }
    }
}

impl<H, M> ErasedHandler for FunctionHandler<H, M>
where
    H: Handler<M>,
    M: 'static,
{
    fn begin(
        &self,
        arguments: Arguments<'_>,
        context: Context,
    ) -> Result<HandlerFuture, HandlerEnd> {
        let codec = arguments.codec;
        let arguments: H::Args = tuple_of(arguments)?;
        let running = self.handler.handle(context, arguments);
        let end = move |reply| encoded(codec, &reply, HandlerEnd::Reply);
        Ok(Box::pin(Handling::new(move || running, end)))
    }
}

/// The handler of a call type whose calls somebody else runs.
pub(crate) struct ServedHandler<C, F> {
    handler: F,
    call: PhantomData<fn() -> C>,
}

impl<C, F> ServedHandler<C, F> {
    pub(crate) fn new(handler: F) -> Self {
        Self {
            handler,
            call: PhantomData,
        }
    }
}

impl<C, F, Fut> ErasedHandler for ServedHandler<C, F>
where
    C: Call,
    F: Fn(Context, C::Args) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C::Reply, C::Error>> + Send + 'static,
{
    fn begin(
        &self,
        arguments: Arguments<'_>,
        context: Context,
    ) -> Result<HandlerFuture, HandlerEnd> {
        let codec = arguments.codec;
        let call: C = call_of(arguments)?;
        let streams = context.streams().cloned();
        let running = (self.handler)(context, call.into_args());
        let end = move |result| end_of(codec, result, streams.as_deref());
        Ok(Box::pin(Handling::new(move || running, end)))
    }

    fn knows_names(&self) -> bool {
        true
    }
}

/// The handler of a function without a call type that gives a stream.
pub(crate) struct StreamFunctionHandler<H, M> {
    handler: H,
    form: PhantomData<fn() -> M>,
}

impl<H, M> StreamFunctionHandler<H, M> {
    pub(crate) fn new(handler: H) -> Self {
        Self {
            handler,
            form: PhantomData,
        }
    }
}

impl<H, M> ErasedHandler for StreamFunctionHandler<H, M>
where
    H: StreamHandler<M>,
    M: 'static,
{
    fn begin(
        &self,
        arguments: Arguments<'_>,
        context: Context,
    ) -> Result<HandlerFuture, HandlerEnd> {
        let codec = arguments.codec;
        let arguments: H::Args = tuple_of(arguments)?;
        let items = self.handler.handle(context.clone(), arguments);
        Ok(Box::pin(async move {
            let sent = context.send_all(items).await;
            end_of(codec, sent, context.streams().map(|streams| &**streams))
        }))
    }
}

/// How a call ends whose handler returned `result`, unless its streams say otherwise.
fn end_of<T: Serialize, E: Serialize>(
    codec: Codec,
    result: Result<T, E>,
    streams: Option<&HandlerStreams>,
) -> HandlerEnd {
    if let Some(end) = streams.and_then(HandlerStreams::end) {
        return end;
    }
    match result {
        Ok(reply) => encoded(codec, &reply, HandlerEnd::Reply),
        Err(error) => encoded(codec, &error, HandlerEnd::Application),
    }
}

/// The call that encoded arguments make.
fn call_of<C: Call>(arguments: Arguments<'_>) -> Result<C, HandlerEnd> {
    if !arguments.named {
        return tuple_of(arguments).map(C::from_args);
    }
    let Arguments { codec, body, .. } = arguments;
    C::from_named(NamedArguments::new(codec, body))
        .map_err(|error| HandlerEnd::BadArguments(error.to_string()))
}

/// Encoded arguments without their names.
fn tuple_of<A: DeserializeOwned>(arguments: Arguments<'_>) -> Result<A, HandlerEnd> {
    let Arguments { codec, named, body } = arguments;
    if named {
        return Err(HandlerEnd::BadArguments(NO_NAMES.into()));
    }
    let decoded = codec.decode(body);
    decoded.map_err(|error| HandlerEnd::BadArguments(error.to_string()))
}

fn encoded<T: Serialize>(codec: Codec, value: &T, end: fn(Bytes) -> HandlerEnd) -> HandlerEnd {
    match codec.encode(value) {
        Ok(body) => end(body),
        Err(error) => HandlerEnd::Internal(format!("the reply did not encode: {error}")),
    }
}
