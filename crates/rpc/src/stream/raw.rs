//! Calls that stream, encoded: what brokers carry.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::pipe::{Closed, End, Pipe};
use crate::{CallError, Certainty, Code, Reply};

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
}

impl RawStream {
    /// `sent` and `received` are the pipes of the call; without `sends` nothing is sent.
    pub(crate) fn new(
        (sent, sends): (Arc<Pipe>, bool),
        received: Arc<Pipe>,
        outcome: Outcome,
        longest: usize,
    ) -> Self {
        if !sends {
            sent.end(End::Complete);
            sent.close();
        }
        Self {
            sender: RawSender::new(sent.clone(), longest),
            receiver: RawReceiver {
                sent: sends.then_some(sent),
                received,
                outcome: Some(outcome),
                end: None,
                turn: 0,
            },
        }
    }
}

impl RawStream {
    /// The same call, with what `change` makes of its outcome.
    #[cfg(feature = "tracing")]
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
}

impl RawSender {
    /// `longest` bytes an item may have.
    pub(crate) fn new(pipe: Arc<Pipe>, longest: usize) -> Self {
        Self { pipe, longest }
    }

    /// Whether there is room for an item.
    ///
    /// # Errors
    /// [`Closed`](RawSendError::Closed).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RawSendError>> {
        let ready = self.pipe.poll_room(cx);
        ready.map_err(|Closed| RawSendError::Closed)
    }

    /// Whether there is room for an item now; the error of [`poll_ready`](Self::poll_ready).
    ///
    /// # Errors
    /// [`Closed`](RawSendError::Closed).
    pub fn is_ready(&self) -> Result<bool, RawSendError> {
        match self.pipe.room() {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
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
        self.pipe.put(item).map_err(|Closed| RawSendError::Closed)
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
    received: Arc<Pipe>,
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
        // Now and then the outcome is asked for though there are items: it has the deadline.
        self.turn = self.turn.wrapping_add(1);
        if !self.turn.is_multiple_of(TURNS)
            && let Some(Ok(item)) = self.received.try_item()
        {
            return Poll::Ready(Ok(Some(item)));
        }
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
                self.received.end(End::Broken);
            }
        }
        if self.outcome.is_some() {
            let item = self.received.poll_item(cx);
            return match item {
                Poll::Ready(Ok(item)) => Poll::Ready(Ok(Some(item))),
                // What comes next is the outcome, which wakes too.
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            };
        }
        // The last items came before the outcome.
        if let Some(Ok(item)) = self.received.try_item() {
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
        self.received.close();
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
            .field("pipe", &self.received)
            .field("ended", &self.outcome.is_none())
            .finish_non_exhaustive()
    }
}
