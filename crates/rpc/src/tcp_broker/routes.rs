//! Which peers offer which methods, and the calls that wait for one that does.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::connection::Mailbox;
use crate::proto::{Advertised, MethodId};
use crate::{Code, MethodName};

/// Calls that wait for a peer at one broker.
const MAX_WAITING: usize = 1024;

/// The table of one broker.
///
/// Invariants:
/// - T1 a route is there while it has an offer, a waiting call, or a call type that goes by it;
///   so what peers and callers can make it hold is bounded by what they may offer and wait for.
/// - T2 an offer is there exactly while its connection is up and its peer offers the method.
/// - T3 `waiting` is the number of all waiting calls, at most 1024.
/// - T4 no waker is woken and no connection is closed under the lock.
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
    closed: bool,
    /// Those who wait for the last connection to end.
    emptied: Vec<Waker>,
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
    ready: bool,
    /// The routes its peer's methods belong to.
    methods: BTreeMap<MethodId, usize>,
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

    /// The next peer that offers the method, if one does.
    pub(super) fn pick(&self, key: Key<'_>) -> Option<(Arc<Mailbox>, MethodId)> {
        let mut table = self.table();
        let route = table.find(key)?;
        table.routes[route].pick()
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

    /// A new connection; `None` if there are too many, or too many that are not ready.
    pub(super) fn connect(
        &self,
        mailbox: &Arc<Mailbox>,
        most: usize,
        most_unready: usize,
    ) -> Option<u64> {
        let mut table = self.table();
        let unready = table
            .connections
            .values()
            .filter(|up| !up.ready)
            .take(most_unready)
            .count();
        if table.closed || table.connections.len() >= most || unready >= most_unready {
            return None;
        }
        let connection = table.next_connection;
        table.next_connection += 1;
        let up = Up {
            mailbox: mailbox.clone(),
            ready: false,
            methods: BTreeMap::new(),
        };
        table.connections.insert(connection, up);
        Some(connection)
    }

    /// The handshake of `connection` is done.
    pub(super) fn ready(&self, connection: u64) {
        if let Some(up) = self.table().connections.get_mut(&connection) {
            up.ready = true;
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

    /// `connection` is gone.
    pub(super) fn disconnect(&self, connection: u64) {
        let mut table = self.table();
        let Some(up) = table.connections.remove(&connection) else {
            return;
        };
        for route in up.methods.values() {
            table.retract(*route, connection);
        }
        let wakers = if table.connections.is_empty() {
            std::mem::take(&mut table.emptied)
        } else {
            Vec::new()
        };
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many connections are up.
    pub(super) fn connections(&self) -> usize {
        self.table()
            .connections
            .values()
            .filter(|up| up.ready)
            .count()
    }

    /// Takes no more connections, closes those there are and ends calls that wait for a peer.
    pub(super) fn close(&self, message: &'static str) {
        let mut table = self.table();
        table.closed = true;
        let mailboxes: Vec<_> = table
            .connections
            .values()
            .map(|up| up.mailbox.clone())
            .collect();
        let wakers: Vec<_> = table
            .routes
            .iter()
            .flat_map(|(_, route)| route.waiting.iter().map(|(_, w)| w.clone()))
            .collect();
        drop(table);
        for mailbox in mailboxes {
            mailbox.close(Code::Cancelled, message);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Completes when no connection is up.
    pub(super) async fn emptied(&self) {
        std::future::poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut table = self.table();
            if table.connections.is_empty() {
                drop(table);
                return Poll::Ready(());
            }
            table.emptied.push(waker);
            Poll::Pending
        })
        .await;
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

/// A call that waits for a peer to offer its method. Fails if too many wait or the broker closes.
#[must_use = "a call waits while this is polled"]
pub(super) struct FindPeer<'a> {
    routes: &'a Routes,
    key: Key<'a>,
    /// Its route, and its place among those who wait there.
    place: Option<(usize, usize)>,
}

impl<'a> FindPeer<'a> {
    pub(super) fn new(routes: &'a Routes, key: Key<'a>) -> Self {
        Self {
            routes,
            key,
            place: None,
        }
    }
}

impl Future for FindPeer<'_> {
    type Output = Result<(Arc<Mailbox>, MethodId), Code>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        let mut table = this.routes.table();
        let route = table.route(this.key.name());
        if let Some(peer) = table.routes[route].pick() {
            drop(table);
            return Poll::Ready(Ok(peer));
        }
        let refused = if table.closed {
            Some(Code::Cancelled)
        } else if this.place.is_none() && table.waiting >= MAX_WAITING {
            Some(Code::Overloaded)
        } else {
            None
        };
        if let Some(code) = refused {
            table.forget_if_unused(route);
            drop(table);
            return Poll::Ready(Err(code));
        }
        let former = match this.place {
            Some((_, place)) => Some(std::mem::replace(
                &mut table.routes[route].waiting[place],
                waker,
            )),
            None => {
                table.waiting += 1;
                this.place = Some((route, table.routes[route].waiting.insert(waker)));
                None
            }
        };
        drop(table);
        drop(former);
        Poll::Pending
    }
}

impl Drop for FindPeer<'_> {
    fn drop(&mut self) {
        if let Some((route, place)) = self.place {
            let mut table = self.routes.table();
            table.waiting -= 1;
            let waker = table.routes[route].waiting.remove(place);
            table.forget_if_unused(route);
            drop(table);
            drop(waker);
        }
    }
}
