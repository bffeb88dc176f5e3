//! The items of a handler on their way to its caller.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bowline_concurrency::{sleep, yield_now};
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
/// Where the method is declared [`no_cancel`](crate::MethodSpec::no_cancel), the stream is polled on when its caller
/// has gone, and its items are dropped: to its end, or to the deadline of the call or the end of a drain or a
/// shutdown, which drop it. One that is always ready gives about a million items per second then.
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

/// Items of a source that is always ready between two turns of other tasks.
const TURN: usize = 1024;
/// After each turn of one whose items nobody takes: it holds no thread, and time goes on in a simulated world.
const PAUSE: Duration = Duration::from_millis(1);

/// Sends all items of `source`; without a sender they go nowhere, as those after the caller has gone if the
/// handler goes on then. An end other than theirs is that of the call.
async fn send_from<T: Serialize, E, S: Source<T, E> + ?Sized>(
    mut source: Pin<&mut S>,
    sender: Option<RawSender>,
    codec: Codec,
    context: &Context,
) -> Result<Option<HandlerEnd>, E> {
    let mut out_of_time = pin!(context.out_of_time());
    if let Some(sender) = sender {
        let mut sending = Sending {
            sender,
            codec,
            room: 0,
        };
        // A stream that gives nothing more does not hear that its caller has left.
        let sent = poll_fn(|cx| match out_of_time.as_mut().poll(cx) {
            Poll::Ready(code) => Poll::Ready(Sent::Ended(Ok(Some(given_up(code))))),
            Poll::Pending => sending.poll(source.as_mut(), cx),
        });
        match sent.await {
            Sent::Ended(end) => return end,
            Sent::Untaken if context.is_told() => {}
            Sent::Untaken => return Ok(Some(given_up(Code::Cancelled))),
        }
    }
    run_out(source, context, out_of_time).await
}

/// Takes the items of `source` to its end, for nobody, as long as there is time.
async fn run_out<T, E, S: Source<T, E> + ?Sized>(
    mut source: Pin<&mut S>,
    context: &Context,
    mut out_of_time: Pin<&mut impl Future<Output = Code>>,
) -> Result<Option<HandlerEnd>, E> {
    loop {
        let mut left = TURN;
        let end = poll_fn(|cx| {
            if let Poll::Ready(code) = out_of_time.as_mut().poll(cx) {
                return Poll::Ready(Some(Ok(Some(given_up(code)))));
            }
            while left > 0 {
                match ready!(source.as_mut().poll_next(cx)) {
                    Next::Item(_) => left -= 1,
                    Next::End => return Poll::Ready(Some(Ok(None))),
                    Next::Failed(error) => return Poll::Ready(Some(Err(error))),
                    Next::Lagged => return Poll::Ready(Some(Ok(Some(lagged())))),
                }
            }
            Poll::Ready(None)
        });
        if let Some(end) = end.await {
            return end;
        }
        if context.is_told() {
            sleep(PAUSE).await;
        } else {
            // A local run, which needs no backend.
            yield_now().await;
        }
    }
}

/// What became of items on their way.
enum Sent<E> {
    /// They came to their end, or one of them could not be sent.
    Ended(Result<Option<HandlerEnd>, E>),
    /// Nobody takes the others.
    Untaken,
}

/// Items on their way from a source to a sender, handed over many at a time: when there is no room for
/// more, and before anything is waited for.
struct Sending {
    sender: RawSender,
    codec: Codec,
    /// Charge of items for which there is room, as far as it was asked for.
    room: u64,
}

impl Sending {
    fn poll<T: Serialize, E, S: Source<T, E> + ?Sized>(
        &mut self,
        mut source: Pin<&mut S>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Sent<E>> {
        let mut left = TURN;
        let end = loop {
            if self.room == 0 {
                // That it is closed the next look says again.
                let _ = self.sender.flush();
                match self.sender.poll_room(cx) {
                    Poll::Ready(Ok(room)) => self.room = room.min(TOGETHER),
                    Poll::Pending => {
                        source.as_mut().poll_ahead(cx);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Sent::Untaken),
                }
            }
            if left == 0 {
                // The caller keeps up, on another thread.
                self.flush();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            left -= 1;
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
            match self.sender.encode(self.codec, &item) {
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
        Poll::Ready(Sent::Ended(end))
    }

    fn flush(&mut self) {
        let _ = self.sender.flush();
        self.room = 0;
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
        let end = send_from(source, sender, codec, self).await?;
        if let (Some(end), Some(streams)) = (end, streams) {
            streams.end_with(end);
        }
        Ok(())
    }
}

/// Nobody takes items any more.
fn given_up(code: Code) -> HandlerEnd {
    HandlerEnd::Failed {
        code,
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
