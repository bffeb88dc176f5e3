//! What a method is apart from its name: its options and the handler behind it.

mod spec;

pub use spec::MethodSpec;

use std::any::TypeId;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::call::{CallHandler, FunctionHandler, ServedHandler, StreamFunctionHandler};
use crate::executor::{MethodKey, MethodLimit};
use crate::{
    Call, Certainty, Code, Codec, Context, DeclaredName, Handler, MethodName, RegistryError,
    StreamHandler,
};

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

    /// A method with any handler.
    #[cfg(unix)]
    pub(crate) fn handled(
        name: impl Into<Arc<str>>,
        spec: MethodSpec,
        handler: impl ErasedHandler + 'static,
    ) -> Self {
        Self {
            name: NameSource::Given(name.into()),
            entry: Arc::new(Entry {
                spec,
                call: None,
                handler: Box::new(handler),
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

    /// Whether a call in `codec` that expects `schema` is refused, as one for another version of the method.
    pub(crate) fn refuses(&self, schema: Option<u64>, codec: Codec) -> bool {
        let (ours, theirs) = (self.spec.schema, schema.unwrap_or(0));
        let differs = ours != 0 && theirs != 0 && ours != theirs;
        // Postcard carries no types: it would be taken for what it is not.
        differs && (self.spec.strict_schema || codec == Codec::Postcard)
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
    /// It ended otherwise.
    Failed {
        code: Code,
        certainty: Certainty,
        message: String,
    },
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
