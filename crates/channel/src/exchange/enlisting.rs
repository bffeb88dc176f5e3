//! Operations that are arms of a select.

use std::sync::atomic::Ordering;

use super::state::{RecvStep, SendStep, WaitingSend};
use super::{Claimant, Exchange, Guard, Load, RECEIVES_WAIT, TicketRef};
use crate::error::{RecvError, SendError};
use crate::flavor::Flavor;
use crate::wait_list::Key;
use crate::wakes::Wakes;

/// What came of trying a send arm.
pub(crate) enum SendAttempt<T> {
    Done(Result<(), SendError<T>>),
    /// It waits in the queue.
    Parked(Key),
    /// It would have to wait; nothing was done.
    Full(T),
    /// Another arm was decided; nothing was done.
    Lost(T),
}

/// What came of trying a receive arm.
pub(crate) enum RecvAttempt<T> {
    Done(Result<T, RecvError>),
    /// It waits in the queue, under the key that was set.
    Parked,
    /// It would have to wait; nothing was done.
    Empty,
    /// Another arm was decided; nothing was done.
    Lost,
}

impl<T, F: Flavor> Exchange<T, F> {
    /// Sends if that needs no waiting; else queues, if `entry` says for whom.
    pub(crate) fn attempt_send(
        &self,
        value: T,
        me: Claimant<'_>,
        entry: Option<(TicketRef, usize)>,
    ) -> SendAttempt<T> {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        let attempt = match state.send_now(Load::Value(value), me, &mut wakes) {
            SendStep::Sent => SendAttempt::Done(Ok(())),
            SendStep::Closed(load) => SendAttempt::Done(Err(SendError(load.into_value()))),
            SendStep::Lost(load) => SendAttempt::Lost(load.into_value()),
            SendStep::Full(load) => match entry {
                Some((ticket, arm)) => SendAttempt::Parked(state.enlist_send(load, ticket, arm)),
                None => SendAttempt::Full(load.into_value()),
            },
        };
        drop(state);
        wakes.wake();
        attempt
    }

    /// Receives if that needs no waiting; else queues, if `entry` says for whom, and sets `key`
    /// before anybody is woken: a waker that panics must not leave an entry nobody knows of.
    pub(crate) fn attempt_recv(
        &self,
        me: Claimant<'_>,
        entry: Option<(TicketRef, usize)>,
        key: &mut Option<Key>,
    ) -> RecvAttempt<T> {
        let mut state = self.lock();
        if let Some((ticket, arm)) = entry
            && state.receives_wait()
        {
            *key = Some(state.queue_arm(ticket, arm));
            self.forecast.store(RECEIVES_WAIT, Ordering::Relaxed);
            return RecvAttempt::Parked;
        }
        self.attempt_recv_generally(state, me, entry, key)
    }

    #[inline(never)]
    fn attempt_recv_generally(
        &self,
        mut state: Guard<'_, T, F>,
        me: Claimant<'_>,
        entry: Option<(TicketRef, usize)>,
        key: &mut Option<Key>,
    ) -> RecvAttempt<T> {
        let mut wakes = Wakes::default();
        let attempt = match state.recv_now(me, &mut wakes) {
            RecvStep::Received(value) => {
                drop(state);
                return RecvAttempt::Done(Ok(self.hand_out(value, wakes)));
            }
            RecvStep::Closed => RecvAttempt::Done(Err(RecvError)),
            RecvStep::Lost => RecvAttempt::Lost,
            RecvStep::Empty => match entry {
                Some((ticket, arm)) => {
                    *key = Some(state.enlist_recv(ticket, arm, &mut wakes));
                    RecvAttempt::Parked
                }
                None => RecvAttempt::Empty,
            },
        };
        drop(state);
        wakes.wake();
        attempt
    }

    /// Fetches what the receive arm that a peer decided for was woken for.
    pub(crate) fn conclude_recv(&self, key: Key) -> Result<T, RecvError> {
        let mut state = self.lock();
        if let Some(value) = state.fetch(key) {
            return Ok(value);
        }
        let mut wakes = Wakes::default();
        let outcome = state.conclude_recv(key, &mut wakes);
        drop(state);
        outcome.map(|value| self.hand_out(value, wakes))
    }

    /// Leaves the queue with a receive arm that lost. A promised value goes to
    /// the next receiver, or stays at the head of the buffer.
    #[inline]
    pub(crate) fn leave_recv(&self, key: Key) {
        let left = self.lock().unqueue_arm(key);
        if !left {
            self.forget_recv(key);
        }
    }

    /// Whether a receive will probably have to wait. No more than a guess.
    #[inline]
    pub(crate) fn recv_will_wait(&self) -> bool {
        self.foresees(RECEIVES_WAIT)
    }

    /// Leaves the queue with a send: its outcome if a peer has decided, and
    /// else the value.
    pub(crate) fn leave_send(&self, key: Key) -> Result<Result<(), SendError<T>>, T> {
        let mut wakes = Wakes::default();
        let waiting = self.lock().forget_send(key, &mut wakes);
        wakes.wake();
        match waiting {
            Some(WaitingSend::Waiting(load, _)) => Err(load.into_value()),
            Some(WaitingSend::Returned(load)) => Ok(Err(SendError(load.into_value()))),
            _ => Ok(Ok(())),
        }
    }
}
