//! Which of the peers that offer a method gets the next call.

use bowline_backend::time::Instant;

use super::health::Health;
use super::{ConnectionId, Key, Offer, Route, Table, draw, mixed};
use crate::proto::{KnownAs, MethodId, MethodOptions};
use crate::tcp_broker::Balance;

/// Calls that took less count as so long, in nanoseconds.
const SHORTEST: u64 = 1000;

/// Which peers a call may go to.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp_broker) enum Aim<'a> {
    /// To any; calls of equal hash to equal peers where that is asked for.
    Any(Option<u64>),
    /// To this one alone.
    Same(&'a Start),
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

/// A call whose end the table wants to hear of.
#[derive(Debug)]
#[must_use = "the table waits for the end of the call"]
pub(in crate::tcp_broker) struct Watch {
    connection: ConnectionId,
    began: Instant,
    /// It tells whether its peer is well.
    tells: bool,
    /// It counts as in flight.
    measured: bool,
}

/// What a call that is watched came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) enum Answer {
    /// The peer answered it, whatever the answer.
    Came,
    /// It ended before the peer could hear of it, so it says nothing.
    NeverAsked,
    /// It ended otherwise.
    Missing,
}

impl<P: Clone> Table<P> {
    /// The peer that gets the next call of the method; calls of equal `hash` go to equal peers where
    /// that is asked for. `now` counts only if the table [wants](Self::wants_time) it.
    pub(in crate::tcp_broker) fn pick(
        &mut self,
        key: Key<'_>,
        hash: Option<u64>,
        now: Instant,
    ) -> Option<Picked<P>> {
        let key = self.find(key)?;
        let route = &mut self.routes[key];
        let count = route.offers.len();
        if count == 0 {
            return None;
        }
        if !self.peers.any_sick() && route.is_in_turn(hash) {
            let at = route.turn();
            return Some(route.offers[at].picked(None));
        }
        let Usable { mut usable, due } = self.usable(key, now);
        let route = &mut self.routes[key];
        let at = match (route.balance, hash) {
            // A key goes where it belongs: whoever is to be tried is tried by one of its own.
            (Balance::Hash, Some(hash)) => {
                usable.extend(&due);
                let score = |at: &usize| {
                    let offer = &route.offers[*at];
                    (
                        mixed(self.peers.mark(offer.peer) ^ mixed(hash)),
                        offer.connection,
                    )
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
                    let of = &self.connections[&offer.connection];
                    let time = u128::from(of.latency.max(SHORTEST));
                    (u128::from(of.in_flight) + 1) * time * 0x1_0000 / u128::from(offer.weight)
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
            self.peers.try_it(offer.peer, offer.connection);
        }
        if measured && let Some(of) = self.connections.get_mut(&offer.connection) {
            of.in_flight += 1;
        }
        let watch = (tells || measured).then_some(Watch {
            connection: offer.connection,
            began: now,
            tells,
            measured,
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
        let Usable { usable, due } = self.usable(key, now);
        let each = usable.into_iter().map(|at| (at, false));
        let each = each.chain(due.into_iter().map(|at| (at, true)));
        let mut picked = Vec::new();
        for (at, tells) in each {
            let offer = &self.routes[key].offers[at];
            if tells {
                self.peers.try_it(offer.peer, offer.connection);
            }
            let watch = tells.then_some(Watch {
                connection: offer.connection,
                began: now,
                tells,
                measured: false,
            });
            picked.push(offer.picked(watch));
        }
        picked
    }

    /// The call behind `watch` has ended.
    pub(in crate::tcp_broker) fn settled(&mut self, watch: Watch, answer: Answer, now: Instant) {
        let Some(of) = self.connections.get_mut(&watch.connection) else {
            return;
        };
        if watch.measured {
            of.in_flight -= 1;
            if answer == Answer::Came {
                let took = now.saturating_duration_since(watch.began).as_nanos();
                let took = u64::try_from(took).unwrap_or(u64::MAX);
                of.latency = match of.latency {
                    0 => took,
                    known => known - known / 8 + took / 8,
                };
            }
        }
        if watch.tells {
            let jitter = draw(&mut self.random);
            self.peers
                .tried(of.peer, watch.connection, answer, now, jitter);
        }
    }

    /// The offers of a route that may get a call, never none of some.
    fn usable(&self, key: usize, now: Instant) -> Usable {
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
            match self.peers.health(offer.peer) {
                Health::Well => usable.push(at),
                Health::Out { until, .. } if until <= now => due.push(at),
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
