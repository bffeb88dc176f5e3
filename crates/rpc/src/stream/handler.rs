//! The streams of a call at its handler, and functions that give streams.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::incoming::RawIncoming;
use super::outgoing::Outgoing;
use super::pipe::Pipe;
use super::raw::RawSender;
use super::{Incoming, Streaming};
use crate::method::HandlerEnd;
use crate::{Codec, Context, NoError};

/// The streams of one call at its handler.
pub(crate) struct HandlerStreams {
    codec: Codec,
    ends: Mutex<Ends>,
}

#[derive(Debug)]
struct Ends {
    incoming: Option<RawIncoming>,
    outgoing: Option<RawSender>,
    /// How the call ends, whatever its handler returns.
    end: Option<HandlerEnd>,
}

impl HandlerStreams {
    /// Those of a call with items in `codec`; an item to the caller has at most `longest` bytes.
    pub(crate) fn new(
        codec: Codec,
        from_caller: Option<Arc<Pipe>>,
        to_caller: Option<Arc<Pipe>>,
        longest: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            codec,
            ends: Mutex::new(Ends {
                incoming: from_caller.map(RawIncoming::new),
                outgoing: to_caller.map(|pipe| RawSender::new(pipe, longest)),
                end: None,
            }),
        })
    }

    /// The items of the caller, once.
    pub(crate) fn incoming(&self) -> (Option<RawIncoming>, Codec) {
        (self.ends().incoming.take(), self.codec)
    }

    /// Where items to the caller go, once.
    pub(crate) fn outgoing(&self) -> (Option<RawSender>, Codec) {
        (self.ends().outgoing.take(), self.codec)
    }

    /// The call ends so, whatever its handler returns.
    pub(crate) fn end_with(&self, end: HandlerEnd) {
        self.ends().end = Some(end);
    }

    /// How the call ends if not as its handler returned.
    pub(crate) fn end(&self) -> Option<HandlerEnd> {
        self.ends().end.take()
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HandlerStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandlerStreams")
            .field(&*self.ends())
            .finish()
    }
}

/// A function or closure that gives its caller a stream: one tuple of arguments, which a [`Context`] may
/// precede and an [`Incoming`] may follow. What
/// [`Registry::register_stream`](crate::Registry::register_stream) takes.
///
/// It returns a stream or an [`Outgoing`]. Implemented for such functions; `M` tells the forms apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give its caller a stream",
    note = "it takes one tuple and returns a stream: `|(to,): (u32,)| stream::iter(0..to)`",
    note = "a `Context` may come before the tuple, and an `Incoming<T>` after it"
)]
pub trait StreamHandler<M>: Send + Sync + 'static {
    /// The tuple of arguments.
    type Args: DeserializeOwned + Send + 'static;
    /// An item to the caller.
    type Item: Serialize + Send + 'static;
    /// Who sends items.
    const STREAMING: Streaming;

    /// Runs the function.
    fn handle(&self, context: Context, arguments: Self::Args) -> Outgoing<Self::Item>;
}

/// What a function that streams may return.
pub trait IntoOutgoing: Send + 'static {
    /// An item.
    type Item: Serialize + Send + 'static;

    /// Its items.
    fn into_outgoing(self) -> Outgoing<Self::Item>;
}

impl<S> IntoOutgoing for S
where
    S: Stream + Send + 'static,
    S::Item: Serialize + Send + 'static,
{
    type Item = S::Item;

    fn into_outgoing(self) -> Outgoing<S::Item> {
        Outgoing::new(self)
    }
}

impl<T: Serialize + Send + 'static> IntoOutgoing for Outgoing<T, NoError> {
    type Item = T;

    fn into_outgoing(self) -> Outgoing<T> {
        self
    }
}

impl<F, A, S> StreamHandler<fn(A) -> S> for F
where
    F: Fn(A) -> S + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    S: IntoOutgoing,
{
    type Args = A;
    type Item = S::Item;
    const STREAMING: Streaming = Streaming::Executor;

    fn handle(&self, _: Context, arguments: A) -> Outgoing<S::Item> {
        self(arguments).into_outgoing()
    }
}

impl<F, A, S> StreamHandler<fn(Context, A) -> S> for F
where
    F: Fn(Context, A) -> S + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    S: IntoOutgoing,
{
    type Args = A;
    type Item = S::Item;
    const STREAMING: Streaming = Streaming::Executor;

    fn handle(&self, context: Context, arguments: A) -> Outgoing<S::Item> {
        self(context, arguments).into_outgoing()
    }
}

impl<F, A, I, S> StreamHandler<fn(A, Incoming<I>) -> S> for F
where
    F: Fn(A, Incoming<I>) -> S + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    I: DeserializeOwned + 'static,
    S: IntoOutgoing,
{
    type Args = A;
    type Item = S::Item;
    const STREAMING: Streaming = Streaming::Both;

    fn handle(&self, context: Context, arguments: A) -> Outgoing<S::Item> {
        self(arguments, context.incoming()).into_outgoing()
    }
}

impl<F, A, I, S> StreamHandler<fn(Context, A, Incoming<I>) -> S> for F
where
    F: Fn(Context, A, Incoming<I>) -> S + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    I: DeserializeOwned + 'static,
    S: IntoOutgoing,
{
    type Args = A;
    type Item = S::Item;
    const STREAMING: Streaming = Streaming::Both;

    fn handle(&self, context: Context, arguments: A) -> Outgoing<S::Item> {
        let items = context.incoming();
        self(context, arguments, items).into_outgoing()
    }
}
