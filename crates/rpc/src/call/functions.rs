//! Functions and closures as handlers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::blocking::on_blocking_thread;
use crate::{Context, Incoming, Streaming};

/// A function or closure that handles calls without a [`Call`](crate::Call) type: one tuple of arguments, which
/// a [`Context`] may precede and an [`Incoming`] may follow.
///
/// Implemented for such functions; `M` tells the forms apart. What the function returns is the
/// reply, a `Result` included: only methods with a [`Call`](crate::Call) type have errors of their own.
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
