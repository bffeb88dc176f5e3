//! The items of a handler on their way to its caller.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, ready};

use futures_core::Stream;
use serde::Serialize;

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
    mut sender: Option<RawSender>,
    codec: Codec,
    goes_on: bool,
) -> Result<Option<HandlerEnd>, E> {
    let mut gone = false;
    loop {
        if let Some(sender) = &mut sender {
            let room = poll_fn(|cx| {
                let room = sender.poll_ready(cx);
                if room.is_pending() {
                    source.as_mut().poll_ahead(cx);
                }
                room
            });
            if room.await.is_err() {
                if !goes_on {
                    return Ok(Some(given_up()));
                }
                gone = true;
            }
        }
        if gone {
            sender = None;
        }
        let item = match poll_fn(|cx| source.as_mut().poll_next(cx)).await {
            Next::Item(item) => item,
            Next::End => return Ok(None),
            Next::Failed(error) => return Err(error),
            Next::Lagged => return Ok(Some(lagged())),
        };
        let Some(sender) = &mut sender else { continue };
        let sent = match codec.encode(&item) {
            Ok(body) => sender.start_send(body),
            Err(error) => {
                let text = format!("an item did not encode: {error}");
                return Ok(Some(HandlerEnd::Internal(text)));
            }
        };
        match sent {
            Ok(()) => {}
            // The next look says so again.
            Err(RawSendError::Closed) => {}
            Err(error @ RawSendError::TooLarge { .. }) => {
                return Ok(Some(HandlerEnd::TooLarge {
                    certainty: Certainty::Executed,
                    message: error.to_string(),
                }));
            }
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
