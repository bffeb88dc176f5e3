//! The items of a caller, as a handler has them.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::pipe::{End, Pipe};
use super::reader::{Item, Reader};
use crate::Codec;
use crate::small_bodies::SmallBodies;

/// The items that the caller of a method sends: what a handler takes as its last parameter.
///
/// Also a [`Stream`] of items, which ends after the first error. Dropped before its end, it discards the
/// items that still come.
pub struct Incoming<T> {
    raw: Option<RawIncoming>,
    codec: Codec,
    item: PhantomData<fn() -> T>,
}

impl<T> Incoming<T> {
    pub(crate) fn new(raw: Option<RawIncoming>, codec: Codec) -> Self {
        Self {
            raw,
            codec,
            item: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Incoming<T> {
    /// Waits for the next item; `None` once the caller has said that they are complete, and after an
    /// error.
    ///
    /// # Errors
    /// [`ItemError::Malformed`] for an item that does not decode, and [`ItemError::Incomplete`] if the
    /// caller is gone before it was done: an end that says nothing is never taken for the end.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn recv(&mut self) -> Result<Option<T>, ItemError> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next item if it is here: none is `Pending`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Poll<Result<Option<T>, ItemError>> {
        self.poll_recv(&mut Context::from_waker(Waker::noop()))
    }

    /// As [`recv`](Self::recv), for who polls.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, ItemError>> {
        let Some(raw) = &mut self.raw else {
            return Poll::Ready(Ok(None));
        };
        let codec = self.codec;
        let decode = |item: Item<'_>| codec.decode(item.as_slice());
        let received = std::task::ready!(raw.poll_take(cx, decode));
        let decoded = match received {
            Ok(Some(Ok(item))) => Ok(Some(item)),
            Ok(Some(Err(error))) => Err(ItemError::Malformed {
                why: error.to_string(),
            }),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if !matches!(decoded, Ok(Some(_))) {
            self.raw = None;
        }
        Poll::Ready(decoded)
    }
}

impl<T: DeserializeOwned> Stream for Incoming<T> {
    type Item = Result<T, ItemError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx).map(Result::transpose)
    }
}

impl<T> Unpin for Incoming<T> {}

impl<T> fmt::Debug for Incoming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.raw).finish()
    }
}

/// Why a handler gets no more items of its caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// An item did not decode.
    #[error("an item did not decode: {why}")]
    Malformed {
        /// Why not.
        why: String,
    },
    /// The caller is gone before it said that its items are complete.
    #[error("the caller is gone before its items were complete")]
    Incomplete,
}

/// Encoded items of a caller.
#[derive(Debug)]
pub(crate) struct RawIncoming {
    reader: Reader,
    bodies: SmallBodies,
}

impl RawIncoming {
    pub(crate) fn new(pipe: Arc<Pipe>) -> Self {
        Self {
            reader: Reader::new(pipe),
            bodies: SmallBodies::default(),
        }
    }

    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ItemError>> {
        let mut bodies = std::mem::take(&mut self.bodies);
        let received = self.poll_take(cx, |item| item.into_bytes(&mut bodies));
        self.bodies = bodies;
        received
    }

    /// The same, where `take` is given the item in place.
    fn poll_take<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Item<'_>) -> R,
    ) -> Poll<Result<Option<R>, ItemError>> {
        self.reader.poll_item(cx, &mut take).map(|item| match item {
            Ok(item) => Ok(Some(item)),
            Err(End::Complete) => Ok(None),
            Err(End::Broken) => Err(ItemError::Incomplete),
        })
    }
}

impl Drop for RawIncoming {
    fn drop(&mut self) {
        self.reader.pipe().discard();
    }
}
