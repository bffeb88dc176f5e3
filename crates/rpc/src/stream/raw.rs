//! Calls that stream, encoded: what brokers carry.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use serde::Serialize;

use super::bunch::{Buffer, Buffered, Bunch};
use super::pipe::{Closed, End, Pipe};
use super::reader::{Item, Reader};
use crate::codec::FormatError;
use crate::proto::charge;
use crate::small_bodies::SmallBodies;
use crate::{CallError, Certainty, Code, Codec, Reply};

/// What becomes of a call.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>>;

/// A call that streams, with encoded items: its two ends on the caller's side. From
/// [`Broker::open`](crate::Broker::open).
#[derive(Debug)]
#[must_use = "dropping it cancels the call"]
#[non_exhaustive]
pub struct RawStream {
    /// Items to the executor; closed from the beginning if the call sends none.
    pub sender: RawSender,
    /// Items from the executor, and the outcome.
    pub receiver: RawReceiver,
    /// The format of the items, as that of a [`Reply`].
    pub codec: Codec,
}

impl RawStream {
    /// `sent` and `received` are the pipes of the call; without `sends` nothing is sent. An item has at
    /// most `longest` bytes.
    pub(crate) fn new(
        (sent, sends): (Arc<Pipe>, bool),
        received: Arc<Pipe>,
        outcome: Outcome,
        (codec, longest): (Codec, usize),
    ) -> Self {
        if !sends {
            sent.end(End::Complete);
            sent.close();
        }
        Self {
            sender: RawSender::new(sent.clone(), longest),
            receiver: RawReceiver {
                sent: sends.then_some(sent),
                received: Reader::new(received),
                bodies: SmallBodies::default(),
                outcome: Some(outcome),
                end: None,
                turn: 0,
            },
            codec,
        }
    }
}

impl RawStream {
    /// The same call, with what `change` makes of its outcome.
    pub(crate) fn map_outcome(mut self, change: impl FnOnce(Outcome) -> Outcome) -> Self {
        self.receiver.outcome = self.receiver.outcome.take().map(change);
        self
    }
}

/// Why an encoded item was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawSendError {
    /// The call is over, or its items are complete.
    #[error("the call takes no more items")]
    Closed,
    /// It is longer than the other side takes.
    #[error("an item of {actual} bytes; the other side takes {limit}")]
    TooLarge {
        /// Bytes it may have.
        limit: usize,
        /// Bytes it has.
        actual: usize,
    },
}

/// Sends encoded items of a call.
///
/// Dropped before [`close`](Self::close), it leaves the items incomplete: the call is cancelled.
pub struct RawSender {
    pipe: Arc<Pipe>,
    longest: usize,
    /// Items that the pipe has not got yet.
    buffer: Buffer,
}

impl RawSender {
    /// `longest` bytes an item may have.
    pub(crate) fn new(pipe: Arc<Pipe>, longest: usize) -> Self {
        Self {
            pipe,
            longest,
            buffer: Buffer::default(),
        }
    }

    /// Whether there is room for an item.
    ///
    /// # Errors
    /// [`Closed`](RawSendError::Closed).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RawSendError>> {
        self.poll_room(cx).map_ok(drop)
    }

    /// The same, and up to which charge.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, RawSendError>> {
        let room = self.pipe.poll_room(cx);
        room.map_err(|Closed| RawSendError::Closed)
    }

    /// Whether there is room for an item now; the error of [`poll_ready`](Self::poll_ready).
    ///
    /// # Errors
    /// [`Closed`](RawSendError::Closed).
    pub fn is_ready(&self) -> Result<bool, RawSendError> {
        match self.pipe.room() {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(Closed)) => Err(RawSendError::Closed),
        }
    }

    /// Checks that an item of so many bytes may be sent.
    pub(crate) fn check(&self, actual: usize) -> Result<(), RawSendError> {
        match self.longest {
            limit if actual > limit => Err(RawSendError::TooLarge { limit, actual }),
            _ => Ok(()),
        }
    }

    /// Hands an item over, after [`poll_ready`](Self::poll_ready) or
    /// [`is_ready`](Self::is_ready) said that there is room.
    ///
    /// # Errors
    /// Every kind.
    pub fn start_send(&mut self, item: Bytes) -> Result<(), RawSendError> {
        self.check(item.len())?;
        match self.buffer.push(item) {
            None => self.flush(),
            Some(item) => self.put(Bunch::One(item)),
        }
    }

    /// Encodes an item, which is handed over by the next [`flush`](Self::flush) if it is not at once. Gives
    /// its charge.
    pub(crate) fn encode<T: Serialize>(
        &mut self,
        codec: Codec,
        item: &T,
    ) -> Result<Result<u64, RawSendError>, FormatError> {
        let sent = match self.buffer.encode(codec, item, self.longest)? {
            Buffered::Here(charge) => Ok(charge),
            Buffered::Apart(item) => {
                let charge = charge(item.len());
                let sent = self.flush().and_then(|()| self.put(Bunch::One(item)));
                sent.map(|()| charge)
            }
            Buffered::TooLong(actual) => Err(RawSendError::TooLarge {
                limit: self.longest,
                actual,
            }),
        };
        Ok(sent)
    }

    /// Hands over what was encoded.
    pub(crate) fn flush(&mut self) -> Result<(), RawSendError> {
        match self.buffer.take() {
            Some(items) => self.put(items),
            None => Ok(()),
        }
    }

    fn put(&self, items: Bunch) -> Result<(), RawSendError> {
        self.pipe.put(items).map_err(|Closed| RawSendError::Closed)
    }

    /// Sends an item, once there is room for it.
    ///
    /// # Errors
    /// Every kind.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the item was not sent.
    pub async fn send(&mut self, item: Bytes) -> Result<(), RawSendError> {
        self.check(item.len())?;
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_send(item)
    }

    /// The items are complete: the executor is told so after the last one.
    pub fn close(self) {
        self.pipe.end(End::Complete);
    }

    /// Whether an item would be refused.
    pub fn is_closed(&self) -> bool {
        self.pipe.is_closed()
    }
}

impl Drop for RawSender {
    fn drop(&mut self) {
        // What came before the end comes before it there too.
        let _ = self.flush();
        // Nothing, after `close`.
        self.pipe.end(End::Broken);
    }
}

impl fmt::Debug for RawSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSender")
            .field("pipe", &self.pipe)
            .finish_non_exhaustive()
    }
}

/// Items between two looks at the outcome.
const TURNS: u8 = 64;

/// Takes encoded items of a call, and its outcome. Dropping it cancels the call.
#[must_use = "dropping it cancels the call"]
pub struct RawReceiver {
    /// Of the items to the executor, if there are any.
    sent: Option<Arc<Pipe>>,
    received: Reader,
    bodies: SmallBodies,
    /// Until it is known.
    outcome: Option<Outcome>,
    /// What it was, until somebody asks.
    end: Option<Result<Reply, CallError>>,
    turn: u8,
}

impl RawReceiver {
    /// The next item; `None` once the executor has replied, which [`reply`](Self::reply) then gives.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed, once, after the items that came before.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        let mut bodies = std::mem::take(&mut self.bodies);
        let received = self.poll_take(cx, |item| item.into_bytes(&mut bodies));
        self.bodies = bodies;
        received
    }

    /// The same, where `take` is given the item in place.
    pub(crate) fn poll_take<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Item<'_>) -> R,
    ) -> Poll<Result<Option<R>, CallError>> {
        let take = &mut take;
        // Now and then the outcome is asked for though there are items: it has the deadline.
        if self.turn < TURNS
            && let Some(Ok(item)) = self.received.try_item(take)
        {
            self.turn += 1;
            return Poll::Ready(Ok(Some(item)));
        }
        self.turn = 0;
        if let Some(outcome) = &mut self.outcome {
            // One that was dropped before it was told of the end cancels the call, whatever comes.
            let end = match self.sent.as_ref().and_then(|sent| sent.watch(cx)) {
                Some(End::Broken) => Poll::Ready(Err(unfinished())),
                _ => outcome.as_mut().poll(cx),
            };
            if let Poll::Ready(end) = end {
                self.outcome = None;
                self.end = Some(self.unless_cut_short(end));
                self.close_sent();
                // No item comes after it.
                self.received.pipe().end(End::Broken);
            }
        }
        if self.outcome.is_some() {
            return match self.received.poll_item(cx, take) {
                Poll::Ready(Ok(item)) => Poll::Ready(Ok(Some(item))),
                // What comes next is the outcome, which wakes too.
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            };
        }
        // The last items came before the outcome.
        if let Some(Ok(item)) = self.received.try_item(take) {
            return Poll::Ready(Ok(Some(item)));
        }
        match self.end.take() {
            Some(Err(error)) => Poll::Ready(Err(error)),
            reply => {
                self.end = reply;
                Poll::Ready(Ok(None))
            }
        }
    }

    /// The next item if it has been taken out of the pipe with others, and nothing is to be looked at before
    /// it is given. The short way, for those that are not the first of their bunch.
    #[inline]
    pub(crate) fn take_in_hand<R>(&mut self, take: &mut impl FnMut(Item<'_>) -> R) -> Option<R> {
        if self.turn >= TURNS {
            return None;
        }
        let item = self.received.take_in_hand(take)?;
        self.turn += 1;
        Some(item)
    }

    /// Waits for the next item; `None` once the executor has replied.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed, once, after the items that came before.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn recv(&mut self) -> Result<Option<Bytes>, CallError> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next item, if it is here: none is `Pending`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Poll<Result<Option<Bytes>, CallError>> {
        self.poll_recv(&mut Context::from_waker(Waker::noop()))
    }

    /// Waits for the reply; items that have not been taken are dropped.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed; [`Code::Cancelled`] if
    /// [`recv`](Self::recv) has given it already.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    pub async fn reply(mut self) -> Result<Reply, CallError> {
        while self.recv().await?.is_some() {}
        self.end.take().unwrap_or_else(|| {
            let error = CallError::new(Code::Cancelled, Certainty::MaybeExecuted);
            Err(error.with_message("the outcome was given before"))
        })
    }

    fn unless_cut_short(&self, end: Result<Reply, CallError>) -> Result<Reply, CallError> {
        match self.sent.as_ref().and_then(|sent| sent.ended()) {
            Some(End::Broken) => Err(unfinished()),
            _ => end,
        }
    }

    /// Nothing that is still sent would be heard of.
    fn close_sent(&self) {
        if let Some(sent) = &self.sent {
            // What is cut short is no end.
            sent.end(End::Broken);
            sent.close();
        }
    }
}

impl Drop for RawReceiver {
    fn drop(&mut self) {
        self.received.pipe().close();
        self.close_sent();
    }
}

fn unfinished() -> CallError {
    CallError::new(Code::Cancelled, Certainty::MaybeExecuted)
        .with_message("the sender was dropped before it was closed")
}

impl fmt::Debug for RawReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawReceiver")
            .field("pipe", self.received.pipe())
            .field("ended", &self.outcome.is_none())
            .finish_non_exhaustive()
    }
}
