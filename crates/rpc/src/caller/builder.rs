//! A call about to be made, and what may be said about it.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{Deadline, current_effective_deadline, current_nesting};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Named, Notify, NotifyNamed, Request, Typed};
use crate::broker::UnknownMethod;
use crate::proto::Extensions;
use crate::{
    BadTraceparent, Broker, Call, CallError, CallOptions, Certainty, Code, Codec, ItemReceiver,
    NoItem, Retry, StreamCall, Streaming, ToAll, ambient, trace,
};

/// How long a call waits unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A call about to be made: awaited, it is sent; one with items is [opened](Self::open).
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
    /// What is said of the trace; what is no text is none.
    fn traceparent(&self) -> Option<&str> {
        let mut metadata = self.metadata.iter();
        let (_, value) = metadata.find(|(key, _)| key == TRACEPARENT)?;
        Some(std::str::from_utf8(value).unwrap_or_default())
    }

    /// In the form of the wire, or what is wrong with it; `ambient` is the trace where none is said.
    fn extensions<E>(&self, ambient: Option<&str>) -> Result<Extensions, CallError<E>> {
        let failed = |code| CallError::new(code, Certainty::NeverSent);
        let mut extensions = Extensions::builder();
        if let Some(key) = &self.key {
            if !(1..=MAX_KEY).contains(&key.len()) {
                let length = key.len();
                let text = format!("an idempotency key of {length} bytes; it has 1 to {MAX_KEY}");
                return Err(failed(Code::BadArguments).with_message(text));
            }
            extensions = extensions.idempotency_key(key);
        }
        if let Some(trace) = self.traceparent().or(ambient) {
            if !trace::is_one(trace) {
                let text = BadTraceparent.to_string();
                return Err(failed(Code::BadArguments).with_message(text));
            }
            extensions = extensions.traceparent(trace);
        }
        for (key, value) in self.metadata.iter().filter(|(key, _)| key != TRACEPARENT) {
            if key.len() > MAX_METADATA_KEY || key.len() + value.len() > MAX_METADATA {
                let (key, value) = (key.len(), value.len());
                return Err(failed(Code::TooLarge).with_message(format!(
                    "metadata with a key of {key} bytes and a value of {value}; a key has at most \
                     {MAX_METADATA_KEY} and both together {MAX_METADATA}"
                )));
            }
            extensions = extensions.metadata(key, value);
        }
        Ok(extensions.build())
    }
}

/// What is said under this name is the trace of the call.
const TRACEPARENT: &str = "traceparent";

/// Bytes of an idempotency key, of a key of metadata, and of one with its value.
const MAX_KEY: usize = 64;
const MAX_METADATA_KEY: usize = 255;
const MAX_METADATA: usize = 65_000;

#[derive(Clone, Copy, Debug)]
enum Until {
    Timeout(Duration),
    At(Instant),
}

impl Until {
    /// Says whose deadline it was that passed, of a call that was to end until `deadline`.
    #[cold]
    fn say<E>(self, deadline: Instant, error: CallError<E>) -> CallError<E> {
        if error.code() != Code::DeadlineExceeded || !error.message().is_empty() {
            return error;
        }
        if time::now() < deadline {
            return error
                .with_message("where it runs a call of it gets less time than its caller gave");
        }
        if ambient_deadline() <= deadline {
            return error.with_message("it was that of a scope around the call");
        }
        match self {
            Until::Timeout(timeout) => {
                error.with_message(format!("its caller gave it {timeout:?}"))
            }
            Until::At(_) => error,
        }
    }
}

impl<B: Broker, R> CallBuilder<B, R> {
    pub(super) fn new(broker: B, codec: Codec, request: R) -> Self {
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

    /// Sends arguments and reply in another format. [`Postcard`](Codec::Postcard) gives way to one that
    /// carries types where a call that is a value goes to who declares the method otherwise.
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
    /// So a call that may have run can be made again, and is: of the same peer, as another knows nothing of
    /// it, unless its method is idempotent. Arguments are not compared: a key stands for one thing that is
    /// to happen. Where several peers offer the method, two calls of a program may come to different ones.
    ///
    /// Such a call runs to its end or its deadline, even if its caller gives up. One whose handler was dropped at
    /// its deadline, or killed with its process, came to nothing that is remembered: the next call with the key
    /// runs, and so does one that waited and has time left. A handler that goes on past it, as a blocking one
    /// does, has others wait for what it comes to. While one runs, at most 128
    /// wait for what it comes to, and others are [`Overloaded`](crate::Code::Overloaded). A key of other than
    /// 1 to 64 bytes fails the call with [`BadArguments`](crate::Code::BadArguments).
    pub fn idempotency_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.said.get_or_insert_default().key = Some(key.into());
        self
    }

    /// Says something besides the arguments, which the handler reads from its context. May be called
    /// for several keys. Under `traceparent` it says which trace the call belongs to, as
    /// [`with_traceparent`](crate::with_traceparent) does. Too much of it fails the call with [`TooLarge`](crate::Code::TooLarge).
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

impl<B, R> CallBuilder<B, R> {
    /// The same, of something else.
    pub(super) fn about<T>(self, change: impl FnOnce(R) -> T) -> CallBuilder<B, T> {
        CallBuilder {
            broker: self.broker,
            request: change(self.request),
            codec: self.codec,
            until: self.until,
            unknown: self.unknown,
            priority: self.priority,
            retry: self.retry,
            hash: self.hash,
            said: self.said,
        }
    }
}

impl<B: Broker, R: Request> CallBuilder<B, R> {
    fn send(self) -> Sending<R> {
        Box::pin(async move {
            let until = self.until;
            let (broker, request, options) = self.ready()?;
            let deadline = options.deadline;
            let outcome = request.send(broker, options).await;
            outcome.map_err(|error| until.say(deadline, error))
        })
    }

    /// What it is about, once it is sent.
    pub(super) fn ready<E>(self) -> Result<(B, R, CallOptions), CallError<E>> {
        let deadline = match self.until {
            Until::Timeout(timeout) => time::now() + timeout,
            Until::At(deadline) => deadline,
        };
        let trace = trace::current();
        let extensions = match (&self.said, trace.as_deref()) {
            (None, None) => Extensions::new(),
            (None, Some(trace)) => Extensions::builder().traceparent(trace).build(),
            (Some(said), trace) => said
                .extensions(trace)
                .map_err(|error| self.request.named(&self.broker, error))?,
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
        Ok((self.broker, self.request, options))
    }
}

/// A call that is awaited.
type Sending<R> = Pin<
    Box<
        dyn Future<Output = Result<<R as Request>::Reply, CallError<<R as Request>::Error>>> + Send,
    >,
>;

/// Each by itself, so that a call with items, which is none of them, is told apart from what is merely no future.
macro_rules! awaited {
    ($([$($generics:tt)*] $request:ty;)*) => {
        $(
            impl<B: Broker, $($generics)*> IntoFuture for CallBuilder<B, $request> {
                type Output =
                    Result<<$request as Request>::Reply, CallError<<$request as Request>::Error>>;
                type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

                fn into_future(self) -> Self::IntoFuture {
                    self.send()
                }
            }
        )*
    };
}

awaited! {
    [C: Call] Typed<C>;
    [C: Call] Notify<C>;
    [C: Call] ToAll<C>;
    [R: DeserializeOwned + Send + 'static] Named<R>;
    [] NotifyNamed;
}

impl<B: Broker, T: DeserializeOwned + Send + 'static> CallBuilder<B, Named<T>> {
    /// Begins a call of a method that gives items, `R`, to which no items are sent. Otherwise as for a call
    /// that is a value.
    ///
    /// # Errors
    /// The outcome of a call that did not begin. That of one that did comes by its receiver.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    pub async fn open<R: DeserializeOwned>(self) -> Result<ItemReceiver<R, T>, CallError> {
        let stream = self.begin::<NoItem, R>(Streaming::Executor).await?;
        Ok(stream.receiver)
    }

    /// Begins a call of a method that takes items, `S`, and gives none but its reply.
    ///
    /// # Errors
    /// The outcome of a call that did not begin. That of one that did comes by its receiver.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    pub async fn open_sending<S: Serialize>(self) -> Result<StreamCall<S, NoItem, T>, CallError> {
        self.begin(Streaming::Caller).await
    }

    /// Begins a call of a method that takes items, `S`, and gives items, `R`.
    ///
    /// # Errors
    /// The outcome of a call that did not begin. That of one that did comes by its receiver.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    pub async fn open_both<S: Serialize, R: DeserializeOwned>(
        self,
    ) -> Result<StreamCall<S, R, T>, CallError> {
        self.begin(Streaming::Both).await
    }

    async fn begin<S, R>(self, streaming: Streaming) -> Result<StreamCall<S, R, T>, CallError> {
        let (broker, request, options) = self.ready()?;
        let mut call = request.encoded(options)?;
        call.streaming = streaming;
        let method = call.method.clone();
        let opened = broker.open(call).await;
        let raw = opened.map_err(|error| error.of_method(method.clone()))?;
        Ok(StreamCall::new(raw, method, |_, error| error))
    }
}

/// When the scopes around the caller end it at the latest, or the caller of the handler that it is stops
/// waiting.
fn ambient_deadline() -> Instant {
    let scopes = match current_effective_deadline() {
        Deadline::At(deadline) => deadline,
        // Cancelled, it is dropped at its first wait.
        Deadline::Never | Deadline::Cancelled => Instant::NEVER,
    };
    ambient::deadline().map_or(scopes, |until| until.min(scopes))
}
