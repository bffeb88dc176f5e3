//! The calling side of every broker.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{Deadline, current_effective_deadline, current_nesting};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::{UnknownMethod, decode_reply, encode_arguments};
use crate::proto::Extensions;
use crate::{
    Broker, Call, CallError, CallOptions, Certainty, Code, Codec, ErrorBody, NamedValues, OutCall,
    Pairs, Retry, ToAll,
};

/// How long a call waits unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Calls methods through a broker; every [`Broker`] has it.
pub trait Caller: Broker {
    /// Calls with a call that is a value: the function with `#[bowline::rpc]`, applied.
    fn call<C: Call>(&self, call: C) -> CallBuilder<Self, Typed<C>> {
        CallBuilder::new(self.clone(), Codec::Postcard, Typed(call))
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
                names: false,
                reply: PhantomData,
            },
        )
    }

    /// Calls the method called `name` with arguments in any order, each with its name. Those that the
    /// method has a default for may be left out.
    ///
    /// For methods that the macros made, which know the names. Uses MessagePack unless told to use
    /// JSON; postcard carries no names.
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
                    if codec == Codec::Postcard {
                        let error = CallError::new(Code::BadArguments, Certainty::NeverSent);
                        return Err(error.with_message("postcard carries no names"));
                    }
                    encode_arguments(codec, &arguments)
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
    names: bool,
    reply: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned + Send + 'static> Request for Named<R> {
    type Reply = R;
    type Error = ErrorBody;

    async fn send<B: Broker>(self, broker: B, options: CallOptions) -> Result<R, CallError> {
        let codec = options.codec;
        let body = (self.encode)(codec)?;
        let mut call = OutCall::new(self.method, body, options);
        call.named = self.names;
        let reply = broker.submit(call).await?;
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
    priority: u8,
    retry: Retry,
    hash: Option<u64>,
    /// What is said besides, if anything is: most calls say nothing.
    said: Option<Box<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    key: Option<Vec<u8>>,
    metadata: Vec<(String, Vec<u8>)>,
}

impl Said {
    /// In the form of the wire, or what is wrong with it.
    fn extensions(&self) -> Result<Extensions, String> {
        let mut extensions = Extensions::builder();
        if let Some(key) = &self.key {
            if !(1..=MAX_KEY).contains(&key.len()) {
                let length = key.len();
                return Err(format!(
                    "an idempotency key of {length} bytes; it has 1 to {MAX_KEY}"
                ));
            }
            extensions = extensions.idempotency_key(key);
        }
        for (key, value) in &self.metadata {
            if key.len() > MAX_METADATA_KEY || key.len() + value.len() > MAX_METADATA {
                let (key, value) = (key.len(), value.len());
                return Err(format!(
                    "metadata with a key of {key} bytes and a value of {value}; a key has at most \
                     {MAX_METADATA_KEY} and both together {MAX_METADATA}"
                ));
            }
            extensions = extensions.metadata(key, value);
        }
        Ok(extensions.build())
    }
}

/// Bytes of an idempotency key, of a key of metadata, and of one with its value.
const MAX_KEY: usize = 64;
const MAX_METADATA_KEY: usize = 255;
const MAX_METADATA: usize = 65_000;

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
            priority: 4,
            retry: Retry::default(),
            hash: None,
            said: None,
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

    /// Waits at the executor before calls of lower priority: 0 to 7, 4 unless told otherwise; above 7
    /// counts as 7.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority.min(7);
        self
    }

    /// The executor runs calls of this caller with the same key once, and answers all of them with
    /// what that came to: as long as it remembers, which is 10 minutes, unless there are very many.
    /// So a call that may have run can be made again, and is.
    ///
    /// Such a call runs to its end or its deadline, even if its caller gives up. A key of other than
    /// 1 to 64 bytes fails the call with [`BadArguments`](crate::Code::BadArguments).
    pub fn idempotency_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.said.get_or_insert_default().key = Some(key.into());
        self
    }

    /// Says something besides the arguments, which the handler reads from its context. May be called
    /// for several keys. Too much of it fails the call with [`TooLarge`](crate::Code::TooLarge).
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let said = self.said.get_or_insert_default();
        said.metadata.push((key.into(), value.into()));
        self
    }

    /// Calls of equal hash go to the same peer, where the broker balances by
    /// [`Hash`](crate::Balance::Hash).
    pub fn key(mut self, hash: u64) -> Self {
        self.hash = Some(hash);
        self
    }

    /// How often the call is made if it fails in a way that another attempt may mend.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
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
            let extensions = match &self.said {
                None => Extensions::new(),
                Some(said) => said.extensions().map_err(|why| {
                    CallError::new(Code::BadArguments, Certainty::NeverSent).with_message(why)
                })?,
            };
            let options = CallOptions {
                deadline: deadline.min(ambient_deadline()),
                codec: self.codec,
                unknown: self.unknown,
                hops: current_nesting().calls,
                priority: self.priority,
                retry: self.retry,
                hash: self.hash,
                extensions,
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
