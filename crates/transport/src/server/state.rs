//! What a server knows of itself and of its connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bowline_backend::stream::Address;
use bowline_concurrency::{CancelHandle, CancelScope};

use super::counters::Counters;
use super::limits::ServerLimits;
use super::link::{ConnectionId, Link};
use crate::counters::Count;
use crate::drain::{Cut, Returned};
use crate::seldom::Seldom;
use crate::serving::{Present, Serving};

/// What the server, its handles and its connections share.
///
/// Invariants:
/// 1. A connection is in the table exactly while its [`Entry`] lives, whose drop is the only exit:
///    so a place is given back on every one.
/// 2. Nothing enters once `stopped`, and what is in the table can be cancelled: so a drain that
///    cancels all has cancelled the last.
/// 3. Who is accepted is counted before anybody can see its entry, and how it ended before its place
///    is free: so `accepted` is the sum of all ends and of those in the table, whenever nobody enters
///    or leaves.
/// 4. Under the lock no waker is cloned, woken or dropped, no event set and no scope cancelled.
pub(super) struct State {
    pub(super) limits: ServerLimits,
    pub(super) local_addrs: Vec<Address>,
    pub(super) counters: Counters,
    /// Handlers that failed or panicked, which peers may bring about.
    pub(super) failures: Seldom,
    pub(super) serving: Serving<Table>,
}

#[derive(Default)]
pub(super) struct Table {
    last_id: u64,
    links: BTreeMap<ConnectionId, Arc<Link>>,
    per_ip: BTreeMap<IpAddr, usize>,
    draining: bool,
    /// Of whoever waits for a place.
    room: Option<Waker>,
}

impl Present for Table {
    fn count(&self) -> usize {
        self.links.len()
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Stopped,
    Full,
    PeerFull,
}

impl State {
    pub(super) fn new(limits: ServerLimits, local_addrs: Vec<Address>) -> Self {
        State {
            limits,
            local_addrs,
            counters: Counters::default(),
            failures: Seldom::new(16),
            serving: Serving::default(),
        }
    }

    /// Ready while there is a place; else whoever gives one back wakes this task.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut table = self.serving.lock();
        if table.links.len() < self.limits.max_connections {
            return Poll::Ready(());
        }
        let former = table.room.replace(waker);
        drop(table);
        drop(former);
        Poll::Pending
    }

    /// Takes a place for a connection.
    pub(super) fn admit(self: &Arc<Self>, address: Address) -> Result<Entry, Refusal> {
        let scope = CancelScope::new().name("connection");
        let ip = address.as_inet().map(|address| counted_as(address.ip()));
        let ip = ip.filter(|_| self.limits.max_per_peer.is_some());
        let mut table = self.serving.lock();
        if table.is_stopped() {
            return Err(Refusal::Stopped);
        }
        if table.links.len() >= self.limits.max_connections {
            return Err(Refusal::Full);
        }
        if let (Some(ip), Some(most)) = (ip, self.limits.max_per_peer) {
            let count = table.per_ip.entry(ip).or_default();
            if *count >= most {
                return Err(Refusal::PeerFull);
            }
            *count += 1;
        }
        table.last_id += 1;
        let id = ConnectionId(table.last_id);
        let link = Arc::new(Link::new(id, address, scope.handle()));
        table.links.insert(id, link.clone());
        drop(table);
        self.counters.accepted.one();
        Ok(Entry {
            state: self.clone(),
            link,
            ip,
            scope: Some(scope),
            returned: AtomicBool::new(false),
            counted: AtomicBool::new(false),
        })
    }

    /// Tells every connection to end, and ends those that do not converse yet.
    pub(super) fn begin_drain(&self) {
        let links = {
            let mut table = self.serving.lock();
            table.draining = true;
            self.links_of(&table)
        };
        for link in links {
            match link.converses() {
                true => link.draining.set(),
                false => drop(link.scope.cancel("the server drains")),
            }
        }
    }

    /// A connection is ready for its handler. False where it is to end instead.
    pub(super) fn begin_conversation(&self, link: &Link) -> bool {
        let table = self.serving.lock();
        if table.draining {
            return false;
        }
        link.begin_conversation();
        true
    }

    /// Scopes of all connections.
    pub(super) fn scopes(&self) -> Vec<CancelHandle> {
        let links = self.links_of(&self.serving.lock());
        links.iter().map(|link| link.scope.clone()).collect()
    }

    fn links_of(&self, table: &Table) -> Vec<Arc<Link>> {
        table.links.values().cloned().collect()
    }
}

/// The place of a connection, given back when dropped.
pub(super) struct Entry {
    state: Arc<State>,
    link: Arc<Link>,
    /// Where connections are counted by peer.
    ip: Option<IpAddr>,
    scope: Option<CancelScope>,
    /// The body of the scope came to its end.
    returned: AtomicBool,
    /// It was said how it ended.
    counted: AtomicBool,
}

impl Entry {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The scope that the connection is to run in, once.
    pub(super) fn take_scope(&mut self) -> CancelScope {
        self.scope.take().unwrap_or_default()
    }

    /// Counts how it ended, for the first time only; one that never says so was cancelled.
    pub(super) fn count(&self, end: impl FnOnce(&Counters) -> &Count) {
        if !self.counted.swap(true, Ordering::Relaxed) {
            end(&self.state.counters).one();
        }
    }

    /// Notes that the connection was not cut.
    pub(super) fn note_returned(&self) {
        self.returned.store(true, Ordering::Relaxed);
    }
}

/// The address that stands for a peer when its connections are counted: of IPv6 the first half, whose others a
/// peer has for itself.
fn counted_as(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.count(|counters| match std::thread::panicking() {
            true => &counters.panicked,
            false => &counters.cancelled,
        });
        let returned = match self.returned.load(Ordering::Relaxed) {
            true => Returned::Yes,
            false => Returned::No,
        };
        let cut = Cut::of(&self.link.scope, returned);
        let mut table = self.state.serving.lock();
        table.links.remove(&self.link.id);
        if let Some(ip) = self.ip
            && let Some(count) = table.per_ip.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                table.per_ip.remove(&ip);
            }
        }
        if table.draining {
            match self.link.converses() {
                true => table.report.count(cut),
                false => table.report.handshaking += 1,
            }
        }
        let room = table.room.take();
        let ended = table.has_ended();
        drop(table);
        if let Some(waker) = room {
            waker.wake();
        }
        if ended {
            self.state.serving.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SV2
    #[test]
    fn a_peer_is_an_ipv4_address_or_half_an_ipv6_address() {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff:1"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_eq!(counted("::ffff:10.0.0.1"), counted("10.0.0.1"));
        assert_ne!(counted("10.0.0.2"), counted("10.0.0.1"));
    }

    fn state(limits: ServerLimits) -> Arc<State> {
        Arc::new(State::new(limits, Vec::new()))
    }

    fn address(host: u8) -> Address {
        std::net::SocketAddr::from(([10, 0, 0, host], 80)).into()
    }

    // SV2, SV8
    #[test]
    fn of_peers_that_are_gone_nothing_is_kept() {
        let state = state(ServerLimits::new().max_per_peer(2));
        let entries = [1, 1, 2].map(|host| state.admit(address(host)).ok().unwrap());
        assert_eq!(state.admit(address(1)).err(), Some(Refusal::PeerFull));
        drop(entries);
        assert!(state.serving.lock().per_ip.is_empty());
        drop(state.admit(address(1)).ok().unwrap());
        assert_eq!(state.serving.count(), 0);
    }

    // SV5
    #[test]
    fn nobody_enters_once_it_has_stopped_nor_converses_once_it_drains() {
        let state = state(ServerLimits::new());
        let [converses, comes] = [1, 2].map(|host| state.admit(address(host)).ok().unwrap());
        assert!(state.begin_conversation(converses.link()));
        state.serving.stop();
        assert_eq!(state.admit(address(3)).err(), Some(Refusal::Stopped));
        state.begin_drain();
        assert!(!state.begin_conversation(comes.link()));
        drop((converses, comes));
        let report = state.serving.report();
        assert_eq!((report.finished, report.handshaking), (1, 1));
        assert!(state.serving.has_ended());
    }
}
