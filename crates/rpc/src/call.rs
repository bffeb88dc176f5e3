//! Calls as values, and the functions that handle them.

mod blocking;
mod functions;
mod handlers;
mod handling;

pub use functions::{BlockingHandler, Handler};

pub(crate) use blocking::NoThread;
pub(crate) use functions::Blocking;
pub(crate) use handlers::{CallHandler, FunctionHandler, ServedHandler, StreamFunctionHandler};

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, Waker};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::named;
use crate::{Codec, Context, DeclaredName, MethodSpec};
use blocking::on_blocking_thread;
use handling::Handling;

/// A call as a value: a method and its arguments.
///
/// Made by `#[bowline::rpc]`, which turns `async fn add(a: i64, b: i64) -> i64` into a function
/// that returns a small struct implementing this trait. [`Caller::call`](crate::Caller::call)
/// sends it wherever the broker finds an executor; [`run`](Call::run) runs it here.
///
/// By hand:
/// ```
/// use bowline_rpc::{Call, Context, DeclaredName, MethodSpec, NoError, Typed};
///
/// struct Double(i64);
///
/// impl Call for Double {
///     type Args = (i64,);
///     type Reply = i64;
///     type Error = NoError;
///     type Request = Typed<Self>;
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
    /// What a broker makes of it: [`Typed<Self>`](crate::Typed), which is awaited, or, if it has items,
    /// [`Opened<Self>`](crate::Opened). Code that awaits calls of any type asks for
    /// `C: Call<Request = Typed<C>>`.
    type Request: From<Self>;
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

/// Runs `call` where its options say; `end` makes of what it returned how it ended.
pub(crate) fn run_call<C: Call, T>(
    call: C,
    context: Context,
    end: impl FnOnce(Result<C::Reply, C::Error>) -> T + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    if !C::SPEC.is_blocking() {
        return Box::pin(Handling::new(move || call.run(context), end));
    }
    let on_thread = |context: Context| {
        let mut running = std::pin::pin!(call.run(context));
        match Pin::as_mut(&mut running).poll(&mut TaskContext::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("a method declared blocking awaited something"),
        }
    };
    let start = move || on_blocking_thread(context, on_thread);
    Box::pin(Handling::new(start, end))
}
