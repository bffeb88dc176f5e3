//! Calls that stream, as their callers have them.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::NoItem;
use super::raw::{RawReceiver, RawSendError, RawSender, RawStream};
use super::reader::Item;
use crate::broker::decode_reply;
use crate::{CallError, Certainty, Code, Codec, ErrorBody};

/// How the application error of a call is made of its encoded form.
type DecodeError<E> = fn(Codec, CallError) -> CallError<E>;

/// A call that streams: items `S` to the executor, items `R` back, and then its reply `T`, or an error
/// that may be the method's own `E`. From [`CallBuilder::open`](crate::CallBuilder::open).
///
/// The two ends may be used from two tasks.
#[derive(Debug)]
#[must_use = "dropping it cancels the call"]
pub struct StreamCall<S, R, T = (), E = ErrorBody> {
    /// Items to the executor. Closed from the beginning if the method takes none.
    pub sender: ItemSender<S>,
    /// Items from the executor, and the outcome of the call.
    pub receiver: ItemReceiver<R, T, E>,
}

impl<S, R, T, E> StreamCall<S, R, T, E> {
    pub(crate) fn new(raw: RawStream, method: Arc<str>, decode_error: DecodeError<E>) -> Self {
        let codec = raw.codec;
        Self {
            sender: ItemSender {
                raw: raw.sender,
                codec,
                item: PhantomData,
            },
            receiver: ItemReceiver {
                raw: Some(raw.receiver),
                method,
                codec,
                decode_error,
                item: PhantomData,
            },
        }
    }
}

/// Sends items of a call to its executor.
///
/// Dropped before [`close`](Self::close), it leaves the items incomplete, so that what was cut short is
/// not taken for the whole: the call ends with [`Cancelled`](Code::Cancelled).
#[must_use = "dropping it before it is closed cancels the call"]
pub struct ItemSender<S> {
    raw: RawSender,
    codec: Codec,
    item: PhantomData<fn(S)>,
}

impl<S: Serialize> ItemSender<S> {
    /// Sends an item once there is room for it: the executor's application has taken enough of those
    /// before.
    ///
    /// # Errors
    /// The item was not sent and is given back: [`SendItemError`] says why.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the item was not sent, and is dropped.
    pub async fn send(&mut self, item: S) -> Result<(), SendItemError<S>> {
        match std::future::poll_fn(|cx| self.raw.poll_ready(cx)).await {
            Ok(()) => self.put(item),
            Err(error) => Err(SendItemError::of(item, error)),
        }
    }

    /// Sends an item if there is room for it now.
    ///
    /// # Errors
    /// The item was not sent and is given back: [`TrySendItemError::Full`] if there is no room.
    pub fn try_send(&mut self, item: S) -> Result<(), TrySendItemError<S>> {
        match self.raw.is_ready() {
            Ok(true) => self.put(item).map_err(TrySendItemError::Failed),
            Ok(false) => Err(TrySendItemError::Full(item)),
            Err(error) => Err(TrySendItemError::Failed(SendItemError::of(item, error))),
        }
    }

    /// Completes when there is room for an item.
    ///
    /// # Errors
    /// [`Closed`](RawSendError::Closed): the call is over.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RawSendError>> {
        self.raw.poll_ready(cx)
    }

    fn put(&mut self, item: S) -> Result<(), SendItemError<S>> {
        let encoded = match self.raw.encode(self.codec, &item) {
            Ok(encoded) => encoded,
            Err(error) => {
                let why = error.to_string();
                return Err(SendItemError::Encode { item, why });
            }
        };
        match encoded.and_then(|_| self.raw.flush()) {
            Ok(()) => Ok(()),
            Err(error) => Err(SendItemError::of(item, error)),
        }
    }
}

impl<S> ItemSender<S> {
    /// The items are complete: the handler sees their end after the last one. The call goes on.
    pub fn close(self) {
        self.raw.close();
    }

    /// Whether an item would be refused: the call is over, or its method takes no items.
    pub fn is_closed(&self) -> bool {
        self.raw.is_closed()
    }
}

impl<S> fmt::Debug for ItemSender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ItemSender").field(&self.raw).finish()
    }
}

/// Why an item was not sent, with the item. `Debug` does not require `S: Debug`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendItemError<S> {
    /// The call is over: its receiver says how. Or its method takes no items.
    #[error("the call takes no more items")]
    Closed(S),
    /// It is longer than the other side takes.
    #[error("an item of {actual} bytes; the other side takes {limit}")]
    TooLarge {
        /// The item.
        item: S,
        /// Bytes it may have.
        limit: usize,
        /// Bytes it has, encoded.
        actual: usize,
    },
    /// It did not encode.
    #[error("the item did not encode: {why}")]
    Encode {
        /// The item.
        item: S,
        /// Why not.
        why: String,
    },
}

impl<S> SendItemError<S> {
    fn of(item: S, error: RawSendError) -> Self {
        match error {
            RawSendError::Closed => Self::Closed(item),
            RawSendError::TooLarge { limit, actual } => Self::TooLarge {
                item,
                limit,
                actual,
            },
        }
    }

    /// The item that was not sent.
    pub fn into_inner(self) -> S {
        match self {
            Self::Closed(item) | Self::TooLarge { item, .. } | Self::Encode { item, .. } => item,
        }
    }
}

impl<S> fmt::Debug for SendItemError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Closed(_) => "Closed",
            Self::TooLarge { .. } => "TooLarge",
            Self::Encode { .. } => "Encode",
        };
        write!(f, "SendItemError::{kind}(..)")
    }
}

/// Why an item was not sent without waiting, with the item.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrySendItemError<S> {
    /// There is no room now.
    #[error("there is no room for an item now")]
    Full(S),
    /// Waiting would not help.
    #[error(transparent)]
    Failed(SendItemError<S>),
}

impl<S> TrySendItemError<S> {
    /// The item that was not sent.
    pub fn into_inner(self) -> S {
        match self {
            Self::Full(item) => item,
            Self::Failed(error) => error.into_inner(),
        }
    }

    /// Whether trying again later can succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<S> fmt::Debug for TrySendItemError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("TrySendItemError::Full(..)"),
            Self::Failed(error) => f
                .debug_tuple("TrySendItemError::Failed")
                .field(error)
                .finish(),
        }
    }
}

/// Takes the items of a call, and its outcome.
///
/// Also a [`Stream`] of items, which ends after the first error. Dropping it cancels the call.
#[must_use = "dropping it cancels the call"]
pub struct ItemReceiver<R, T = (), E = ErrorBody> {
    /// `None` once an item could not be decoded.
    raw: Option<RawReceiver>,
    method: Arc<str>,
    codec: Codec,
    decode_error: DecodeError<E>,
    item: PhantomData<fn() -> (R, T)>,
}

impl<R: DeserializeOwned, T, E> ItemReceiver<R, T, E> {
    /// Waits for the next item; `None` once the executor has replied, and after an error.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed, once, after the items that came before. An item that
    /// does not decode is [`BadReply`](Code::BadReply), and ends the call.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn recv(&mut self) -> Result<Option<R>, CallError<E>> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next item if it is here.
    ///
    /// # Errors
    /// [`Empty`](TryRecvItemError::Empty) if it is still to come, and else as [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<R, TryRecvItemError<E>> {
        match self.poll_recv(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(TryRecvItemError::Empty),
            Poll::Ready(Ok(Some(item))) => Ok(item),
            Poll::Ready(Ok(None)) => Err(TryRecvItemError::Ended),
            Poll::Ready(Err(error)) => Err(TryRecvItemError::Failed(error)),
        }
    }

    /// As [`recv`](Self::recv), for who polls.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, CallError<E>>> {
        let Some(raw) = &mut self.raw else {
            return Poll::Ready(Ok(None));
        };
        let codec = self.codec;
        let mut decode = |item: Item<'_>| codec.decode(item.as_slice());
        if let Some(Ok(item)) = raw.take_in_hand(&mut decode) {
            return Poll::Ready(Ok(Some(item)));
        }
        raw.poll_take(cx, decode).map(|received| match received {
            Ok(None) => Ok(None),
            Ok(Some(Ok(item))) => Ok(Some(item)),
            Ok(Some(Err(error))) => {
                // Dropped, it cancels the call.
                self.raw = None;
                let failed = CallError::new(Code::BadReply, Certainty::MaybeExecuted);
                let failed = failed.with_message(format!("an item did not decode: {error}"));
                Err(failed.of_method(self.method.clone()))
            }
            Err(error) => Err((self.decode_error)(codec, error).of_method(self.method.clone())),
        })
    }
}

impl<R, T: DeserializeOwned, E> ItemReceiver<R, T, E> {
    /// Waits for the reply; items that have not been taken are dropped.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    pub async fn reply(self) -> Result<T, CallError<E>> {
        let Some(raw) = self.raw else {
            let error = CallError::new(Code::BadReply, Certainty::MaybeExecuted);
            return Err(error.of_method(self.method));
        };
        let outcome = match raw.reply().await {
            Ok(reply) => decode_reply(&reply),
            Err(error) => Err((self.decode_error)(self.codec, error)),
        };
        outcome.map_err(|error| error.of_method(self.method))
    }
}

impl<R: DeserializeOwned, T, E> Stream for ItemReceiver<R, T, E> {
    type Item = Result<R, CallError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx).map(Result::transpose)
    }
}

impl<R, T, E> Unpin for ItemReceiver<R, T, E> {}

impl<R, T, E> fmt::Debug for ItemReceiver<R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ItemReceiver").field(&self.raw).finish()
    }
}

/// Why there is no item now.
#[derive(Debug, thiserror::Error)]
pub enum TryRecvItemError<E = ErrorBody> {
    /// The next one is still to come.
    #[error("no item is here now")]
    Empty,
    /// The executor has replied: there are no more.
    #[error("the call has ended")]
    Ended,
    /// The outcome of a call that did not succeed.
    #[error("{0}")]
    Failed(CallError<E>),
}

/// A [`Call`](crate::Call) that streams; implemented by `#[bowline::rpc]` for functions that take an
/// [`Incoming`](crate::Incoming) or give a stream.
pub trait StreamingCall: crate::Call {
    /// What its caller sends; [`NoItem`] if nothing.
    type Sends: Serialize + DeserializeOwned + Send + 'static;
    /// What its executor sends back before the reply; [`NoItem`] if nothing.
    type Receives: Serialize + DeserializeOwned + Send + 'static;
}

const _: () = {
    const fn travels<T: Serialize + DeserializeOwned + Send + 'static>() {}
    travels::<NoItem>();
};
