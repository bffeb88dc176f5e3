//! The items of a handler on their way to its caller.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, ready};

use futures_core::Stream;
use serde::Serialize;

use super::bunch::TOGETHER;
use super::raw::{RawSendError, RawSender};
use crate::method::HandlerEnd;
use crate::{Certainty, Code, Codec, Context, NoError};

/// The items that a handler sends to its caller, and that it returns for that: a stream, polled as fast as
/// the caller takes items.
///
/// An error of the stream ends the call with it, as the application error of the method.
///
/// ```
/// use bowline_rpc::Outgoing;
/// use futures_util::stream;
///
/// fn count(to: u32) -> Outgoing<u32> {
///     Outgoing::new(stream::iter(0..to))
/// }
/// # let _ = count;
/// ```
pub struct Outgoing<T, E = NoError> {
    source: Pin<Box<dyn Source<T, E>>>,
}

/// What items come from.
pub(crate) trait Source<T, E>: Send {
    /// The next item.
    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Next<T, E>>;

    /// There is no room for an item now.
    fn poll_ahead(self: Pin<&mut Self>, _: &mut TaskContext<'_>) {}
}

/// What a source gives.
pub(crate) enum Next<T, E> {
    Item(T),
    End,
    Failed(E),
    /// The caller takes items too slowly.
    Lagged,
}

impl<T: Send + 'static> Outgoing<T> {
    /// The items of `stream`.
    pub fn new(stream: impl Stream<Item = T> + Send + 'static) -> Self {
        Self::from_source(Plain { stream })
    }
}

impl<T: Send + 'static, E: Send + 'static> Outgoing<T, E> {
    /// The items of `stream` up to its first error.
    pub fn fallible(stream: impl Stream<Item = Result<T, E>> + Send + 'static) -> Self {
        Self::from_source(Fallible { stream })
    }
}

impl<T, E> Outgoing<T, E> {
    pub(crate) fn from_source(source: impl Source<T, E> + 'static) -> Self {
        Self {
            source: Box::pin(source),
        }
    }
}

/// Sends all items of `source`; without a sender they go nowhere, as those after the caller has gone if it
/// `goes_on` then. An end other than theirs is that of the call.
async fn send_from<T: Serialize, E, S: Source<T, E> + ?Sized>(
    mut source: Pin<&mut S>,
    sender: Option<RawSender>,
    codec: Codec,
    goes_on: bool,
) -> Result<Option<HandlerEnd>, E> {
    let mut sending = Sending {
        sender,
        codec,
        goes_on,
        room: 0,
    };
    poll_fn(|cx| sending.poll(source.as_mut(), cx)).await
}

/// Items on their way from a source to a sender, handed over many at a time: when there is no room for
/// more, and before anything is waited for.
struct Sending {
    sender: Option<RawSender>,
    codec: Codec,
    goes_on: bool,
    /// Charge of items for which there is room, as far as it was asked for.
    room: u64,
}

impl Sending {
    fn poll<T: Serialize, E, S: Source<T, E> + ?Sized>(
        &mut self,
        mut source: Pin<&mut S>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<HandlerEnd>, E>> {
        let end = loop {
            if self.room == 0
                && let Some(sender) = &mut self.sender
            {
                // That it is closed the next look says again.
                let _ = sender.flush();
                match sender.poll_room(cx) {
                    Poll::Ready(Ok(room)) => self.room = room.min(TOGETHER),
                    Poll::Pending => {
                        source.as_mut().poll_ahead(cx);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(_)) if self.goes_on => self.sender = None,
                    Poll::Ready(Err(_)) => break Ok(Some(given_up())),
                }
            }
            let item = match source.as_mut().poll_next(cx) {
                Poll::Ready(Next::Item(item)) => item,
                Poll::Ready(Next::End) => break Ok(None),
                Poll::Ready(Next::Failed(error)) => break Err(error),
                Poll::Ready(Next::Lagged) => break Ok(Some(lagged())),
                Poll::Pending => {
                    self.flush();
                    return Poll::Pending;
                }
            };
            let Some(sender) = &mut self.sender else {
                continue;
            };
            match sender.encode(self.codec, &item) {
                Ok(Ok(charge)) => self.room = self.room.saturating_sub(charge),
                Ok(Err(RawSendError::Closed)) => self.room = 0,
                Ok(Err(error @ RawSendError::TooLarge { .. })) => {
                    break Ok(Some(HandlerEnd::TooLarge {
                        certainty: Certainty::Executed,
                        message: error.to_string(),
                    }));
                }
                Err(error) => {
                    let text = format!("an item did not encode: {error}");
                    break Ok(Some(HandlerEnd::Internal(text)));
                }
            }
        };
        self.flush();
        Poll::Ready(end)
    }

    fn flush(&mut self) {
        if let Some(sender) = &mut self.sender {
            let _ = sender.flush();
            self.room = 0;
        }
    }
}

impl Context {
    /// Sends what a handler returned to its caller. Other ends than that and its own error are those of
    /// the call.
    #[doc(hidden)]
    pub async fn send_all<T: Serialize, E>(&self, mut items: Outgoing<T, E>) -> Result<(), E> {
        self.send_items(items.source.as_mut()).await
    }

    /// The same for a stream that may borrow from its handler.
    #[doc(hidden)]
    pub async fn send_stream<S>(&self, stream: S) -> Result<(), NoError>
    where
        S: Stream + Send,
        S::Item: Serialize,
    {
        self.send_items(pin!(Plain { stream })).await
    }

    /// The same for one that may fail.
    #[doc(hidden)]
    pub async fn send_fallible<T: Serialize, E>(
        &self,
        stream: impl Stream<Item = Result<T, E>> + Send,
    ) -> Result<(), E> {
        self.send_items(pin!(Fallible { stream })).await
    }

    async fn send_items<T: Serialize, E, S: Source<T, E> + ?Sized>(
        &self,
        source: Pin<&mut S>,
    ) -> Result<(), E> {
        let streams = self.streams();
        let (sender, codec) = match streams.map(|streams| streams.outgoing()) {
            Some((sender, codec)) => (sender, codec),
            None => (None, Codec::Postcard),
        };
        let end = send_from(source, sender, codec, self.is_told()).await?;
        if let (Some(end), Some(streams)) = (end, streams) {
            streams.end_with(end);
        }
        Ok(())
    }
}

/// Nobody takes items any more.
fn given_up() -> HandlerEnd {
    HandlerEnd::Failed {
        code: Code::Cancelled,
        certainty: Certainty::Executed,
        message: String::new(),
    }
}

fn lagged() -> HandlerEnd {
    HandlerEnd::Failed {
        code: Code::Overloaded,
        certainty: Certainty::Executed,
        message: "its caller took items too slowly".to_owned(),
    }
}

impl<T, E> fmt::Debug for Outgoing<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    struct Plain<S> {
        #[pin]
        stream: S,
    }
}

pin_project_lite::pin_project! {
    struct Fallible<S> {
        #[pin]
        stream: S,
    }
}

impl<S: Stream + Send> Source<S::Item, NoError> for Plain<S> {
    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Next<S::Item, NoError>> {
        let next = ready!(self.project().stream.poll_next(cx));
        Poll::Ready(next.map_or(Next::End, Next::Item))
    }
}

impl<T, E, S: Stream<Item = Result<T, E>> + Send> Source<T, E> for Fallible<S> {
    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Next<T, E>> {
        Poll::Ready(match ready!(self.project().stream.poll_next(cx)) {
            None => Next::End,
            Some(Ok(item)) => Next::Item(item),
            Some(Err(error)) => Next::Failed(error),
        })
    }
}
