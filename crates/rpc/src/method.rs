//! What a method is apart from its name: its options and the handler behind it.

use std::any::TypeId;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::call::{CallHandler, FunctionHandler, ServedHandler, StreamFunctionHandler};
use crate::executor::{MethodKey, MethodLimit};
use crate::{
    Call, Certainty, Code, Codec, Context, DeclaredName, Handler, MethodName, RegistryError,
    StreamHandler, Streaming,
};

/// The options of a method; a constant of every [`Call`].
///
/// ```
/// use bowline_rpc::MethodSpec;
/// const SPEC: MethodSpec = MethodSpec::new().idempotent();
/// assert!(SPEC.is_idempotent() && !SPEC.is_blocking());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSpec {
    idempotent: bool,
    no_cancel: bool,
    blocking: bool,
    timeout: Option<Duration>,
    concurrency: u32,
    schema: u64,
    strict_schema: bool,
    max_args: Option<usize>,
    max_reply: Option<usize>,
    streaming: Streaming,
}

impl MethodSpec {
    /// No option set.
    pub const fn new() -> Self {
        Self {
            idempotent: false,
            no_cancel: false,
            blocking: false,
            timeout: None,
            concurrency: 0,
            schema: 0,
            strict_schema: false,
            max_args: None,
            max_reply: None,
            streaming: Streaming::No,
        }
    }

    /// Running it twice is as good as once; peers are told so.
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The handler runs to its end when its caller goes away; its result is then dropped.
    pub const fn no_cancel(mut self) -> Self {
        self.no_cancel = true;
        self
    }

    /// The handler holds its thread, so it runs where blocking work runs. Such a handler is never
    /// dropped half-way: cancelling only sets the flag its [`Context`] shows.
    pub const fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// No call of it lasts longer than `timeout`, whatever its caller allows.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// At most so many handlers of it run at once in one executor; 0 is no limit of its own. Calls
    /// that wait for it keep their place in the queue.
    pub const fn concurrency(mut self, handlers: u32) -> Self {
        self.concurrency = handlers;
        self
    }

    /// The hash of its argument and reply types as written; 0 is unknown.
    pub const fn schema(mut self, hash: u64) -> Self {
        self.schema = hash;
        self
    }

    /// A typed call whose [`schema`](Self::schema) is another is refused with
    /// [`WrongSchema`](crate::Code::WrongSchema), instead of being decoded as what it may not be.
    pub const fn strict_schema(mut self) -> Self {
        self.strict_schema = true;
        self
    }

    /// Longest encoded arguments, in bytes; longer ones are [`TooLarge`](crate::Code::TooLarge) and
    /// not decoded. The connection's limit holds besides.
    pub const fn max_args(mut self, bytes: usize) -> Self {
        self.max_args = Some(bytes);
        self
    }

    /// Longest encoded reply, in bytes; a longer one is [`TooLarge`](crate::Code::TooLarge).
    pub const fn max_reply(mut self, bytes: usize) -> Self {
        self.max_reply = Some(bytes);
        self
    }

    /// Who sends items besides arguments and reply. Set by what makes the method, as the handler has to
    /// fit.
    pub const fn streaming(mut self, streaming: Streaming) -> Self {
        self.streaming = streaming;
        self
    }

    /// Who sends items besides arguments and reply.
    pub const fn streams(&self) -> Streaming {
        self.streaming
    }

    /// Whether a call of another schema is refused.
    pub const fn is_strict_schema(&self) -> bool {
        self.strict_schema
    }

    /// The longest encoded arguments, in bytes.
    pub const fn longest_args(&self) -> Option<usize> {
        self.max_args
    }

    /// The longest encoded reply, in bytes.
    pub const fn longest_reply(&self) -> Option<usize> {
        self.max_reply
    }

    /// Whether running it twice is as good as once.
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether it runs to its end when its caller goes away.
    pub const fn is_no_cancel(&self) -> bool {
        self.no_cancel
    }

    /// Whether it holds its thread.
    pub const fn is_blocking(&self) -> bool {
        self.blocking
    }

    /// The longest a call may last.
    pub const fn max_duration(&self) -> Option<Duration> {
        self.timeout
    }

    /// How many handlers of it run at once at most.
    pub const fn max_concurrency(&self) -> Option<u32> {
        match self.concurrency {
            0 => None,
            handlers => Some(handlers),
        }
    }

    /// The hash of its argument and reply types; 0 is unknown.
    pub const fn schema_hash(&self) -> u64 {
        self.schema
    }
}

impl Default for MethodSpec {
    fn default() -> Self {
        Self::new()
    }
}

/// What a registry tells about one of its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodInfo {
    /// The method's options.
    pub spec: MethodSpec,
}

/// A method on its way into a registry: options, handler, and where its name comes from.
///
/// What [`Registry::register_all`](crate::Registry::register_all) takes.
#[derive(Clone)]
pub struct MethodDef {
    name: NameSource,
    entry: Arc<Entry>,
}

#[derive(Clone)]
pub(crate) enum NameSource {
    Declared(DeclaredName),
    Given(Arc<str>),
}

impl MethodDef {
    /// The method of the call type `C`, under its declared name.
    pub fn of<C: Call>() -> Self {
        Self {
            name: NameSource::Declared(C::NAME),
            entry: Arc::new(Entry {
                spec: C::SPEC,
                call: Some(TypeId::of::<C>()),
                handler: Box::new(CallHandler::<C>::new()),
            }),
        }
    }

    /// The method of the call type `C` under its declared name, run by `handler` instead of
    /// [`Call::run`]. What `#[bowline::service]` makes.
    pub fn served<C, F, Fut>(handler: F) -> Self
    where
        C: Call,
        F: Fn(Context, C::Args) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C::Reply, C::Error>> + Send + 'static,
    {
        Self {
            name: NameSource::Declared(C::NAME),
            entry: Arc::new(Entry {
                spec: C::SPEC,
                call: None,
                handler: Box::new(ServedHandler::<C, F>::new(handler)),
            }),
        }
    }

    /// An async function or closure under `name`.
    ///
    /// Its argument is one tuple, which a [`Context`] may precede; what it returns is the reply.
    pub fn function<H, M>(name: impl Into<Arc<str>>, handler: H) -> Self
    where
        H: Handler<M>,
        M: 'static,
    {
        let spec = MethodSpec::new().streaming(H::STREAMING);
        Self::with_spec(name, spec, handler)
    }

    /// A function or closure that gives its caller a stream, under `name`.
    ///
    /// Its argument is one tuple, which a [`Context`] may precede and an
    /// [`Incoming`](crate::Incoming) may follow.
    pub fn stream<H, M>(name: impl Into<Arc<str>>, handler: H) -> Self
    where
        H: StreamHandler<M>,
        M: 'static,
    {
        Self {
            name: NameSource::Given(name.into()),
            entry: Arc::new(Entry {
                spec: MethodSpec::new().streaming(H::STREAMING),
                call: None,
                handler: Box::new(StreamFunctionHandler::new(handler)),
            }),
        }
    }

    pub(crate) fn with_spec<H, M>(name: impl Into<Arc<str>>, spec: MethodSpec, handler: H) -> Self
    where
        H: Handler<M>,
        M: 'static,
    {
        Self {
            name: NameSource::Given(name.into()),
            entry: Arc::new(Entry {
                spec,
                call: None,
                handler: Box::new(FunctionHandler::new(handler)),
            }),
        }
    }

    /// The same method under another name.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = NameSource::Given(name.into());
        self
    }

    /// The method's options.
    pub fn spec(&self) -> MethodSpec {
        self.entry.spec
    }

    pub(crate) fn into_parts(self) -> (NameSource, Arc<Entry>) {
        (self.name, self.entry)
    }
}

impl fmt::Debug for MethodDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("MethodDef");
        match &self.name {
            NameSource::Declared(name) => out.field("name", name),
            NameSource::Given(name) => out.field("name", name),
        };
        out.field("spec", &self.entry.spec).finish_non_exhaustive()
    }
}

/// A method as a registry holds it; shared by all its names.
pub(crate) struct Entry {
    pub(crate) spec: MethodSpec,
    /// The call type behind it, if there is one.
    pub(crate) call: Option<TypeId>,
    handler: Box<dyn ErasedHandler>,
}

impl Entry {
    /// How many handlers of the method run at once.
    pub(crate) fn limit(self: &Arc<Self>) -> Option<MethodLimit> {
        let most = self.spec.max_concurrency()?;
        let key = match self.call {
            Some(call) => MethodKey::Call(call),
            None => MethodKey::Entry(Arc::as_ptr(self).addr()),
        };
        Some((key, most as usize))
    }

    /// Decodes the arguments and makes the future that runs the handler; nothing has run yet.
    pub(crate) fn begin(
        &self,
        arguments: Arguments<'_>,
        context: Context,
    ) -> Result<HandlerFuture, HandlerEnd> {
        let actual = arguments.body.len();
        if let Some(limit) = self.spec.max_args.filter(|limit| actual > *limit) {
            return Err(HandlerEnd::TooLarge {
                certainty: Certainty::Refused,
                message: format!("arguments of {actual} bytes; the method takes {limit}"),
            });
        }
        let handler = self.handler.begin(arguments, context)?;
        let Some(limit) = self.spec.max_reply else {
            return Ok(handler);
        };
        Ok(Box::pin(async move {
            match handler.await {
                HandlerEnd::Reply(body) | HandlerEnd::Application(body) if body.len() > limit => {
                    HandlerEnd::TooLarge {
                        certainty: Certainty::Executed,
                        message: format!(
                            "a reply of {} bytes; the method gives {limit}",
                            body.len()
                        ),
                    }
                }
                end => end,
            }
        }))
    }

    /// Whether the names of its arguments are known.
    pub(crate) fn knows_names(&self) -> bool {
        self.handler.knows_names()
    }

    /// Whether a call that expects `schema` is for another version of the method.
    pub(crate) fn is_other_schema(&self, schema: Option<u64>) -> bool {
        let (ours, theirs) = (self.spec.schema, schema.unwrap_or(0));
        self.spec.strict_schema && ours != 0 && theirs != 0 && ours != theirs
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// A method that was looked up: its name at that moment and the entry behind it.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) name: MethodName,
    pub(crate) entry: Arc<Entry>,
}

/// How a handler ended.
#[derive(Debug)]
pub(crate) enum HandlerEnd {
    /// The encoded reply.
    Reply(Bytes),
    /// The encoded error of the method.
    Application(Bytes),
    /// The arguments did not decode; the handler has not run.
    BadArguments(String),
    /// The reply did not encode.
    Internal(String),
    /// It ran, and ended otherwise.
    Failed { code: Code, message: String },
    /// Arguments or reply are longer than the method's options allow.
    TooLarge {
        certainty: Certainty,
        message: String,
    },
}

/// Encoded arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) codec: Codec,
    /// Each stands with its name, in any order.
    pub(crate) named: bool,
    pub(crate) body: &'a Bytes,
}

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = HandlerEnd> + Send>>;

pub(crate) trait ErasedHandler: Send + Sync {
    fn begin(
        &self,
        arguments: Arguments<'_>,
        context: Context,
    ) -> Result<HandlerFuture, HandlerEnd>;

    /// Whether it takes arguments with their names.
    fn knows_names(&self) -> bool {
        false
    }
}

/// The full name of a definition.
pub(crate) fn check_name(name: Arc<str>) -> Result<MethodName, RegistryError> {
    MethodName::new(name)
}
