//! Calls as values, and the functions that handle them.

mod handlers;

pub(crate) use handlers::{CallHandler, FunctionHandler, ServedHandler, StreamFunctionHandler};

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, Waker};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use bowline_backend::{Backend, blocking};
use bowline_channel::{OneshotSender, oneshot};
use bowline_concurrency::{current_nesting, in_nesting};

use crate::executor::{Function, discard};
use crate::named;
use crate::{Codec, Context, DeclaredName, Incoming, MethodSpec, Streaming};

/// A call as a value: a method and its arguments.
///
/// Made by `#[bowline::rpc]`, which turns `async fn add(a: i64, b: i64) -> i64` into a function
/// that returns a small struct implementing this trait. [`Caller::call`](crate::Caller::call)
/// sends it wherever the broker finds an executor; [`run`](Call::run) runs it here.
///
/// By hand:
/// ```
/// use bowline_rpc::{Call, Context, DeclaredName, MethodSpec, NoError};
///
/// struct Double(i64);
///
/// impl Call for Double {
///     type Args = (i64,);
///     type Reply = i64;
///     type Error = NoError;
///     const NAME: DeclaredName = DeclaredName::explicit("double");
///     const SPEC: MethodSpec = MethodSpec::new();
///
///     fn into_args(self) -> (i64,) {
///         (self.0,)
///     }
///     fn from_args((n,): (i64,)) -> Self {
///         Double(n)
///     }
///     async fn run(self, _context: Context) -> Result<i64, NoError> {
///         Ok(self.0 * 2)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no call",
    note = "a call is what a function with `#[bowline::rpc]` returns: `broker.call(add(1, 2))`",
    note = "by name it is `broker.call_named(\"add\", (1, 2))`"
)]
pub trait Call: Send + Sized + 'static {
    /// The arguments as a tuple, in order.
    type Args: Serialize + DeserializeOwned + Send + 'static;
    /// What a call that succeeds gives.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What a call that fails in the method's own terms gives; [`NoError`] if it never does.
    type Error: Serialize + DeserializeOwned + Send + 'static;
    /// What its declaration says about its name.
    const NAME: DeclaredName;
    /// Its options.
    const SPEC: MethodSpec;

    /// Takes the arguments out.
    fn into_args(self) -> Self::Args;

    /// Makes the call from its arguments.
    fn from_args(arguments: Self::Args) -> Self;

    /// Makes the call from arguments that stand with their names, in any order. Only the macros know
    /// the names.
    ///
    /// # Errors
    /// Which name is missing or unknown, or what did not decode.
    fn from_named(arguments: NamedArguments<'_>) -> Result<Self, BadArguments> {
        let _ = arguments;
        Err(BadArguments(NO_NAMES.into()))
    }

    /// Runs the method here and now.
    ///
    /// For a [`blocking`](MethodSpec::blocking) method the future is ready at its first poll and
    /// holds the thread in it.
    fn run(self, context: Context)
    -> impl Future<Output = Result<Self::Reply, Self::Error>> + Send;
}

const NO_NAMES: &str = "the names of the method's arguments are not known";

/// Encoded arguments with their names.
#[derive(Debug)]
pub struct NamedArguments<'a> {
    codec: Codec,
    body: &'a [u8],
}

impl<'a> NamedArguments<'a> {
    fn new(codec: Codec, body: &'a [u8]) -> Self {
        Self { codec, body }
    }

    /// Decodes them as the fields of `T`.
    ///
    /// # Errors
    /// Which name is missing or unknown, or what did not decode.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, BadArguments> {
        let decoded = match self.codec {
            Codec::Postcard => named::postcard::decode(self.body),
            codec => codec.decode(self.body),
        };
        decoded.map_err(|error| BadArguments(error.to_string()))
    }
}

/// Why arguments are not those of a method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadArguments(String);

/// The error of a method that has none: no value of this type exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoError {}

impl fmt::Display for NoError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for NoError {}

/// A function whose call is a value, as `#[bowline::rpc]` leaves it: what a registry registers.
///
/// Implemented for every function of at most 12 arguments that returns a [`Call`]; `M` only tells
/// the arities apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no function with `#[bowline::rpc]`",
    note = "register the function, not a call of it: `register(add)`, not `register(add(1, 2))`",
    note = "a function or closure without the attribute goes to `register_fn` or `register_blocking`"
)]
pub trait Method<M> {
    /// The call the function makes.
    type Call: Call;
}

macro_rules! methods {
    ($($argument:ident)*) => {
        impl<F, C, $($argument),*> Method<fn($($argument),*)> for F
        where
            F: Fn($($argument),*) -> C,
            C: Call,
        {
            type Call = C;
        }
    };
}

methods!();
methods!(A);
methods!(A B);
methods!(A B D);
methods!(A B D E);
methods!(A B D E G);
methods!(A B D E G H);
methods!(A B D E G H I);
methods!(A B D E G H I J);
methods!(A B D E G H I J K);
methods!(A B D E G H I J K L);
methods!(A B D E G H I J K L N);
methods!(A B D E G H I J K L N O);

/// A function or closure that handles calls without a [`Call`] type: one tuple of arguments, which
/// a [`Context`] may precede and an [`Incoming`] may follow.
///
/// Implemented for such functions; `M` tells the forms apart. What the function returns is the
/// reply, a `Result` included: only methods with a [`Call`] type have errors of their own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle calls",
    note = "a handler takes one tuple and returns a future: `|(a, b): (i64, i64)| async move {{ a + b }}`",
    note = "a `Context` may come before the tuple, and an `Incoming<T>` after it",
    note = "what is not `async` goes to `register_blocking`, what returns a stream to `register_stream`"
)]
pub trait Handler<M>: Send + Sync + 'static {
    /// The tuple of arguments.
    type Args: DeserializeOwned + Send + 'static;
    /// What it returns.
    type Reply: Serialize + Send + 'static;
    /// Who sends items.
    const STREAMING: Streaming = Streaming::No;

    /// Runs the function.
    fn handle(
        &self,
        context: Context,
        arguments: Self::Args,
    ) -> impl Future<Output = Self::Reply> + Send + 'static;
}

impl<F, A, Fut> Handler<fn(A) -> Fut> for F
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Serialize + Send + 'static,
{
    type Args = A;
    type Reply = Fut::Output;

    fn handle(
        &self,
        _: Context,
        arguments: A,
    ) -> impl Future<Output = Self::Reply> + Send + 'static {
        self(arguments)
    }
}

impl<F, A, Fut> Handler<fn(Context, A) -> Fut> for F
where
    F: Fn(Context, A) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Serialize + Send + 'static,
{
    type Args = A;
    type Reply = Fut::Output;

    fn handle(
        &self,
        context: Context,
        arguments: A,
    ) -> impl Future<Output = Self::Reply> + Send + 'static {
        self(context, arguments)
    }
}

impl<F, A, I, Fut> Handler<fn(A, Incoming<I>) -> Fut> for F
where
    F: Fn(A, Incoming<I>) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    I: DeserializeOwned + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Serialize + Send + 'static,
{
    type Args = A;
    type Reply = Fut::Output;
    const STREAMING: Streaming = Streaming::Caller;

    fn handle(
        &self,
        context: Context,
        arguments: A,
    ) -> impl Future<Output = Self::Reply> + Send + 'static {
        self(arguments, context.incoming())
    }
}

impl<F, A, I, Fut> Handler<fn(Context, A, Incoming<I>) -> Fut> for F
where
    F: Fn(Context, A, Incoming<I>) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    I: DeserializeOwned + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Serialize + Send + 'static,
{
    type Args = A;
    type Reply = Fut::Output;
    const STREAMING: Streaming = Streaming::Caller;

    fn handle(
        &self,
        context: Context,
        arguments: A,
    ) -> impl Future<Output = Self::Reply> + Send + 'static {
        let items = context.incoming();
        self(context, arguments, items)
    }
}

/// A function or closure that may hold its thread: one tuple of arguments, which a [`Context`] may
/// precede. What it returns is the reply.
///
/// Implemented for such functions; `M` tells the forms apart. Nothing interrupts it: where it runs
/// for long, it asks [`Context::is_cancelled`] from time to time whether anybody still waits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle calls",
    note = "a handler takes one tuple: `|(a, b): (i64, i64)| a + b`; a `Context` may come before it",
    note = "what is `async` goes to `register_fn`"
)]
pub trait BlockingHandler<M>: Send + Sync + 'static {
    /// The tuple of arguments.
    type Args: DeserializeOwned + Send + 'static;
    /// What it returns.
    type Reply: Serialize + Send + 'static;

    /// Runs the function.
    fn handle(&self, context: Context, arguments: Self::Args) -> Self::Reply;
}

impl<F, A, R> BlockingHandler<fn(A) -> R> for F
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    type Args = A;
    type Reply = R;

    fn handle(&self, _: Context, arguments: A) -> R {
        self(arguments)
    }
}

impl<F, A, R> BlockingHandler<fn(Context, A) -> R> for F
where
    F: Fn(Context, A) -> R + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    type Args = A;
    type Reply = R;

    fn handle(&self, context: Context, arguments: A) -> R {
        self(context, arguments)
    }
}

/// A blocking function as a [`Handler`]: its job runs where blocking work runs.
pub(crate) struct Blocking<H>(std::sync::Arc<H>);

impl<H> Blocking<H> {
    pub(crate) fn new(function: H) -> Self {
        Self(std::sync::Arc::new(function))
    }
}

impl<H, M> Handler<(M,)> for Blocking<H>
where
    H: BlockingHandler<M>,
{
    type Args = H::Args;
    type Reply = H::Reply;

    fn handle(
        &self,
        context: Context,
        arguments: H::Args,
    ) -> impl Future<Output = H::Reply> + Send + 'static {
        let function = self.0.clone();
        on_blocking_thread(context, move |context| function.handle(context, arguments))
    }
}

/// Runs `function` where blocking work of its executor runs; its panic goes on here.
async fn on_blocking_thread<T: Send + 'static>(
    context: Context,
    function: impl FnOnce(Context) -> T + Send + 'static,
) -> T {
    let threads = context.threads();
    // The place of the job is held until the function has returned.
    let stay = context.enter_thread();
    let nesting = current_nesting();
    let function = move || {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            in_nesting(nesting, || function(context))
        }));
        drop(stay);
        ended
    };
    // A simulated world has one thread.
    let ended = match threads.filter(|_| has_threads()) {
        Some(threads) => {
            let (sender, receiver) = oneshot();
            let given = threads.run(Box::new(OnThread {
                function: Some(function),
                ended: None,
                sender,
            }));
            match receiver.await {
                Ok(ended) => Some(ended),
                // No panic of the handler, which did not begin: past the panic hook to who runs it.
                Err(_) if !given => resume_unwind(Box::new(NoThread)),
                Err(_) => None,
            }
        }
        None => blocking::spawn_blocking(function).await.ok(),
    };
    match ended {
        Some(Ok(value)) => value,
        Some(Err(payload)) => resume_unwind(payload),
        // The backend is shutting down: this task is dropped in a moment.
        None => std::future::pending().await,
    }
}

/// Why a blocking function did not run, as what its handler unwinds with: there is no thread for it.
pub(crate) struct NoThread;

/// What a thread of an executor runs, and who hears of it.
struct OnThread<F, T> {
    function: Option<F>,
    ended: Option<T>,
    sender: OneshotSender<T>,
}

impl<T: Send, F: FnOnce() -> T + Send> Function for OnThread<F, T> {
    fn run(&mut self) {
        self.ended = self.function.take().map(|function| function());
    }

    fn tell(self: Box<Self>) {
        if let Some(ended) = self.ended {
            discard(self.sender.send(ended));
        }
    }
}

fn has_threads() -> bool {
    Backend::current().is_ok_and(|backend| backend.capabilities().multi_thread)
}

/// Runs `call` where its options say.
pub(crate) async fn run_call<C: Call>(call: C, context: Context) -> Result<C::Reply, C::Error> {
    if C::SPEC.is_blocking() {
        on_blocking_thread(context, move |context| {
            let mut running = std::pin::pin!(call.run(context));
            match Pin::as_mut(&mut running).poll(&mut TaskContext::from_waker(Waker::noop())) {
                Poll::Ready(result) => result,
                Poll::Pending => panic!("a method declared blocking awaited something"),
            }
        })
        .await
    } else {
        call.run(context).await
    }
}
