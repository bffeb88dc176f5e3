//! Which connections there are, and who is let in.

use std::sync::Arc;
use std::task::Waker;

use super::{ConnectionId, Destination, Identity, Routes, State, Up};
use crate::connection::Mailbox;
use crate::proto::KnownAs;
use crate::tcp_broker::prefix::Prefix;
use crate::{Limits, Peer};

/// Which side opened a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) enum Origin {
    /// This one, to this endpoint.
    Dialed(Arc<str>),
    /// A peer behind this prefix, if its address has one.
    Accepted(Option<Prefix>),
}

/// Why a connection is not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) enum NoRoom {
    /// As many were accepted as may be; one of them will end.
    Full,
    /// Too many peers are in their handshake, in all or behind one prefix.
    Handshakes,
    /// No more connections are taken on.
    Closed,
}

impl Routes {
    /// Takes on a new connection. While the broker drains, that is one to a peer that its handlers may call, and
    /// which is told to open nothing. Those that peers open are counted; those that this side opens are as many as
    /// the endpoints that the program named, and have a place whoever has come: otherwise peers that fill all
    /// places would keep this side from its own.
    pub(in crate::tcp_broker) fn connect(
        &self,
        mailbox: &Arc<Mailbox>,
        origin: Origin,
        limits: &Limits,
    ) -> Result<ConnectionId, NoRoom> {
        let mut state = self.state();
        let within = state.admits(&origin).ok_or(NoRoom::Closed)?;
        if let Origin::Accepted(prefix) = &origin {
            if state.accepted >= limits.connections {
                return Err(NoRoom::Full);
            }
            let alike = prefix
                .as_ref()
                .and_then(|prefix| state.handshakes_from.get(prefix));
            if state.handshakes >= limits.unauthenticated
                || alike.is_some_and(|alike| *alike >= limits.unauthenticated_per_prefix)
            {
                return Err(NoRoom::Handshakes);
            }
            state.accepted += 1;
            state.handshakes += 1;
            if let Some(prefix) = prefix {
                *state.handshakes_from.entry(*prefix).or_default() += 1;
            }
        }
        let connection = ConnectionId(state.next_connection);
        state.next_connection += 1;
        let up = Up::new(mailbox.clone(), origin);
        state.connections.insert(connection, up);
        state.taking += 1;
        drop(state);
        if let Some(within) = within {
            mailbox.drain(within);
        }
        Ok(connection)
    }

    /// To which endpoint this side opened `connection`, if it did.
    pub(in crate::tcp_broker) fn dialed(&self, connection: ConnectionId) -> Option<Arc<str>> {
        match &self.state().connections.get(&connection)?.origin {
            Origin::Dialed(endpoint) => Some(endpoint.clone()),
            Origin::Accepted(_) => None,
        }
    }

    /// The handshake of `connection` with `peer` is done.
    pub(in crate::tcp_broker) fn ready(
        &self,
        connection: ConnectionId,
        peer: &Peer,
        known_as: KnownAs,
    ) {
        let mut state = self.state();
        let Some(up) = state.connections.get_mut(&connection) else {
            return;
        };
        if up.peer.is_some() {
            return;
        }
        up.peer = Some(peer.clone());
        let (origin, mailbox) = (up.origin.clone(), up.mailbox.clone());
        state.handshake_ended(&origin);
        let identity = match origin {
            Origin::Dialed(endpoint) => Identity::Endpoint(endpoint),
            Origin::Accepted(_) => Identity::Instance(peer.instance()),
        };
        let destination = Destination::Peer(mailbox);
        state
            .table
            .connect(connection, destination, identity, peer.instance(), known_as);
    }

    /// `connection` is gone.
    pub(in crate::tcp_broker) fn disconnect(&self, connection: ConnectionId) {
        let mut state = self.state();
        let Some(up) = state.connections.remove(&connection) else {
            return;
        };
        if up.peer.is_none() {
            state.handshake_ended(&up.origin);
        }
        if up.takes {
            state.taking -= 1;
        }
        if let Origin::Accepted(_) = up.origin {
            state.accepted -= 1;
        }
        state.table.disconnect(connection);
        let wakers = state.departures.take();
        let alone = state.left_alone();
        drop(state);
        drop(up);
        self.changed();
        wakers.chain(alone).for_each(Waker::wake);
    }

    /// The peers of the connections that are past their handshake.
    pub(in crate::tcp_broker) fn peers(&self) -> Vec<(Peer, Arc<Mailbox>)> {
        let state = self.state();
        let up = state.connections.values().filter(|up| !up.lost);
        up.filter_map(|up| Some((up.peer.clone()?, up.mailbox.clone())))
            .collect()
    }

    /// How many connections there are, and how many of them are past their handshake.
    pub(in crate::tcp_broker) fn connections(&self) -> (usize, usize) {
        let state = self.state();
        let here = usize::from(state.here.is_some());
        (state.connections.len(), state.table.connections() - here)
    }

    /// Has every peer told what is offered now.
    pub(in crate::tcp_broker) fn refresh(&self) {
        let mailboxes = self.state().mailboxes();
        for mailbox in mailboxes {
            mailbox.refresh();
        }
    }
}

impl State {
    fn handshake_ended(&mut self, origin: &Origin) {
        let Origin::Accepted(prefix) = origin else {
            return;
        };
        self.handshakes -= 1;
        if let Some(prefix) = prefix
            && let Some(alike) = self.handshakes_from.get_mut(prefix)
        {
            *alike -= 1;
            if *alike == 0 {
                self.handshakes_from.remove(prefix);
            }
        }
    }

    pub(super) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        let up = self.connections.values();
        up.map(|up| up.mailbox.clone()).collect()
    }
}
