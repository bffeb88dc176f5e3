use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bowline_backend::stream::ByteStream;
use bowline_codec::Codec;
use futures_core::Stream;

use super::{MessageReceiver, State};
use crate::error::Error;
use crate::transport::TransportRecv;

/// The messages of a [`MessageReceiver`] as a [`Stream`]; made by
/// [`into_stream`](MessageReceiver::into_stream).
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct MessageItems<S: ByteStream, C: Codec> {
    pub(super) receiver: MessageReceiver<S, C>,
    pub(super) done: bool,
}

impl<S: ByteStream, C: Codec> MessageItems<S, C> {
    /// The receiver again.
    pub fn into_inner(self) -> MessageReceiver<S, C> {
        self.receiver
    }
}

impl<S, C> Stream for MessageItems<S, C>
where
    S: ByteStream,
    C: Codec<Item: Send, Decoder: Unpin>,
{
    type Item = Result<C::Item, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        let next = ready!(this.receiver.poll_recv(cx)).transpose();
        this.done = match &next {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(_)) => matches!(this.receiver.state, State::Failed(_)),
        };
        Poll::Ready(next)
    }
}
