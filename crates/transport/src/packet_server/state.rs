//! What a server of packets knows of itself and of its peers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_backend::stream::Address;
use bowline_concurrency::{CancelHandle, CancelScope};

use super::carried::{Carried, Room};
use super::counters::Counters;
use super::limits::PacketLimits;
use super::link::{Link, Waiting};
use crate::datagram::Packet;
use crate::drain::{Cut, Returned};
use crate::seldom::Seldom;
use crate::serving::{self, Present, Serving};

/// What the server, its handles and the tasks of its peers share.
///
/// Invariants:
/// 1. A peer is in the table exactly while an [`Entry`] of it lives and was not retired.
/// 2. An entry retires only while no packet of its peer waits, in the critical section in which a
///    packet would be left for it: so no packet waits for a peer without a task.
/// 3. At most `max_peers` are in the table.
/// 4. Nobody enters once `stopped`, and who is in the table can be cancelled: so a drain that cancels
///    all has cancelled the last.
/// 5. Under the lock no waker is cloned, woken or dropped, no event set, no scope cancelled and no
///    descriptor closed. The lock of a link may be taken under it, never the other way round.
pub(super) struct State {
    pub(super) limits: PacketLimits,
    pub(super) local_addrs: Vec<Address>,
    pub(super) counters: Counters,
    /// Handlers that failed or panicked, which peers may bring about.
    pub(super) failures: Seldom,
    room: Arc<Room>,
    pub(super) serving: Serving<Table>,
}

#[derive(Default)]
pub(super) struct Table {
    peers: BTreeMap<Address, Arc<Link>>,
}

impl Present for Table {
    fn count(&self) -> usize {
        self.peers.len()
    }
}

impl State {
    pub(super) fn new(limits: PacketLimits, local_addrs: Vec<Address>) -> Self {
        State {
            room: Arc::new(Room::new(limits.max_descriptors)),
            limits,
            local_addrs,
            counters: Counters::default(),
            failures: Seldom::new(16),
            serving: Serving::default(),
        }
    }

    /// Leaves a packet for its peer. The entry of a peer that had none, which wants a task.
    pub(super) fn admit(self: &Arc<Self>, packet: Packet) -> Option<Entry> {
        self.counters.received.one();
        let carried = self.room.admit(packet.came).unwrap_or_else(|| {
            self.counters.stripped.one();
            Carried::stripped()
        });
        let from = packet.from;
        let packet = Waiting {
            bytes: packet.bytes,
            truncated: packet.truncated,
            carried,
        };
        let mut table = self.serving.lock();
        let known = table.peers.get(&from).cloned();
        // A drain that goes on has taken the scopes of those that it knew.
        if known.is_none() && (table.is_stopped() || table.peers.len() >= self.limits.max_peers) {
            drop(table);
            self.counters.refused.one();
            return None;
        }
        let (link, scope) = match known {
            Some(link) => (link, None),
            None => {
                let scope = CancelScope::new().name("peer");
                let link = Link::new(from.clone(), scope.handle());
                (Arc::new(link), Some(scope))
            }
        };
        let pushed = link.push(packet, &self.limits);
        // One that does not wait begins nothing: a handler would find none.
        let is_new = scope.is_some() && link.waiting().0 > 0;
        if is_new {
            table.peers.insert(from, link.clone());
        }
        drop(table);
        self.counters.overflowed.add(pushed.overflowed);
        drop(pushed.carried);
        if let Some(waker) = pushed.woken {
            waker.wake();
        }
        is_new.then(|| Entry {
            scope,
            state: self.clone(),
            link,
            retired: false,
        })
    }

    /// Scopes of all peers.
    pub(super) fn scopes(&self) -> Vec<CancelHandle> {
        let links: Vec<Arc<Link>> = self.serving.lock().peers.values().cloned().collect();
        links.iter().map(|link| link.scope.clone()).collect()
    }

    /// How many packets of all peers wait, and of how many bytes together.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let links: Vec<Arc<Link>> = self.serving.lock().peers.values().cloned().collect();
        let all = links.iter().map(|link| link.waiting());
        all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// The place of a peer that a task serves.
pub(super) struct Entry {
    state: Arc<State>,
    link: Arc<Link>,
    scope: Option<CancelScope>,
    /// It is no longer in the table.
    retired: bool,
}

impl Entry {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The scope that the task is to run in, once.
    pub(super) fn take_scope(&mut self) -> CancelScope {
        self.scope.take().unwrap_or_default()
    }

    /// Gives the place up if no packet waits.
    pub(super) fn retire(&mut self) -> bool {
        let mut table = self.state.serving.lock();
        if self.link.waiting().0 > 0 {
            return false;
        }
        self.retired = true;
        let ended = self.leave(&mut table, Returned::Yes);
        drop(table);
        if ended {
            self.state.serving.end();
        }
        true
    }

    /// Out of the table; whether the server has ended by that.
    fn leave(&self, table: &mut serving::Table<Table>, returned: Returned) -> bool {
        table.peers.remove(&self.link.address);
        if table.is_stopped() {
            table.report.count(Cut::of(&self.link.scope, returned));
        }
        table.has_ended()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.retired {
            return;
        }
        let mut table = self.state.serving.lock();
        let ended = self.leave(&mut table, Returned::No);
        drop(table);
        let left = self.link.clear();
        self.state.counters.unhandled.add(left);
        if ended {
            self.state.serving.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datagram::Came;

    fn packet(from: &Address) -> Packet {
        Packet {
            bytes: bytes::Bytes::from_static(b"ping"),
            truncated: false,
            from: from.clone(),
            came: Came::default(),
        }
    }

    // SV5, SV7
    #[test]
    fn who_comes_after_the_stop_is_refused_and_who_was_there_is_heard() {
        let state = Arc::new(State::new(PacketLimits::new(), Vec::new()));
        let [known, new] = ["known", "new"].map(|name| Address::Named(name.into()));
        let entry = state.admit(packet(&known)).unwrap();
        assert_eq!(state.scopes().len(), 1);
        state.serving.stop();
        assert!(state.admit(packet(&new)).is_none());
        assert!(state.admit(packet(&known)).is_none());
        let counters = state.counters.snapshot();
        assert_eq!((counters.received, counters.refused), (3, 1));
        assert_eq!((state.serving.count(), state.waiting()), (1, (2, 8)));
        drop(entry);
        assert!(state.serving.has_ended());
    }
}
