//! Which of the peers that offer a method gets the next call.

use bowline_backend::time::Instant;

use super::health::Health;
use super::pace::SHORTEST;
use super::{ConnectionId, Key, Offer, Route, Table, Watch, draw, mixed};
use crate::proto::{KnownAs, MethodId, MethodOptions};
use crate::tcp_broker::Balance;

/// Which peers a call may go to.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp_broker) enum Aim<'a> {
    /// To any.
    Any(Wish<'a>),
    /// To this one alone.
    Same(&'a Start),
}

/// Which peer a call had better go to, of those that it may go to.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp_broker) struct Wish<'a> {
    /// Calls of equal hash go to equal peers where that is asked for.
    pub(in crate::tcp_broker) hash: Option<u64>,
    /// Those that have failed it before, if there are others.
    pub(in crate::tcp_broker) not: &'a [ConnectionId],
    /// What has an equal hash is to find the same peer, whether or not that has room: it may know the call.
    pub(in crate::tcp_broker) firm: bool,
    /// It has no end that tells how long calls take, or how the peer is.
    pub(in crate::tcp_broker) lasts: bool,
}

/// One start of a peer, which recognises this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) struct Start {
    /// Of its broker.
    instance: [u8; 16],
    /// Of the peer, as long as it stays the same.
    mark: u64,
    /// By this.
    known_as: KnownAs,
}

/// There will be no such peer any more: another start has taken its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) struct Gone;

/// A peer that was chosen for a call.
#[derive(Debug)]
pub(in crate::tcp_broker) struct Picked<P> {
    pub(in crate::tcp_broker) connection: ConnectionId,
    pub(in crate::tcp_broker) handle: P,
    pub(in crate::tcp_broker) method: MethodId,
    pub(in crate::tcp_broker) options: MethodOptions,
    pub(in crate::tcp_broker) schema: u64,
    /// To be given to [`Table::settled`] once the call has ended.
    pub(in crate::tcp_broker) watch: Option<Watch>,
}

impl<P: Clone> Table<P> {
    /// The peer that gets the next call of the method. `now` counts only if the table
    /// [wants](Self::wants_time) it.
    pub(in crate::tcp_broker) fn pick(
        &mut self,
        key: Key<'_>,
        wish: Wish<'_>,
        now: Instant,
    ) -> Option<Picked<P>> {
        let key = self.find(key)?;
        let all_alike = !self.peers.any_sick() && self.rests.is_empty() && wish.not.is_empty();
        let route = &mut self.routes[key];
        if route.offers.is_empty() {
            return None;
        }
        if all_alike && route.is_in_turn(wish.hash) {
            let at = route.turn();
            return Some(route.offers[at].picked(None));
        }
        let Usable { mut usable, due } = self.willing(key, wish, now);
        let usual = self.usual(key, &usable, now);
        let route = &mut self.routes[key];
        let at = match (route.balance, wish.hash) {
            // A key goes where it belongs: whoever is to be tried is tried by one of its own.
            (Balance::Hash, Some(hash)) => {
                usable.extend(&due);
                let score = |at: &usize| {
                    let offer = &route.offers[*at];
                    (mixed(offer.mark ^ mixed(hash)), offer.connection)
                };
                usable.into_iter().max_by_key(score)?
            }
            // Otherwise by the next call.
            _ if !due.is_empty() => due[0],
            (Balance::PowerOfTwo, _) => {
                let first = below(draw(&mut self.random), usable.len());
                // Another one, where there is one.
                let other = below(draw(&mut self.random), (usable.len() - 1).max(1));
                let second = usable[(first + 1 + other) % usable.len()];
                let first = usable[first];
                let cost = |at: usize| {
                    let offer = &route.offers[at];
                    let in_flight = self.connections[&offer.connection].in_flight;
                    let time = self.peers.pace(offer.peer).expected(usual, now);
                    let work = (u128::from(in_flight) + 1) * u128::from(time);
                    work * 0x1_0000 / u128::from(offer.weight)
                };
                if cost(second) < cost(first) {
                    second
                } else {
                    first
                }
            }
            _ => route.turn_among(&usable),
        };
        let tells = due.contains(&at);
        let offer = &route.offers[at];
        let measured = route.balance == Balance::PowerOfTwo;
        if tells {
            self.peers.try_it(offer.peer, offer.connection, now);
        }
        self.rests.asked(offer.connection, now);
        if measured && let Some(of) = self.connections.get_mut(&offer.connection) {
            of.in_flight += 1;
        }
        let watch = (tells || measured).then(|| Watch {
            connection: offer.connection,
            began: now,
            usual: self.peers.pace(offer.peer).average(now).unwrap_or(usual),
            tells,
            measured,
            lasts: wish.lasts,
        });
        Some(offer.picked(watch))
    }

    /// Who is at the other end of `connection`, if this side will be recognised there.
    pub(in crate::tcp_broker) fn start(&self, connection: ConnectionId) -> Option<Start> {
        let known = self.connections.get(&connection)?;
        (known.known_as != KnownAs::Nothing).then(|| Start {
            instance: known.instance,
            mark: self.peers.mark(known.peer),
            known_as: known.known_as.clone(),
        })
    }

    /// Whether the peer at the other end of `connection` is that start, and takes this side for the same.
    fn is_same(&self, connection: ConnectionId, start: &Start) -> bool {
        let known = self.connections.get(&connection);
        known.is_some_and(|it| it.instance == start.instance && it.known_as == start.known_as)
    }

    /// That very start of a peer, if it offers the method now. Where it knows this side by its pass alone it
    /// would take it for another by another way.
    pub(in crate::tcp_broker) fn pick_same(
        &self,
        key: Key<'_>,
        start: &Start,
    ) -> Result<Option<Picked<P>>, Gone> {
        let route = self.find(key).map(|route| &self.routes[route]);
        let offers = route
            .into_iter()
            .flat_map(|it| it.offers.iter().chain(&it.spare));
        let mut offers = offers.filter(|offer| self.is_same(offer.connection, start));
        if let Some(offer) = offers.next() {
            return Ok(Some(offer.picked(None)));
        }
        let mut ready = self
            .connections
            .iter()
            .filter(|(_, it)| it.snapshot.is_none());
        let replaced = ready.any(|(_, known)| {
            known.instance != start.instance && self.peers.mark(known.peer) == start.mark
        });
        match replaced {
            true => Err(Gone),
            false => Ok(None),
        }
    }

    /// Every peer that offers the method and is well or is to be tried, each once.
    pub(in crate::tcp_broker) fn pick_all(&mut self, key: Key<'_>, now: Instant) -> Vec<Picked<P>> {
        let Some(key) = self.find(key) else {
            return Vec::new();
        };
        let Usable { usable, due } = self.usable(key, false, now);
        let each = usable.into_iter().map(|at| (at, false));
        let each = each.chain(due.into_iter().map(|at| (at, true)));
        let mut picked = Vec::new();
        for (at, tells) in each {
            let offer = &self.routes[key].offers[at];
            if tells {
                self.peers.try_it(offer.peer, offer.connection, now);
            }
            let watch = tells.then_some(Watch {
                connection: offer.connection,
                began: now,
                usual: SHORTEST,
                tells,
                measured: false,
                lasts: false,
            });
            picked.push(offer.picked(watch));
        }
        picked
    }

    /// Whether there is a peer for the method that may get the next call, has room as far as is known, and is
    /// none of these.
    pub(in crate::tcp_broker) fn has_others(
        &self,
        key: Key<'_>,
        than: &[ConnectionId],
        now: Instant,
    ) -> bool {
        let Some(key) = self.find(key) else {
            return false;
        };
        let Usable { usable, due } = self.usable(key, false, now);
        usable
            .iter()
            .chain(&due)
            .any(|at| self.may_have_room(key, *at, than, now))
    }

    /// Whether the offer is of a peer that has room as far as is known, and of none of `than`.
    fn may_have_room(&self, key: usize, at: usize, than: &[ConnectionId], now: Instant) -> bool {
        let connection = self.routes[key].offers[at].connection;
        !than.contains(&connection) && !self.rests.rests(connection, now)
    }

    /// The offers of a route that may get this call, never none of some: those that rest and those that it
    /// has been to come last.
    fn willing(&self, key: usize, wish: Wish<'_>, now: Instant) -> Usable {
        let mut all = self.usable(key, wish.lasts, now);
        let route = &self.routes[key];
        let firm = wish.firm && !route.is_in_turn(wish.hash) && wish.hash.is_some();
        let offers = &route.offers;
        let new = |at: &usize| !wish.not.contains(&offers[*at].connection);
        if !firm && !all.keep(|at| self.may_have_room(key, *at, wish.not, now)) {
            all.keep(new);
        }
        all
    }

    /// How long calls take at those of `usable` where that is known, on average.
    fn usual(&self, key: usize, usable: &[usize], now: Instant) -> u64 {
        let route = &self.routes[key];
        if route.balance != Balance::PowerOfTwo {
            return SHORTEST;
        }
        let peers = usable.iter().map(|at| route.offers[*at].peer);
        let known = peers.filter_map(|peer| self.peers.pace(peer).average(now));
        let (count, all) = known.fold((0_u128, 0_u128), |(count, all), one| {
            (count + 1, all + u128::from(one))
        });
        let mean = all.checked_div(count).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX).max(SHORTEST)
    }

    /// The offers of a route that may get a call, never none of some.
    fn usable(&self, key: usize, lasts: bool, now: Instant) -> Usable {
        let offers = &self.routes[key].offers;
        if !self.peers.any_sick() {
            return Usable {
                usable: (0..offers.len()).collect(),
                due: Vec::new(),
            };
        }
        let mut usable = Vec::with_capacity(offers.len());
        let (mut due, mut out) = (Vec::new(), Vec::new());
        for (at, offer) in offers.iter().enumerate() {
            let health = self.peers.health(offer.peer);
            match health {
                Health::Well => usable.push(at),
                Health::Out { .. } | Health::Tried { .. } if health.is_due(lasts, now) => {
                    due.push(at);
                }
                Health::Out { until, .. } => out.push((until, at)),
                Health::Tried { .. } => out.push((Instant::NEVER, at)),
            }
        }
        out.sort_unstable();
        let most = offers.len() / 2;
        let back = out.len().saturating_sub(most);
        usable.extend(out.into_iter().take(back).map(|(_, at)| at));
        usable.sort_unstable();
        Usable { usable, due }
    }
}

/// Offers of one route, by their places.
struct Usable {
    /// Those of peers that are well, and so many of the others that no more than half are left out.
    usable: Vec<usize>,
    /// Those of peers that it is time to try.
    due: Vec<usize>,
}

impl Usable {
    /// Leaves out all but those, unless they are none: whether they are some.
    fn keep(&mut self, which: impl Fn(&usize) -> bool) -> bool {
        let some = self.usable.iter().chain(&self.due).any(&which);
        if some {
            self.usable.retain(&which);
            self.due.retain(&which);
        }
        some
    }
}

impl<P> Route<P> {
    /// Whether the next peer is the one whose turn it is.
    fn is_in_turn(&self, hash: Option<u64>) -> bool {
        match self.balance {
            Balance::RoundRobin => true,
            Balance::PowerOfTwo => false,
            Balance::Hash => hash.is_none(),
        }
    }

    fn turn(&mut self) -> usize {
        let at = if self.next < self.offers.len() {
            self.next
        } else {
            0
        };
        self.next = at + 1;
        at
    }

    /// The next of `usable`, which is sorted and not empty.
    fn turn_among(&mut self, usable: &[usize]) -> usize {
        let next = self.next;
        let at = usable.iter().copied().find(|at| *at >= next);
        let at = at.unwrap_or(usable[0]);
        self.next = at + 1;
        at
    }
}

impl<P: Clone> Offer<P> {
    fn picked(&self, watch: Option<Watch>) -> Picked<P> {
        Picked {
            connection: self.connection,
            handle: self.handle.clone(),
            method: self.method,
            options: self.options,
            schema: self.schema,
            watch,
        }
    }
}

/// `number` brought below `count`.
fn below(number: u64, count: usize) -> usize {
    (number % count as u64) as usize
}
