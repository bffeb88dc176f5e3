//! How the connections of a broker end: each as soon as no call is in flight on it, but those that handlers
//! may still call over stay until the last handler has ended.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bowline_backend::time::{self, Instant};

use super::{ConnectionId, Origin, Routes, State, Up};
use crate::Code;

/// How far a broker is from its end; it never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes on connections.
    Open,
    /// It drains, until then at most: no peer opens calls, and handlers that run may make some.
    Draining(Instant),
    /// No handler runs any more, or the time is over.
    Leaving,
    /// Connections were told to close.
    Closed,
}

impl Routes {
    /// Whether no connections of peers are taken on any more.
    pub(in crate::tcp_broker) fn is_closing(&self) -> bool {
        self.state().phase != Phase::Open
    }

    /// Whether it was closed.
    pub(in crate::tcp_broker) fn is_closed(&self) -> bool {
        self.state().is_closed()
    }

    /// Whether calls that are nested so deep get no further attempt: those of handlers do until nobody
    /// runs them.
    pub(in crate::tcp_broker) fn gives_up(&self, hops: u8) -> bool {
        match self.state().phase {
            Phase::Open => false,
            Phase::Draining(_) => hops == 0,
            Phase::Leaving | Phase::Closed => true,
        }
    }

    /// Whether this side makes no more connections.
    pub(in crate::tcp_broker) fn dials_no_more(&self) -> bool {
        matches!(self.state().phase, Phase::Leaving | Phase::Closed)
    }

    /// An attempt to connect, until the answer is dropped: for its outcome calls of handlers wait.
    pub(in crate::tcp_broker) fn connecting(self: &Arc<Self>) -> Connecting {
        self.state().connecting += 1;
        Connecting(self.clone())
    }

    /// Takes no more connections of peers, and ends each as soon as no call is in flight on it, and no
    /// handler that runs may make one. Peers are told that it will be within `within`.
    pub(in crate::tcp_broker) fn drain(&self, within: Duration) {
        let until = time::now().saturating_add(within);
        let mut state = self.state();
        if matches!(state.phase, Phase::Open | Phase::Draining(_)) {
            state.phase = Phase::Draining(until);
        }
        let mailboxes = state.mailboxes();
        let alone = state.left_alone();
        drop(state);
        for mailbox in mailboxes {
            mailbox.drain(within);
        }
        alone.into_iter().for_each(Waker::wake);
    }

    /// The peer of `connection` opens no calls any more, and those it had opened have come.
    pub(in crate::tcp_broker) fn left(&self, connection: ConnectionId) {
        let mut state = self.state();
        let up = state.connections.get_mut(&connection);
        if !up.is_some_and(|up| std::mem::take(&mut up.takes)) {
            return;
        }
        state.taking -= 1;
        let waiting = match state.taking {
            0 => Some(state.departures.take()),
            _ => None,
        };
        drop(state);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether a broker that drains has `connection` for calls that its handlers may make.
    pub(in crate::tcp_broker) fn is_needed(&self, connection: ConnectionId) -> bool {
        let state = self.state();
        let up = state.connections.get(&connection);
        matches!(state.phase, Phase::Draining(_))
            && up.is_some_and(|up| up.may_offer() || state.table.has_offers(connection))
    }

    /// No handler runs any more: a broker that drains needs no connection for them.
    pub(in crate::tcp_broker) fn release(&self) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Draining(_)) {
            return;
        }
        state.phase = Phase::Leaving;
        let mailboxes = state.mailboxes();
        let waiting = state.all_waiting();
        drop(state);
        for mailbox in mailboxes {
            mailbox.release();
        }
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Cancels the calls in flight on all connections; handlers make no more.
    pub(in crate::tcp_broker) fn cancel_calls(&self) {
        self.release();
        let mailboxes = self.state().mailboxes();
        for mailbox in mailboxes {
            mailbox.cancel_all();
        }
    }

    /// Takes no more connections, closes those there are and ends calls that wait for a peer.
    pub(in crate::tcp_broker) fn close(&self, message: &'static str) {
        let mut state = self.state();
        state.phase = Phase::Closed;
        let mailboxes = state.mailboxes();
        let mut wakers = state.all_waiting();
        wakers.extend(state.departures.take());
        drop(state);
        for mailbox in mailboxes {
            mailbox.close(Code::Cancelled, message);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether a connection that came about so is taken on. If it is to end as soon as it may, how long that
    /// takes at most.
    pub(super) fn admits(&self, origin: &Origin) -> Option<Option<Duration>> {
        match (self.phase, origin) {
            (Phase::Open, _) => Some(None),
            (Phase::Draining(until), Origin::Dialed(_)) => {
                Some(Some(until.saturating_duration_since(time::now())))
            }
            _ => None,
        }
    }

    /// Why a call that finds nobody does not wait for a peer to come, if it does not: that of a handler waits
    /// while there is somebody of whom it is not known what he offers.
    pub(super) fn waits_in_vain(&self, nested: bool) -> bool {
        match self.phase {
            Phase::Open | Phase::Closed => false,
            Phase::Draining(_) => {
                nested && self.connecting == 0 && !self.connections.values().any(Up::may_offer)
            }
            Phase::Leaving => nested,
        }
    }

    /// Those who are to look whether they [wait in vain](Self::waits_in_vain), as there may be nobody left
    /// to wait for.
    pub(super) fn left_alone(&self) -> Vec<Waker> {
        match self.phase {
            Phase::Draining(_) => self.all_waiting(),
            _ => Vec::new(),
        }
    }

    fn all_waiting(&self) -> Vec<Waker> {
        self.wakers.values().cloned().collect()
    }
}

impl Up {
    /// Whether it is not known yet what its peer offers. Who comes to a broker that drains is let in no
    /// further.
    fn may_offer(&self) -> bool {
        !self.told && !self.lost && matches!(self.origin, Origin::Dialed(_))
    }
}

/// An attempt to connect is under way.
#[must_use = "it is over when this is dropped"]
pub(in crate::tcp_broker) struct Connecting(Arc<Routes>);

impl Drop for Connecting {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.connecting -= 1;
        let alone = state.left_alone();
        drop(state);
        alone.into_iter().for_each(Waker::wake);
    }
}
