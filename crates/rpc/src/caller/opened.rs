//! Calls with items, which are opened.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{CallBuilder, Typed};
use crate::broker::{encoded, typed_error};
use crate::{Broker, Call, CallError, StreamCall, StreamingCall};

/// A call with items that is a value: its builder [opens](CallBuilder::open) it, and cannot be awaited.
#[derive(Debug)]
pub struct Opened<C>(C);

impl<C> From<C> for Opened<C> {
    fn from(call: C) -> Self {
        Opened(call)
    }
}

/// What [`open`](CallBuilder::open) gives for a call of type `C`.
pub type CallStream<C> = StreamCall<
    <C as StreamingCall>::Sends,
    <C as StreamingCall>::Receives,
    <C as Call>::Reply,
    <C as Call>::Error,
>;

impl<B: Broker, C: StreamingCall> CallBuilder<B, Opened<C>> {
    /// Begins a call whose method takes items, gives items, or both. It goes on until it has replied or the
    /// receiver is dropped, whichever task has that; a call that has begun is never made again: what was sent to
    /// one peer is not kept for another. If its receiver says that it
    /// [did not run](crate::Certainty::did_not_run), it can be opened once more.
    ///
    /// # Errors
    /// The outcome of a call that did not begin. That of one that did comes by its receiver.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    pub async fn open(self) -> Result<CallStream<C>, CallError<C::Error>> {
        let (broker, Typed(call), options) = self.about(|Opened(call)| Typed(call)).ready()?;
        let codec = options.codec;
        let call = encoded(&broker, call, options)?;
        let method = call.method.clone();
        let opened = broker.open(call).await;
        let raw = opened
            .map_err(|error| typed_error::<C::Error>(codec, error).of_method(method.clone()))?;
        Ok(StreamCall::new(raw, method, typed_error))
    }
}

/// What lets a call with items be awaited: nothing does, and the compiler says why.
///
/// Without it the compiler would say no more than that the builder of such a call is no future.
#[diagnostic::on_unimplemented(
    message = "a call of `{Self}` has items, so it is opened, not awaited",
    label = "`.open().await` begins it",
    note = "what `open` gives has the sender and the receiver of the items, and the outcome of the call"
)]
pub trait Awaited: Call {
    /// There is none.
    const NEVER: Infallible;
}

impl<B: Broker, C: Awaited> Future for CallBuilder<B, Opened<C>> {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Infallible> {
        match C::NEVER {}
    }
}
