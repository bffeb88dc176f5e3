//! Which peers offer which methods, and the calls that wait for one that does: the shell of the
//! table, with lock and wakers.

mod admission;
mod departures;
mod draining;
mod find_peer;
mod offered;
mod watching;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bowline_backend::time::{self, Instant};
use bowline_channel::{WatchReceiver, WatchSender, watch};

use super::Balance;
use super::prefix::Prefix;
use super::table::{Gone, Identity, Losses, Picked, Table, WaitId};
use crate::connection::Mailbox;
use crate::method_table::Methods;
use crate::proto::{MethodId, MethodOptions};
use crate::{CallError, Code, Limits, MemoryBroker, MethodName, Peer};

pub(super) use super::table::{Aim, ConnectionId, Key, Start, Wish};
pub(super) use admission::{NoRoom, Origin};
pub(super) use find_peer::find_peer;
pub(super) use watching::Watching;

use departures::Departures;
use draining::Phase;

/// The connections of one broker, and its routing table.
///
/// Invariants:
/// - S1 the table has a connection exactly from the end of its handshake to its end.
/// - S2 `wakers` has an entry for a call exactly while the call waits in the table.
/// - S3 `accepted` counts the connections that peers opened, `handshakes` and `handshakes_from` those of them
///   that are not ready.
/// - S4 no waker is woken or dropped and no connection is closed under the lock.
/// - S5 `taking` counts the connections that may bring calls of their peers.
pub(super) struct Routes {
    state: Mutex<State>,
    /// Tells that what is offered may have changed, after it did.
    changes: (WatchSender<()>, WatchReceiver<()>),
}

struct State {
    table: Table<Destination>,
    /// The broker itself in the table, if it is one of those that its calls may go to.
    here: Option<(ConnectionId, Peer)>,
    wakers: BTreeMap<WaitId, Waker>,
    connections: BTreeMap<ConnectionId, Up>,
    next_connection: u64,
    accepted: usize,
    handshakes: usize,
    handshakes_from: BTreeMap<Prefix, usize>,
    taking: usize,
    /// Attempts to connect that have not come to a connection.
    connecting: usize,
    phase: Phase,
    /// Those who wait for a connection to end.
    departures: Departures,
}

/// A connection that is up.
struct Up {
    mailbox: Arc<Mailbox>,
    origin: Origin,
    /// Who is there, once the handshake is done.
    peer: Option<Peer>,
    /// What the peer offers is known: it has told it, or takes no new calls.
    told: bool,
    /// The peer may still open calls here.
    takes: bool,
    /// The connection is lost; its driver is about to give the place up.
    lost: bool,
}

impl Up {
    fn new(mailbox: Arc<Mailbox>, origin: Origin) -> Self {
        Self {
            mailbox,
            origin,
            peer: None,
            told: false,
            takes: true,
            lost: false,
        }
    }
}

/// Where a call may go.
#[derive(Clone)]
pub(super) enum Destination {
    /// To the peer of this connection.
    Peer(Arc<Mailbox>),
    /// To the executor of the broker itself.
    Here(MemoryBroker),
}

/// Who was chosen for a call.
pub(super) struct Found {
    pub(super) to: Destination,
    pub(super) connection: ConnectionId,
    pub(super) method: MethodId,
    pub(super) options: MethodOptions,
    /// The hash of the types that it has there; 0 is unknown.
    pub(super) schema: u64,
    /// Tells the table how the call ended, where it wants to know.
    pub(super) watching: Option<Watching>,
}

/// Where a call went.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) connection: ConnectionId,
    /// It is the executor of the broker itself.
    pub(super) is_here: bool,
}

impl Found {
    pub(super) fn at(&self) -> At {
        At {
            connection: self.connection,
            is_here: matches!(self.to, Destination::Here(_)),
        }
    }
}

impl Routes {
    pub(super) fn new(
        balance: Balance,
        balances: BTreeMap<Arc<str>, Balance>,
        limits: &Limits,
        seed: u64,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                table: Table::new(balance, balances, limits, seed),
                here: None,
                wakers: BTreeMap::new(),
                connections: BTreeMap::new(),
                next_connection: 0,
                accepted: 0,
                handshakes: 0,
                handshakes_from: BTreeMap::new(),
                taking: 0,
                connecting: 0,
                phase: Phase::Open,
                departures: Departures::default(),
            }),
            changes: watch(()),
        }
    }

    /// How much it holds of connections, those accepted, handshakes, addresses that they come from, and of what its table
    /// knows.
    #[cfg(test)]
    pub(super) fn held(&self) -> [usize; 7] {
        let state = self.state();
        let [known, routes, peers] = state.table.known();
        let (up, from) = (state.connections.len(), state.handshakes_from.len());
        [
            up,
            state.accepted,
            state.handshakes,
            from,
            known,
            routes,
            peers,
        ]
    }

    /// The next peer that offers the method, if one does; none once the broker is closed.
    pub(super) fn pick(self: &Arc<Self>, key: Key<'_>, wish: Wish<'_>) -> Option<Found> {
        let mut state = self.state();
        let picked = state.pick(key, Aim::Any(wish)).ok().flatten()?;
        drop(state);
        Some(self.found(picked))
    }

    /// Who is at the other end of `connection`, while it is up.
    pub(super) fn start(&self, connection: ConnectionId) -> Option<Start> {
        self.state().table.start(connection)
    }

    /// That very start of a peer, if it offers the method now.
    pub(super) fn pick_same(self: &Arc<Self>, key: Key<'_>, start: &Start) -> Option<Found> {
        let mut state = self.state();
        let picked = state.pick(key, Aim::Same(start)).ok().flatten()?;
        drop(state);
        Some(self.found(picked))
    }

    /// Every peer that offers the method and is well or to be tried; none once the broker is closed.
    pub(super) fn pick_all(self: &Arc<Self>, key: Key<'_>) -> Vec<(Peer, Found)> {
        let mut state = self.state();
        if state.is_closed() {
            return Vec::new();
        }
        let picked = state.table.pick_all(key, time::now());
        let peers: Vec<_> = picked
            .iter()
            .map(|picked| {
                let up = state.connections.get(&picked.connection);
                match (&state.here, up) {
                    (Some((here, me)), None) if *here == picked.connection => Some(me.clone()),
                    (_, up) => up.and_then(|up| up.peer.clone()),
                }
            })
            .collect();
        drop(state);
        let found = picked.into_iter().map(|picked| self.found(picked));
        let each = peers.into_iter().zip(found);
        each.filter_map(|(peer, found)| Some((peer?, found)))
            .collect()
    }

    /// The peer of `connection` came to `error`; whether it is for want of room, so that others are asked first
    /// for a while.
    pub(super) fn refused(&self, connection: ConnectionId, error: &CallError) -> bool {
        let refused = error.has_no_room();
        if refused {
            let now = time::now();
            let after = error.retry_after();
            self.state().table.refused(connection, after, now);
        }
        refused
    }

    /// The peer of `connection`, which is tried, has answered.
    pub(super) fn answered(&self, connection: ConnectionId) {
        self.state().table.answered(connection);
    }

    /// Whether there is a peer for the method that has room, as far as is known, and is none of these.
    pub(super) fn has_others(&self, key: Key<'_>, than: &[ConnectionId]) -> bool {
        let now = time::now();
        self.state().table.has_others(key, than, now)
    }

    fn found(self: &Arc<Self>, picked: Picked<Destination>) -> Found {
        if let (Some(watch), Destination::Peer(mailbox)) = (&picked.watch, &picked.handle)
            && watch.tells()
        {
            mailbox.tries();
        }
        let watching = picked.watch.map(|watch| Watching::new(self, watch));
        Found {
            to: picked.handle,
            connection: picked.connection,
            method: picked.method,
            options: picked.options,
            schema: picked.schema,
            watching,
        }
    }

    /// Why a call that nobody can be given does not wait.
    pub(super) fn why_nobody(&self) -> Code {
        let state = self.state();
        if state.is_closed() {
            Code::Cancelled
        } else if state.here.is_some()
            || state
                .connections
                .values()
                .any(|up| up.peer.is_some() && !up.lost)
        {
            Code::UnknownMethod
        } else {
            Code::NoPeer
        }
    }

    /// The name a call type goes by, if it is remembered.
    pub(super) fn name_of(&self, call: TypeId) -> Option<Arc<str>> {
        self.state().table.name_of(call)
    }

    /// Remembers the name a call type goes by.
    pub(super) fn remember(&self, call: TypeId, name: &MethodName) {
        self.state().table.remember(call, name);
    }

    /// The methods that somebody offers; none once the broker is closed.
    pub(super) fn methods(&self) -> Methods {
        let state = self.state();
        match state.is_closed() {
            true => Methods::new(),
            false => state.table.methods(),
        }
    }

    /// Tells of every change from now on.
    pub(super) fn changes(&self) -> WatchReceiver<()> {
        self.changes.0.subscribe()
    }

    fn changed(&self) {
        // There is a receiver: ours.
        let _ = self.changes.0.send(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wakers_of(&self, waiting: &[WaitId]) -> Vec<Waker> {
        let wakers = waiting.iter().filter_map(|id| self.wakers.get(id));
        wakers.cloned().collect()
    }

    fn pick(&mut self, key: Key<'_>, aim: Aim<'_>) -> Result<Option<Picked<Destination>>, Gone> {
        if self.is_closed() {
            return Ok(None);
        }
        let wish = match aim {
            Aim::Any(wish) => wish,
            Aim::Same(start) => return self.table.pick_same(key, start),
        };
        let now = match self.table.wants_time() {
            true => time::now(),
            false => Instant::NEVER,
        };
        Ok(self.table.pick(key, wish, now))
    }
}
