//! How a line ends: closed, aborted, or a connection of it dropped.

use std::future::poll_fn;
use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::connection::Connection;
use super::untold::Untold;
use super::{Line, Over};
use crate::attribute::Attributes;
use crate::client::board::ClientState;
use crate::dyn_transport::DynTransport;
use crate::error::{Break, Delivery, Error, ErrorKind, Operation};
use crate::transport::Transport;

/// A connection that is to be closed, or aborted, once no poll uses its halves.
pub(super) struct Closing<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) connection: Connection<S, R>,
    how: How,
}

/// What there was to end.
enum Found {
    Nothing,
    Connection,
}

enum How {
    /// Somebody waits for both halves, to close the whole.
    Close(Option<Waker>),
    Abort,
}

impl<S, R> Line<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Closes for good; a second time it waits for the first, and has its result.
    pub(in crate::client) async fn close(&self) -> Result<(), Error> {
        let Some(found) = self.end(|| How::Close(None)) else {
            return self.ended.wait().await;
        };
        let telling = self.ended.tell(|| {
            Error::new(Operation::Close, ErrorKind::Closed)
                .with_peer(self.attributes().peer_addr().cloned())
                .with_delivery(Delivery::MaybeSent)
        });
        let aborting = Aborting(self);
        let whole = poll_fn(|cx| self.poll_whole(cx)).await;
        let closed = match (whole, found) {
            (Some(mut whole), _) => telling.result(whole.close().await),
            (None, Found::Nothing) => telling.result(Ok(())),
            (None, Found::Connection) => telling.aborted(),
        };
        drop(aborting);
        closed
    }

    pub(in crate::client) fn abort(&self) {
        if self.end(|| How::Abort).is_some() {
            self.ended.nothing_to_wait_for();
        }
        let mut state = self.lock();
        let mut waker = None;
        if let Some(closing) = &mut state.closing
            && let How::Close(waiting) = mem::replace(&mut closing.how, How::Abort)
        {
            waker = waiting;
        }
        drop(state);
        self.returned();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends everything; `None` where that was done before.
    fn end(&self, how: impl FnOnce() -> How) -> Option<Found> {
        let mut state = self.lock();
        if matches!(state.over, Some(Over::Closed)) {
            return None;
        }
        let former = state.over.replace(Over::Closed);
        let attempt = state.attempt.take();
        let left = (
            state.old.take(),
            mem::replace(&mut state.untold, Untold::new()),
        );
        let now = state.now.take();
        let found = match now {
            Some(_) => Found::Connection,
            None => Found::Nothing,
        };
        state.closing = now.map(|connection| Closing {
            connection,
            how: how(),
        });
        self.dialling.board.note(ClientState::Closed);
        drop(state);
        self.dialling.board.tell();
        drop((former, attempt, left));
        self.waker.wake_by_ref();
        Some(found)
    }

    /// The transport, once both halves are back; `None` where there is none, or it was aborted.
    fn poll_whole(&self, cx: &Context<'_>) -> Poll<Option<DynTransport<S, R>>> {
        let mut new = Some(cx.waker().clone());
        let mut state = self.lock();
        let Some(closing) = &mut state.closing else {
            return Poll::Ready(None);
        };
        let How::Close(waker) = &mut closing.how else {
            return Poll::Ready(None);
        };
        if closing.connection.sender.is_none() || closing.connection.receiver.is_none() {
            mem::swap(waker, &mut new);
            drop(state);
            drop(new);
            return Poll::Pending;
        }
        let closing = state.closing.take();
        drop(state);
        let whole = closing.and_then(|mut closing| closing.connection.take_whole());
        Poll::Ready(whole)
    }

    /// For a half that came back: goes on with a close or an abort that waited for it.
    pub(super) fn returned(&self) {
        let mut state = self.lock();
        let Some(closing) = &mut state.closing else {
            return;
        };
        let whole = closing.connection.sender.is_some() && closing.connection.receiver.is_some();
        let (waker, ended) = match &mut closing.how {
            How::Close(waker) => (waker.take(), None),
            How::Abort if whole => (None, state.closing.take()),
            How::Abort => (None, None),
        };
        drop(state);
        // Dropped whole, it aborts.
        drop(ended);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Aborts this connection, if it is still there; the next use makes another one. Where connections are
    /// replaced that is a break, of which a `recv` is told.
    pub(in crate::client) fn drop_connection(&self, generation: u64) {
        let mut state = self.lock();
        let is_it = |one: &Option<Connection<S, R>>| {
            one.as_ref().is_some_and(|one| one.generation == generation)
        };
        let now = is_it(&state.now).then(|| state.now.take());
        let old = is_it(&state.old).then(|| state.old.take());
        let now = now.flatten().map(|now| {
            let before = state.gone.suspect(generation);
            let goes_on = self.dialling.gave_up(now.since, now.heard);
            if !goes_on && state.over.is_none() {
                let cause = Error::new(Operation::Recv, ErrorKind::Elapsed).with_source(Unawaited);
                state.over = Some(Over::GivenUp(given_up(cause, self.dialling.tried())));
            }
            self.note_end(goes_on);
            (now, before)
        });
        drop(state);
        self.dialling.board.tell();
        drop(old);
        if let Some((now, before)) = now {
            let frames = self.settle(now, before);
            if self.reconnects() {
                self.put_unawaited(generation, frames);
            }
            self.waker.wake_by_ref();
        }
    }

    /// For a connection that was dropped: keeps for a `recv` that so many frames went with it. Nobody else
    /// has received meanwhile, for who dropped it did.
    fn put_unawaited(&self, generation: u64, frames: usize) {
        let error = Error::new(Operation::Recv, ErrorKind::Broken(Break::Other))
            .with_source(Unawaited)
            .with_delivery(Delivery::MaybeSent)
            .with_unsent_frames(frames)
            .with_peer(self.attributes().peer_addr().cloned());
        let mut state = self.lock();
        if matches!(state.over, Some(Over::Closed)) {
            return;
        }
        let replaced = match state.old {
            Some(_) => (state.untold.put_late(generation, error).map(Err), None),
            None => {
                let [dropped, replaced] = state.untold.put_early(Err(error));
                (dropped, replaced)
            }
        };
        drop(state);
        drop(replaced);
    }
}

/// Why a connection was dropped, and none other is made.
#[derive(Debug, thiserror::Error)]
#[error("its reply was not waited for any longer")]
struct Unawaited;

/// A close under way: dropped, it aborts what it has not closed.
struct Aborting<'a, S, R>(&'a Line<S, R>)
where
    S: Send + Sync + 'static,
    R: Send + 'static;

impl<S, R> Drop for Aborting<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is left to say once attempts are given up: the last cause lies beneath.
pub(super) fn given_up(cause: Error, (attempts, span): (usize, Duration)) -> Error {
    let error = Error::new(Operation::Connect, ErrorKind::NotConnected);
    let error = match cause.place() {
        Some(place) => error.with_place(place),
        None => error,
    };
    error
        .with_peer(cause.peer().cloned())
        .with_attempts(cause.attempts().to_vec())
        .given_up_after(attempts, span)
        .with_source(cause)
}

pub(super) fn error_of(over: Over, operation: Operation, attributes: &Attributes) -> Error {
    match over {
        Over::Closed => {
            Error::new(operation, ErrorKind::Closed).with_peer(attributes.peer_addr().cloned())
        }
        Over::GivenUp(error) => error,
    }
}
