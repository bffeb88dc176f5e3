//! Who is next: the peers that offer each method, and the calls that wait for one.

mod choice;
#[cfg(test)]
mod choosing;
mod health;
mod methods;
mod pace;
mod places;
#[cfg(test)]
mod properties;
mod rests;
#[cfg(test)]
mod trials;
mod waiting;
mod watch;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_backend::time::Instant;
use slab::Slab;

use super::Balance;
use crate::proto::{Advertised, KnownAs, MethodId, MethodOptions};
use crate::{Limits, MethodName};

pub(super) use choice::{Aim, Gone, Picked, Start, Wish};
pub(super) use health::{Identity, Losses};
pub(super) use waiting::WaitId;
pub(super) use watch::{Answer, Watch};

use health::Peers;
use places::Places;
use rests::Rests;
use waiting::Waiting;

/// A connection whose handshake is done. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub(super) u64);

/// The routing table of one broker: a machine that reads no clock, draws nothing and wakes nobody.
/// Time and seed are arguments; a connection is a number and a handle `P` that is only handed back.
///
/// Invariants:
/// - T1 a route is there while it has an offer, a waiting call, or a call type that goes by it;
///   so what peers and callers can make it hold is bounded by what they may offer and wait for.
/// - T2 an offer is there exactly while its connection is in the table, its first snapshot was
///   complete, and its peer offers the method and takes new calls.
/// - T3 the calls that wait, and their bytes, are those of all routes together, within the limits.
/// - T4 a peer is known while it has a connection or lost calls that count; of those without a
///   connection the last [`health::REMEMBERED`] that went, of endpoints and of others.
/// - T5 without changes and sick peers, calls of one method in a row go to each peer once before one
///   gets its second.
/// - T6 `spare` has the offers of a peer that is in `offers` by another of its connections: of one start of a
///   broker, known by its instance id, one offer is in `offers`.
/// - T7 `places` has each start of a broker that has a connection, and counts those.
#[derive(Debug)]
pub(super) struct Table<P> {
    balance: Balance,
    balances: BTreeMap<Arc<str>, Balance>,
    random: u64,
    routes: Slab<Route<P>>,
    by_name: BTreeMap<Arc<str>, usize>,
    by_call: BTreeMap<TypeId, usize>,
    connections: BTreeMap<ConnectionId, Connection<P>>,
    places: Places,
    peers: Peers,
    /// Those of `connections` whose peers have no room.
    rests: Rests,
    waiting: Waiting,
    /// Some route is balanced by what its peers have to do.
    measured: bool,
}

#[derive(Debug)]
struct Route<P> {
    name: Arc<str>,
    balance: Balance,
    offers: Vec<Offer<P>>,
    /// What takes the place of one of them.
    spare: Vec<Offer<P>>,
    /// The offer whose turn it is.
    next: usize,
    /// Calls that wait here, and the bytes of their bodies.
    waiting: BTreeMap<WaitId, usize>,
    /// Call types that go by this route.
    calls: usize,
    /// It was said that calls wait here, and nobody has offered the method since.
    warned: bool,
}

#[derive(Debug)]
struct Offer<P> {
    connection: ConnectionId,
    /// The peer's place among the peers.
    peer: usize,
    instance: [u8; 16],
    /// Of its peer, for keys.
    mark: u64,
    method: MethodId,
    options: MethodOptions,
    schema: u64,
    weight: u16,
    handle: P,
}

#[derive(Debug)]
struct Connection<P> {
    handle: P,
    peer: usize,
    instance: [u8; 16],
    known_as: KnownAs,
    /// The peer's first snapshot, until it is complete.
    snapshot: Option<Vec<Advertised>>,
    /// The routes its peer's methods belong to.
    methods: BTreeMap<MethodId, usize>,
    /// Of the calls that are measured.
    in_flight: u32,
}

/// What a call goes by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'a> {
    Name(&'a Arc<str>),
    /// A call type that is [remembered](Table::remember), and its name.
    Call(TypeId, &'a Arc<str>),
}

impl<'a> Key<'a> {
    pub(super) fn name(self) -> &'a Arc<str> {
        match self {
            Key::Name(name) | Key::Call(_, name) => name,
        }
    }
}

impl<P: Clone> Table<P> {
    /// An empty one that chooses by `balance`, or by that of the method in `balances`.
    pub(super) fn new(
        balance: Balance,
        balances: BTreeMap<Arc<str>, Balance>,
        limits: &Limits,
        seed: u64,
    ) -> Self {
        Self {
            balance,
            balances,
            random: seed,
            routes: Slab::new(),
            by_name: BTreeMap::new(),
            by_call: BTreeMap::new(),
            connections: BTreeMap::new(),
            places: Places::default(),
            peers: Peers::default(),
            rests: Rests::default(),
            waiting: Waiting::new(limits.waiting_calls, limits.waiting_bytes),
            measured: false,
        }
    }

    /// Whether [`pick`](Self::pick) has to know what time it is.
    pub(super) fn wants_time(&self) -> bool {
        self.measured || self.peers.any_sick() || !self.rests.is_empty()
    }

    /// The name a call type goes by, if it is remembered.
    pub(super) fn name_of(&self, call: TypeId) -> Option<Arc<str>> {
        Some(self.routes[*self.by_call.get(&call)?].name.clone())
    }

    /// Remembers the name a call type goes by.
    pub(super) fn remember(&mut self, call: TypeId, name: &MethodName) {
        if !self.by_call.contains_key(&call) {
            let route = self.route(name.shared());
            self.routes[route].calls += 1;
            self.by_call.insert(call, route);
        }
    }

    /// The handshake of `connection` is done.
    pub(super) fn connect(
        &mut self,
        connection: ConnectionId,
        handle: P,
        identity: Identity,
        instance: [u8; 16],
        known_as: KnownAs,
    ) {
        let peer = self.peers.connect(identity);
        self.places.join(instance, self.peers.mark(peer));
        let former = self.connections.insert(
            connection,
            Connection {
                handle,
                peer,
                instance,
                known_as,
                snapshot: Some(Vec::new()),
                methods: BTreeMap::new(),
                in_flight: 0,
            },
        );
        debug_assert!(former.is_none(), "a connection is never used twice");
    }

    /// The peer's first snapshot is complete. The answer is who waited for one of its methods.
    pub(super) fn discovered(&mut self, connection: ConnectionId) -> Vec<WaitId> {
        let snapshot = match self.connections.get_mut(&connection) {
            Some(known) => known.snapshot.take().unwrap_or_default(),
            None => return Vec::new(),
        };
        self.offer(connection, snapshot)
    }

    /// The peer offers `methods`. The answer is who waited for one of them.
    pub(super) fn offer(
        &mut self,
        connection: ConnectionId,
        mut methods: Vec<Advertised>,
    ) -> Vec<WaitId> {
        let mut waiting = Vec::new();
        let Some(known) = self.connections.get_mut(&connection) else {
            return waiting;
        };
        if let Some(snapshot) = &mut known.snapshot {
            snapshot.append(&mut methods);
            return waiting;
        }
        let (peer, instance, handle) = (known.peer, known.instance, known.handle.clone());
        let mark = self.places.mark(instance);
        for advertised in methods {
            let key = self.route(&advertised.name);
            let route = &mut self.routes[key];
            let twice = route.offers.iter().any(|offer| offer.instance == instance);
            let offers = match twice {
                true => &mut route.spare,
                false => &mut route.offers,
            };
            offers.push(Offer {
                connection,
                peer,
                instance,
                mark,
                method: advertised.method,
                options: advertised.options,
                schema: advertised.schema,
                weight: advertised.weight.max(1),
                handle: handle.clone(),
            });
            route.warned = false;
            waiting.extend(route.waiting.keys().copied());
            if let Some(known) = self.connections.get_mut(&connection) {
                known.methods.insert(advertised.method, key);
            }
        }
        waiting
    }

    /// The peer offers `methods` no longer.
    pub(super) fn withdraw(&mut self, connection: ConnectionId, methods: &[MethodId]) {
        for method in methods {
            let Some(known) = self.connections.get_mut(&connection) else {
                return;
            };
            if let Some(snapshot) = &mut known.snapshot {
                snapshot.retain(|advertised| advertised.method != *method);
            }
            if let Some(route) = known.methods.remove(method) {
                self.retract(route, connection);
            }
        }
    }

    /// The peer takes no new calls.
    pub(super) fn retire(&mut self, connection: ConnectionId) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        // What it still advertises, nobody hears.
        known.snapshot = Some(Vec::new());
        for route in std::mem::take(&mut known.methods).into_values() {
            self.retract(route, connection);
        }
        self.rests.forget(connection);
    }

    /// The connection was lost with calls in flight, or without.
    pub(super) fn lost(&mut self, connection: ConnectionId, losses: Losses, now: Instant) {
        self.retire(connection);
        if let Some(known) = self.connections.get(&connection) {
            let jitter = draw(&mut self.random);
            self.peers.lost(known.peer, connection, losses, now, jitter);
        }
    }

    /// The connection is over.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.retire(connection);
        self.rests.forget(connection);
        if let Some(known) = self.connections.remove(&connection) {
            self.peers.disconnect(known.peer, connection);
            self.places.leave(known.instance);
        }
    }

    /// How many connections are ready.
    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many connections, routes and peers it knows.
    #[cfg(test)]
    pub(super) fn known(&self) -> [usize; 3] {
        [self.connections.len(), self.routes.len(), self.peers.len()]
    }

    /// Whether calls may go to the peer of `connection`.
    pub(super) fn has_offers(&self, connection: ConnectionId) -> bool {
        let known = self.connections.get(&connection);
        known.is_some_and(|known| !known.methods.is_empty())
    }

    /// How many offer the method.
    #[cfg(test)]
    pub(super) fn offers_of(&self, key: Key<'_>) -> usize {
        self.find(key)
            .map_or(0, |route| self.routes[route].offers.len())
    }

    fn find(&self, key: Key<'_>) -> Option<usize> {
        match key {
            Key::Name(name) => self.by_name.get(name).copied(),
            Key::Call(call, _) => self.by_call.get(&call).copied(),
        }
    }

    fn route(&mut self, name: &Arc<str>) -> usize {
        if let Some(route) = self.by_name.get(name) {
            return *route;
        }
        let balance = self.balances.get(name).copied().unwrap_or(self.balance);
        self.measured |= balance == Balance::PowerOfTwo;
        let key = self.routes.insert(Route {
            name: name.clone(),
            balance,
            offers: Vec::new(),
            spare: Vec::new(),
            next: 0,
            waiting: BTreeMap::new(),
            calls: 0,
            warned: false,
        });
        self.by_name.insert(name.clone(), key);
        key
    }

    fn retract(&mut self, key: usize, connection: ConnectionId) {
        let route = &mut self.routes[key];
        route.spare.retain(|offer| offer.connection != connection);
        while let Some(at) = route
            .offers
            .iter()
            .position(|offer| offer.connection == connection)
        {
            let instance = route.offers[at].instance;
            // Invariant T6.
            if let Some(other) = route
                .spare
                .iter()
                .position(|offer| offer.instance == instance)
            {
                route.offers[at] = route.spare.remove(other);
                continue;
            }
            route.offers.remove(at);
            // Whose turn it was keeps it.
            if at < route.next {
                route.next -= 1;
            }
        }
        self.forget_if_unused(key);
    }

    // Invariant T1.
    fn forget_if_unused(&mut self, key: usize) {
        let route = &self.routes[key];
        if route.offers.is_empty() && route.waiting.is_empty() && route.calls == 0 {
            let route = self.routes.remove(key);
            self.by_name.remove(&route.name);
        }
    }
}

/// The next number of a sequence that looks random and is fixed by its start.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed(*state)
}

/// Every bit of the answer depends on every bit of `bits`.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
