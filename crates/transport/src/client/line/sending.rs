//! The sending side of a line.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, ready};

use bowline_backend::time::Instant;
use bowline_codec::EncodeError;

use super::connection::Connection;
use super::ending::{error_of, given_up};
use super::flushing::holds_back;
use super::{Line, Over, State, Waiting};
use crate::client::board::ClientState;
use crate::client::dialling::Dialling;
use crate::dyn_transport::DynSender;
use crate::error::{Delivery, Error, ErrorKind, Operation};
use crate::half_wakers::Half;
use crate::transport::TransportSend;

/// How a sender queues: at once on its way, or only queued.
pub(in crate::client) type QueueBy<S, R> = fn(&mut DynSender<S, R>, &S) -> Result<(), EncodeError>;

/// The same, once there is room.
pub(in crate::client) type SendBy<S, R> =
    fn(&mut DynSender<S, R>, &mut Context<'_>, &S) -> Poll<Result<(), Error>>;

/// Why a message was not queued.
pub(in crate::client) enum NotQueued {
    Refused(EncodeError),
    /// The connection that there was room on is gone.
    Gone(Error),
}

impl<S, R> Line<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Waits for a connection, and for room on it.
    pub(in crate::client) fn poll_reserve(
        &self,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let reserved = self.poll_sender(waiting, cx, |sender, cx| sender.poll_reserve(cx));
        reserved.map_ok(drop)
    }

    /// Waits for a connection and room, and queues the message in the same poll; answers which connection that
    /// is.
    pub(in crate::client) fn poll_send(
        &self,
        message: &S,
        by: SendBy<S, R>,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
    ) -> Poll<Result<u64, Error>> {
        self.poll_sender(waiting, cx, |sender, cx| by(sender, cx, message))
    }

    /// Waits for a connection, and polls its sender; answers which connection that is. Of one that broke
    /// and is replaced it waits for the next.
    fn poll_sender(
        &self,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
        poll: impl Fn(&mut DynSender<S, R>, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Poll<Result<u64, Error>> {
        loop {
            self.check_not_shut_down(Operation::Send)?;
            ready!(self.poll_ready(Half::Sender, Operation::Send, waiting, cx))?;
            let Some(mut sender) = self.sender(Operation::Send)? else {
                continue;
            };
            // What it says then is of packets before this one.
            if sender.of_packets
                && let Err(error) = ready!(sender.poll_reserve(cx))
            {
                self.sender_failed(sender, error)?;
                continue;
            }
            let error = match ready!(poll(&mut sender, cx)) {
                Ok(()) => return Poll::Ready(Ok(sender.generation)),
                Err(error) => error,
            };
            // A packet that was refused counts itself, and is offered to the next socket.
            let error = match sender.of_packets && self.goes_on_elsewhere(&error) {
                true => error.with_unsent_frames(0),
                false => error,
            };
            self.sender_failed(sender, error)?;
        }
    }

    /// Queues one message on the connection that there is, by a function of its sender; answers which
    /// connection that is.
    pub(in crate::client) fn queue(
        &self,
        message: &S,
        by: QueueBy<S, R>,
    ) -> Result<u64, NotQueued> {
        let sender = self.sender(Operation::Send).map_err(NotQueued::Gone)?;
        let Some(mut sender) = sender else {
            let gone = Error::new(Operation::Send, ErrorKind::NotConnected);
            return Err(NotQueued::Gone(gone));
        };
        let queued = by(&mut sender, message);
        let generation = sender.generation;
        drop(sender);
        queued.map(|()| generation).map_err(NotQueued::Refused)
    }

    /// The sender goes, and with it what it could send.
    pub(in crate::client) fn drop_sender(&self) {
        let mut state = self.lock();
        state.sender_dropped = true;
        // Who receives may still connect.
        state.shut_down |= state.now.is_some();
        let sender = state.now.as_mut().and_then(|now| now.sender.take());
        drop(state);
        drop(sender);
        self.stop_waiting(Half::Sender);
        self.waker.wake_by_ref();
    }

    pub(super) fn check_over(&self, operation: Operation) -> Result<(), Error> {
        let state = self.lock();
        match state.over.clone() {
            None => Ok(()),
            Some(over) => {
                let attributes = state.attributes.clone();
                drop(state);
                Err(error_of(over, operation, &attributes))
            }
        }
    }

    fn check_not_shut_down(&self, operation: Operation) -> Result<(), Error> {
        let state = self.lock();
        if !state.shut_down {
            return Ok(());
        }
        let attributes = state.attributes.clone();
        drop(state);
        Err(error_of(Over::Closed, operation, &attributes))
    }

    /// What becomes of an error of the sender: nothing more to say where another connection is to
    /// be waited for.
    pub(super) fn sender_failed(
        &self,
        mut sender: Sending<'_, S, R>,
        error: Error,
    ) -> Result<(), Error> {
        let generation = sender.generation;
        let ends = sender.ends_with(&error);
        let elsewhere = self.goes_on_elsewhere(&error);
        let unwritten = match error.unsent_frames() {
            0 if elsewhere && holds_back(&mut sender) => 1,
            frames => frames,
        };
        drop(sender);
        if !error.is_final() {
            return Err(error);
        }
        if !elsewhere {
            // The error of a packet closes nothing.
            if ends {
                self.end_for_good(generation, &error);
            }
            return Err(error);
        }
        // Of those that were queued; the one that was to be sent was not.
        let error = error.with_delivery(Delivery::MaybeSent);
        let mut state = self.lock();
        let Some(mut connection) = state.now.take_if(|now| now.generation == generation) else {
            return Ok(());
        };
        let sender = connection.sender.take();
        if unwritten > 0 {
            state.gone.note(generation, unwritten);
        }
        let goes_on = state.end_series(&self.dialling, connection.since, &error);
        let mut left = Some(connection);
        let replaced = if state.old.is_none() {
            let replaced = state.untold.old_is_gone();
            if let Some(old) = &mut left {
                old.broken = Some(error);
            }
            state.old = left.take();
            replaced
        } else {
            state.untold.put_late(generation, error)
        };
        self.note_end(goes_on);
        drop(state);
        self.tell_end();
        drop((sender, left, replaced));
        Ok(())
    }

    /// Whether another connection takes the place of one that ended with this error.
    fn goes_on_elsewhere(&self, error: &Error) -> bool {
        error.is_final() && self.replaces()
    }

    /// Whether nothing can be sent after this error of a sender.
    pub(in crate::client) fn sending_ends_with(&self, error: &Error) -> bool {
        match self.sender(Operation::Send) {
            Ok(Some(sender)) => !self.replaces() && sender.ends_with(error),
            // It is being made, or lent to who will see for himself.
            Ok(None) | Err(_) => self.lock().over.is_some(),
        }
    }

    /// Under the lock: there is no connection any more.
    pub(super) fn note_end(&self, goes_on: bool) {
        self.dialling.board.note(match goes_on {
            true => ClientState::Idle,
            false => ClientState::Closed,
        });
    }

    /// Outside of it.
    pub(super) fn tell_end(&self) {
        self.dialling.board.tell();
        self.waker.wake_by_ref();
    }

    /// Whether a connection that breaks now is replaced.
    pub(in crate::client) fn replaces(&self) -> bool {
        self.reconnects() && !self.lock().shut_down
    }

    /// Takes the sender of the connection that there is.
    pub(super) fn sender(&self, operation: Operation) -> Result<Option<Sending<'_, S, R>>, Error> {
        let mut state = self.lock();
        let Some(now) = &mut state.now else {
            return Ok(None);
        };
        let (generation, of_packets) = (now.generation, now.of_packets);
        match now.sender.take() {
            Some(sender) => Ok(Some(Sending {
                line: self,
                generation,
                of_packets,
                sender: Some(sender),
            })),
            None => Err(Error::new(operation, ErrorKind::Busy)),
        }
    }
}

impl<S, R> State<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// For a connection made at `since` that broke: whether there is to be another one.
    pub(super) fn end_series(
        &mut self,
        dialling: &Dialling<S, R>,
        since: Option<Instant>,
        cause: &Error,
    ) -> bool {
        let goes_on = dialling.broke(since, cause);
        if !goes_on && self.over.is_none() {
            self.over = Some(Over::GivenUp(given_up(cause.clone(), dialling.tried())));
        }
        goes_on
    }

    pub(super) fn connection(&mut self, generation: u64) -> Option<&mut Connection<S, R>> {
        let closing = self.closing.as_mut().map(|closing| &mut closing.connection);
        let mut known = [self.now.as_mut(), self.old.as_mut(), closing].into_iter();
        known.find_map(|one| one.filter(|one| one.generation == generation))
    }
}

/// The sender while it is polled; dropped, it is back.
pub(super) struct Sending<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    line: &'a Line<S, R>,
    generation: u64,
    /// Each message is a packet.
    of_packets: bool,
    sender: Option<DynSender<S, R>>,
}

impl<S, R> Deref for Sending<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    type Target = DynSender<S, R>;

    fn deref(&self) -> &DynSender<S, R> {
        self.sender.as_ref().expect("it is here until the drop")
    }
}

impl<S, R> DerefMut for Sending<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn deref_mut(&mut self) -> &mut DynSender<S, R> {
        self.sender.as_mut().expect("it is here until the drop")
    }
}

impl<S, R> Drop for Sending<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if let Some(connection) = state.connection(self.generation) {
            connection.sender = self.sender.take();
        }
        drop(state);
        self.line.returned();
    }
}
