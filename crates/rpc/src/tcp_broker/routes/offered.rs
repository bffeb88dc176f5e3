//! What is offered: what peers tell of it, and what this side offers itself.

use std::task::Waker;

use bowline_backend::time;

use super::{ConnectionId, Destination, Identity, Losses, Routes, State};
use crate::proto::{Advertised, KnownAs, MethodId};
use crate::tcp_broker::offering::Change;
use crate::{MemoryBroker, Peer};

impl Routes {
    /// The peer of `connection` offers `methods`.
    pub(in crate::tcp_broker) fn offer(&self, connection: ConnectionId, methods: Vec<Advertised>) {
        self.wake(|state| {
            let waiting = state.table.offer(connection, methods);
            state.wakers_of(&waiting)
        });
    }

    /// The peer of `connection` has told all its methods for the first time.
    pub(in crate::tcp_broker) fn discovered(&self, connection: ConnectionId) {
        self.wake(|state| {
            state.has_told(connection);
            let waiting = state.table.discovered(connection);
            let mut wakers = state.wakers_of(&waiting);
            wakers.extend(state.left_alone());
            wakers
        });
    }

    /// Does so, wakes whom it gives, and says that who offers what has changed.
    fn wake(&self, change: impl FnOnce(&mut State) -> Vec<Waker>) {
        let mut state = self.state();
        let wakers = change(&mut state);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.changed();
    }

    /// Calls may go to `broker` too, which is this one, once it [offers](Self::change_here) something.
    pub(in crate::tcp_broker) fn join(&self, broker: MemoryBroker, me: Peer) {
        let mut state = self.state();
        let connection = ConnectionId(state.next_connection);
        state.next_connection += 1;
        let (identity, instance) = (Identity::Instance(me.instance()), me.instance());
        let destination = Destination::Here(broker);
        let known_as = KnownAs::Proven("".into());
        state
            .table
            .connect(connection, destination, identity, instance, known_as);
        // Nobody waits for what is not offered.
        let _ = state.table.discovered(connection);
        state.here = Some((connection, me));
    }

    /// What the broker itself offers has changed; who is to be woken.
    pub(in crate::tcp_broker) fn change_here(&self, change: Change) -> Vec<Waker> {
        let mut state = self.state();
        let Some((connection, _)) = state.here else {
            return Vec::new();
        };
        state.table.withdraw(connection, &change.gone);
        let waiting = state.table.offer(connection, change.new);
        let wakers = state.wakers_of(&waiting);
        drop(state);
        self.changed();
        wakers
    }

    /// The peer of `connection` offers `methods` no longer.
    pub(in crate::tcp_broker) fn withdraw(&self, connection: ConnectionId, methods: &[MethodId]) {
        self.state().table.withdraw(connection, methods);
        self.changed();
    }

    /// The connection is lost, with these calls: its peer is none any more.
    pub(in crate::tcp_broker) fn lost(&self, connection: ConnectionId, losses: Losses) {
        let now = time::now();
        self.wake(|state| {
            if let Some(up) = state.connections.get_mut(&connection) {
                up.lost = true;
            }
            state.table.lost(connection, losses, now);
            state.left_alone()
        });
    }

    /// The peer of `connection` takes no new calls.
    pub(in crate::tcp_broker) fn retire(&self, connection: ConnectionId) {
        self.wake(|state| {
            state.has_told(connection);
            state.table.retire(connection);
            state.left_alone()
        });
    }
}

impl State {
    /// What the peer of `connection` offers is known.
    fn has_told(&mut self, connection: ConnectionId) {
        if let Some(up) = self.connections.get_mut(&connection) {
            up.told = true;
        }
    }
}
