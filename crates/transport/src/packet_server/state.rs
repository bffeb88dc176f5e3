//! What a server of packets knows of itself and of its peers.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bowline_backend::stream::Address;
use bowline_concurrency::{CancelHandle, CancelScope};

use super::carried::{Carried, Room};
use super::counters::Counters;
use super::limits::PacketLimits;
use super::link::{Link, Pushed, Waiting};
use super::order::Order;
use crate::datagram::Packet;
use crate::drain::{Cut, Returned};
use crate::seldom::Seldom;
use crate::serving::{self, Present, Serving};

/// How many newcomers wait for their places.
const NEWCOMERS: usize = 16;

/// What the server, its handles and the tasks of its peers share.
///
/// Invariants:
/// 1. A peer is in the table exactly while an [`Entry`] of it lives and was not retired.
/// 2. An entry retires only while no packet of its peer waits, in the critical section in which a
///    packet would be left for it: so no packet waits for a peer without a task.
/// 3. At most `max_peers` are in the table.
/// 4. Who is in the table is in the order of those who were heard, and nobody else.
/// 5. A newcomer is not in the table; it waits only after somebody was told to make place, who was told again
///    of somebody else if he is heard before he goes.
/// 6. Nobody enters once `stopped`, and who is in the table can be cancelled: so a drain that cancels
///    all has cancelled the last.
/// 7. Under the lock no waker is cloned, woken or dropped, no event set, no scope cancelled and no
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
    order: Order,
    newcomers: VecDeque<Newcomer>,
    /// Of the task that receives, while newcomers wait.
    room: Option<Waker>,
}

/// A peer whose first packets wait for a place.
struct Newcomer {
    link: Arc<Link>,
    scope: CancelScope,
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
        if let Some(link) = table.peers.get(&from).cloned() {
            table.order.heard(&link);
            let mut pushed = link.push(packet, &self.limits);
            let others = match pushed.returned && !table.newcomers.is_empty() {
                true => table.order.displace(),
                false => None,
            };
            drop(table);
            self.note_displaced(others);
            self.note(&mut pushed);
            return None;
        }
        // A drain that goes on has taken the scopes of those that it knew.
        if table.is_stopped() {
            drop(table);
            self.counters.refused.one();
            return None;
        }
        let waiting = table.newcomers.iter().find(|one| one.link.address == from);
        if let Some(link) = waiting.map(|one| one.link.clone()) {
            let mut pushed = link.push(packet, &self.limits);
            drop(table);
            self.note(&mut pushed);
            return None;
        }
        let scope = CancelScope::new().name("peer");
        let link = Arc::new(Link::new(from.clone(), scope.handle()));
        let mut pushed = link.push(packet, &self.limits);
        // One that does not wait begins nothing: a handler would find none.
        if link.waiting().0 == 0 {
            drop(table);
            self.note(&mut pushed);
            return None;
        }
        if table.newcomers.is_empty() && table.peers.len() < self.limits.max_peers {
            let entry = self.enter(&mut table, Newcomer { link, scope });
            drop(table);
            return Some(entry);
        }
        let displaced = match table.newcomers.len() < NEWCOMERS {
            true => table.order.displace(),
            false => None,
        };
        if displaced.is_some() {
            table.newcomers.push_back(Newcomer { link, scope });
            drop(table);
            self.note_displaced(displaced);
        } else {
            drop(table);
            self.counters.refused.one();
        }
        None
    }

    /// Notes what became of a packet, and wakes whoever waited for it.
    fn note(&self, pushed: &mut Pushed) {
        self.counters.overflowed.add(pushed.overflowed);
        pushed.carried.clear();
        if let Some(waker) = pushed.woken.take() {
            waker.wake();
        }
    }

    /// Wakes a handler that is to make place, if there is one.
    fn note_displaced(&self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.counters.displaced.one();
            waker.wake();
        }
    }

    /// Gives a newcomer a place.
    fn enter(self: &Arc<Self>, table: &mut Table, newcomer: Newcomer) -> Entry {
        let Newcomer { link, scope } = newcomer;
        table.peers.insert(link.address.clone(), link.clone());
        table.order.heard(&link);
        Entry {
            scope: Some(scope),
            state: self.clone(),
            link,
            retired: false,
        }
    }

    /// The entry of the newcomer that waits longest, once there is a place for it.
    pub(super) fn poll_newcomer(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Entry> {
        let waker = cx.waker().clone();
        let mut table = self.serving.lock();
        if table.peers.len() < self.limits.max_peers
            && let Some(newcomer) = table.newcomers.pop_front()
        {
            let entry = self.enter(&mut table, newcomer);
            drop(table);
            return Poll::Ready(entry);
        }
        let former = match table.newcomers.is_empty() {
            true => Some(waker),
            false => table.room.replace(waker),
        };
        drop(table);
        drop(former);
        Poll::Pending
    }

    /// Nobody gives newcomers a place any more.
    pub(super) fn refuse_newcomers(&self) {
        let mut table = self.serving.lock();
        let (newcomers, room) = (mem::take(&mut table.newcomers), table.room.take());
        drop(table);
        for newcomer in &newcomers {
            self.counters.refused.add(newcomer.link.clear());
        }
        drop((newcomers, room));
    }

    /// Scopes of all peers.
    pub(super) fn scopes(&self) -> Vec<CancelHandle> {
        let links: Vec<Arc<Link>> = self.serving.lock().peers.values().cloned().collect();
        links.iter().map(|link| link.scope.clone()).collect()
    }

    /// How many packets of all peers wait, and of how many bytes together.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let table = self.serving.lock();
        let newcomers = table.newcomers.iter().map(|one| &one.link);
        let links: Vec<Arc<Link>> = table.peers.values().chain(newcomers).cloned().collect();
        drop(table);
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
        let left = self.leave(&mut table, Returned::Yes);
        drop(table);
        self.tell(left);
        true
    }

    /// Out of the table; who is to be told.
    fn leave(&self, table: &mut serving::Table<Table>, returned: Returned) -> Left {
        table.peers.remove(&self.link.address);
        table.order.leave(&self.link);
        if table.is_stopped() {
            table.report.count(Cut::of(&self.link.scope, returned));
        }
        Left {
            room: table.room.take(),
            ended: table.has_ended(),
        }
    }

    fn tell(&self, left: Left) {
        if let Some(waker) = left.room {
            waker.wake();
        }
        if left.ended {
            self.state.serving.end();
        }
    }
}

/// Who has to know that a place is free.
struct Left {
    /// Whoever gives it to a newcomer.
    room: Option<Waker>,
    /// The server has ended by that.
    ended: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.retired {
            return;
        }
        let mut table = self.state.serving.lock();
        let left = self.leave(&mut table, Returned::No);
        drop(table);
        self.state.counters.unhandled.add(self.link.clear());
        self.tell(left);
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

    fn peer(name: &str) -> Address {
        Address::Named(name.into())
    }

    /// What the handler of this peer would be given now.
    fn polled(entry: &Entry) -> Poll<Option<usize>> {
        let mut cx = Context::from_waker(Waker::noop());
        let popped = entry.link.poll_pop(0, &mut cx);
        popped.map(|packet| packet.map(|packet| packet.bytes.len()))
    }

    fn newcomer(state: &Arc<State>) -> Poll<Entry> {
        state.poll_newcomer(&mut Context::from_waker(Waker::noop()))
    }

    // SV7
    #[test]
    fn who_was_heard_longest_ago_makes_place_for_a_newcomer() {
        let state = Arc::new(State::new(PacketLimits::new().max_peers(3), Vec::new()));
        let [mut a, mut b, c] =
            ["a", "b", "c"].map(|name| state.admit(packet(&peer(name))).unwrap());
        // All are at work: nobody makes place.
        assert!(state.admit(packet(&peer("d"))).is_none());
        assert_eq!(state.counters.snapshot().refused, 1);
        for entry in [&a, &b, &c] {
            assert_eq!(polled(entry), Poll::Ready(Some(4)));
            assert_eq!(polled(entry), Poll::Pending);
        }
        // The first is heard again, and waits again.
        assert!(state.admit(packet(&peer("a"))).is_none());
        assert_eq!(polled(&a), Poll::Ready(Some(4)));
        assert_eq!(polled(&a), Poll::Pending);
        for _ in 0..2 {
            assert!(state.admit(packet(&peer("d"))).is_none());
        }
        assert_eq!((state.serving.count(), state.waiting()), (3, (2, 8)));
        assert_eq!(state.counters.snapshot().displaced, 1);
        assert!(newcomer(&state).is_pending());
        // It is heard before it was told: so the next one makes place.
        assert!(state.admit(packet(&peer("b"))).is_none());
        assert_eq!(polled(&b), Poll::Ready(Some(4)));
        assert_eq!(polled(&b), Poll::Pending);
        assert_eq!(polled(&c), Poll::Ready(None));
        assert_eq!(polled(&a), Poll::Pending);
        drop(c);
        let Poll::Ready(d) = newcomer(&state) else {
            panic!("there is a place");
        };
        assert_eq!(d.link.address, peer("d"));
        assert_eq!(d.link.waiting(), (2, 8));
        assert!(newcomer(&state).is_pending());
        let counters = state.counters.snapshot();
        assert_eq!((counters.displaced, counters.refused), (2, 1));
        // One that waits no more is at work.
        a.link.stop_waiting(0);
        assert!(state.admit(packet(&peer("e"))).is_none());
        assert_eq!(polled(&a), Poll::Pending);
        assert_eq!(polled(&b), Poll::Ready(None));
        state.refuse_newcomers();
        assert_eq!(state.counters.snapshot().refused, 2);
        assert!(a.retire() && b.retire());
        assert_eq!(state.waiting(), (2, 8));
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
