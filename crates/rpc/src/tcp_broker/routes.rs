//! Which peers offer which methods, and the calls that wait for one that does.

mod admission;
mod find_peer;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slab::Slab;

use super::prefix::Prefix;
use crate::connection::Mailbox;
use crate::proto::{Advertised, MethodId};
use crate::{Code, MethodName};

pub(super) use admission::{NoRoom, Origin};
pub(super) use find_peer::FindPeer;

/// Calls that wait for a peer at one broker.
const MAX_WAITING: usize = 1024;

/// The table of one broker.
///
/// Invariants:
/// - T1 a route is there while it has an offer, a waiting call, or a call type that goes by it;
///   so what peers and callers can make it hold is bounded by what they may offer and wait for.
/// - T2 an offer is there exactly while its connection is up and its peer offers the method.
/// - T3 `waiting` is the number of all waiting calls, at most 1024.
/// - T4 `handshakes` and `handshakes_from` count the accepted connections that are not ready.
/// - T5 no waker is woken and no connection is closed under the lock.
pub(super) struct Routes {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    routes: Slab<Route>,
    by_name: BTreeMap<Arc<str>, usize>,
    by_call: BTreeMap<TypeId, usize>,
    waiting: usize,
    connections: BTreeMap<u64, Up>,
    next_connection: u64,
    handshakes: usize,
    handshakes_from: BTreeMap<Prefix, usize>,
    draining: bool,
    closed: bool,
    /// Those who wait for a connection to end.
    departures: Vec<Waker>,
}

struct Route {
    name: Arc<str>,
    offers: Vec<Offer>,
    /// Whose turn it is among the offers.
    next: usize,
    waiting: Slab<Waker>,
    /// Call types that go by this route.
    calls: usize,
}

struct Offer {
    connection: u64,
    method: MethodId,
    mailbox: Arc<Mailbox>,
}

/// A connection that is up.
struct Up {
    mailbox: Arc<Mailbox>,
    origin: Origin,
    ready: bool,
    /// The connection is lost; its driver is about to give the place up.
    lost: bool,
    /// The routes its peer's methods belong to.
    methods: BTreeMap<MethodId, usize>,
}

impl Up {
    fn new(mailbox: Arc<Mailbox>, origin: Origin) -> Self {
        Self {
            mailbox,
            origin,
            ready: false,
            lost: false,
            methods: BTreeMap::new(),
        }
    }
}

/// What a call goes by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'a> {
    Name(&'a Arc<str>),
    /// A call type that is [remembered](Routes::remember), and its name.
    Call(TypeId, &'a Arc<str>),
}

impl<'a> Key<'a> {
    pub(super) fn name(self) -> &'a Arc<str> {
        match self {
            Key::Name(name) | Key::Call(_, name) => name,
        }
    }
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::default(),
        }
    }

    /// The next peer that offers the method, if one does; none once the broker is closed.
    pub(super) fn pick(&self, key: Key<'_>) -> Option<(Arc<Mailbox>, MethodId)> {
        let mut table = self.table();
        if table.closed {
            return None;
        }
        let route = table.find(key)?;
        table.routes[route].pick()
    }

    /// Why a call that nobody can be given does not wait.
    pub(super) fn why_nobody(&self) -> Code {
        let table = self.table();
        if table.closed {
            Code::Cancelled
        } else if table.connections.values().any(|up| up.ready && !up.lost) {
            Code::UnknownMethod
        } else {
            Code::NoPeer
        }
    }

    /// The name a call type goes by, if it is remembered.
    pub(super) fn name_of(&self, call: TypeId) -> Option<Arc<str>> {
        let table = self.table();
        Some(table.routes[*table.by_call.get(&call)?].name.clone())
    }

    /// Remembers the name a call type goes by.
    pub(super) fn remember(&self, call: TypeId, name: &MethodName) {
        let mut table = self.table();
        if !table.by_call.contains_key(&call) {
            let route = table.route(name.shared());
            table.routes[route].calls += 1;
            table.by_call.insert(call, route);
        }
    }

    /// The peer of `connection` offers `methods`.
    pub(super) fn offer(&self, connection: u64, methods: Vec<Advertised>) {
        let mut wakers = Vec::new();
        let mut table = self.table();
        let Some(mailbox) = table
            .connections
            .get(&connection)
            .map(|up| up.mailbox.clone())
        else {
            return;
        };
        for advertised in methods {
            let key = table.route(&advertised.name);
            let route = &mut table.routes[key];
            route.offers.push(Offer {
                connection,
                method: advertised.method,
                mailbox: mailbox.clone(),
            });
            wakers.extend(route.waiting.iter().map(|(_, waker)| waker.clone()));
            if let Some(up) = table.connections.get_mut(&connection) {
                up.methods.insert(advertised.method, key);
            }
        }
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The peer of `connection` offers `methods` no longer.
    pub(super) fn withdraw(&self, connection: u64, methods: &[MethodId]) {
        let mut table = self.table();
        for method in methods {
            if let Some(route) = table
                .connections
                .get_mut(&connection)
                .and_then(|up| up.methods.remove(method))
            {
                table.retract(route, connection);
            }
        }
    }

    /// The connection is lost: its peer is none any more.
    pub(super) fn lose(&self, connection: u64) {
        if let Some(up) = self.table().connections.get_mut(&connection) {
            up.lost = true;
        }
        self.disconnect_offers(connection);
    }

    /// The peer of `connection` takes no new calls.
    pub(super) fn disconnect_offers(&self, connection: u64) {
        let mut table = self.table();
        let Some(up) = table.connections.get_mut(&connection) else {
            return;
        };
        for route in std::mem::take(&mut up.methods).into_values() {
            table.retract(route, connection);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under the lock, so a poisoned table is whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
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
        let route = Route {
            name: name.clone(),
            offers: Vec::new(),
            next: 0,
            waiting: Slab::new(),
            calls: 0,
        };
        let key = self.routes.insert(route);
        self.by_name.insert(name.clone(), key);
        key
    }

    fn retract(&mut self, route: usize, connection: u64) {
        self.routes[route]
            .offers
            .retain(|offer| offer.connection != connection);
        self.forget_if_unused(route);
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

impl Route {
    fn pick(&mut self) -> Option<(Arc<Mailbox>, MethodId)> {
        if self.offers.is_empty() {
            return None;
        }
        self.next = (self.next + 1) % self.offers.len();
        let offer = &self.offers[self.next];
        Some((offer.mailbox.clone(), offer.method))
    }
}
