//! The calling side of every broker.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{Deadline, current_effective_deadline};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::{UnknownMethod, decode_reply, encode_arguments};
use crate::{Broker, Call, CallError, CallOptions, Codec, ErrorBody, OutCall};

/// How long a call waits unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Calls methods through a broker; every [`Broker`] has it.
pub trait Caller: Broker {
    /// Calls with a call that is a value: the function with `#[bowline::rpc]`, applied.
    fn call<C: Call>(&self, call: C) -> CallBuilder<Self, Typed<C>> {
        CallBuilder::new(self.clone(), Codec::Postcard, Typed(call))
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
        CallBuilder::new(
            self.clone(),
            Codec::MessagePack,
            Named {
                method: name.into(),
                encode: Box::new(move |codec| encode_arguments(codec, &arguments)),
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

/// A call that is a value, as a [`Request`].
#[derive(Debug)]
pub struct Typed<C>(C);

impl<C: Call> Request for Typed<C> {
    type Reply = C::Reply;
    type Error = C::Error;

    async fn send<B: Broker>(
        self,
        broker: B,
        options: CallOptions,
    ) -> Result<C::Reply, CallError<C::Error>> {
        broker.submit_typed(self.0, options).await
    }
}

type EncodeArguments = Box<dyn FnOnce(Codec) -> Result<Bytes, CallError> + Send>;

/// A call by name, as a [`Request`].
pub struct Named<R> {
    method: Arc<str>,
    encode: EncodeArguments,
    reply: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned + Send + 'static> Request for Named<R> {
    type Reply = R;
    type Error = ErrorBody;

    async fn send<B: Broker>(self, broker: B, options: CallOptions) -> Result<R, CallError> {
        let codec = options.codec;
        let body = (self.encode)(codec)?;
        let reply = broker
            .submit(OutCall::new(self.method, body, options))
            .await?;
        decode_reply(codec, &reply)
    }
}

impl<R> fmt::Debug for Named<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// A call about to be made: awaited, it is sent.
///
/// Without further words it waits 30 s at most, and for a peer that offers the method. The deadline of
/// a scope around it counts where it is earlier, and travels with the call like its own.
#[must_use = "a call is sent when it is awaited"]
#[derive(Debug)]
pub struct CallBuilder<B, R> {
    broker: B,
    request: R,
    codec: Codec,
    until: Until,
    unknown: UnknownMethod,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Timeout(Duration),
    At(Instant),
}

impl<B: Broker, R: Request> CallBuilder<B, R> {
    fn new(broker: B, codec: Codec, request: R) -> Self {
        Self {
            broker,
            request,
            codec,
            until: Until::Timeout(DEFAULT_TIMEOUT),
            unknown: UnknownMethod::Wait,
        }
    }

    /// Waits at most `timeout`, counted from the first poll.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.until = Until::Timeout(timeout);
        self
    }

    /// Waits until `deadline` at most.
    pub fn timeout_at(mut self, deadline: Instant) -> Self {
        self.until = Until::At(deadline);
        self
    }

    /// Waits as long as the scopes around it let it. An executor behind a network still cuts it to its
    /// [`max_deadline`](crate::Limits::max_deadline).
    pub fn no_deadline(mut self) -> Self {
        self.until = Until::At(Instant::NEVER);
        self
    }

    /// Fails at once with [`UnknownMethod`](crate::Code::UnknownMethod) if no peer offers the
    /// method now, and with [`NoPeer`](crate::Code::NoPeer) if there is no peer.
    pub fn fail_fast(mut self) -> Self {
        self.unknown = UnknownMethod::FailFast;
        self
    }

    /// Sends arguments and reply in another format.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }
}

impl<B: Broker, R: Request> IntoFuture for CallBuilder<B, R> {
    type Output = Result<R::Reply, CallError<R::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let deadline = match self.until {
                Until::Timeout(timeout) => time::now() + timeout,
                Until::At(deadline) => deadline,
            };
            let options = CallOptions {
                deadline: deadline.min(ambient_deadline()),
                codec: self.codec,
                unknown: self.unknown,
            };
            self.request.send(self.broker, options).await
        })
    }
}

/// When the scopes around the caller end it at the latest.
fn ambient_deadline() -> Instant {
    match current_effective_deadline() {
        Deadline::At(deadline) => deadline,
        // Cancelled, it is dropped at its first wait.
        Deadline::Never | Deadline::Cancelled => Instant::NEVER,
    }
}
