//! Which peers lose calls, and for how long they are left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::Instant;
use slab::Slab;

use super::pace::{LOST, Pace};
use super::{Answer, ConnectionId};

/// Calls in a row that a peer loses before it is left out.
const LOSSES: u32 = 5;
/// How long it is left out first; doubles each time.
const FIRST_WINDOW: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(30);
/// Peers without a connection whose losses are remembered: so many endpoints that this side connects to, and so
/// many of those that connected to this side. The last ones that went.
pub(super) const REMEMBERED: usize = 1024;

/// Who a peer is, over its connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::tcp_broker) enum Identity {
    /// Whoever is there when this side connects there.
    Endpoint(Arc<str>),
    /// A broker that connected to this side, by its instance id.
    Instance([u8; 16]),
}

impl Identity {
    /// Differs between peers, and is the same at every caller.
    fn mark(&self) -> u64 {
        let bytes = match self {
            Identity::Endpoint(text) => text.as_bytes(),
            Identity::Instance(id) => id,
        };
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        bytes.iter().fold(0xCBF2_9CE4_8422_2325, fnv)
    }
}

/// What a connection lost when it was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp_broker) struct Losses {
    /// Calls in flight.
    pub(in crate::tcp_broker) calls: u32,
    /// A call was answered before.
    pub(in crate::tcp_broker) answered: bool,
}

/// The peers of a table.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: Slab<Known>,
    by_identity: BTreeMap<Identity, usize>,
    /// Those that have a connection and are not well.
    sick: usize,
    absent: Absent,
}

/// Those without a connection, in the order in which they went. Peers that connect are whoever they like, so they
/// make nobody forget those that this side connects to.
#[derive(Debug, Default)]
struct Absent {
    endpoints: BTreeMap<u64, usize>,
    instances: BTreeMap<u64, usize>,
    departures: u64,
}

impl Absent {
    fn like(&mut self, identity: &Identity) -> &mut BTreeMap<u64, usize> {
        match identity {
            Identity::Endpoint(_) => &mut self.endpoints,
            Identity::Instance(_) => &mut self.instances,
        }
    }
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    mark: u64,
    connections: usize,
    /// The number of its departure, while it has no connection.
    gone: Option<u64>,
    losses: u32,
    health: Health,
    pace: Pace,
}

/// Whether a peer gets calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// Left out until then; from then on one call tells whether it is well: one that lasts only after as long
    /// again, for others may tell sooner.
    Out {
        until: Instant,
        window: Duration,
    },
    /// A call on this connection will tell. Another one tells if it has not by then.
    Tried {
        by: ConnectionId,
        until: Instant,
        window: Duration,
    },
}

impl Health {
    /// Whether a call may tell now.
    pub(super) fn is_due(self, lasts: bool, now: Instant) -> bool {
        match self {
            Health::Well => false,
            Health::Out { until, window } | Health::Tried { until, window, .. } => {
                until + window * u32::from(lasts) <= now
            }
        }
    }
}

impl Peers {
    pub(super) fn any_sick(&self) -> bool {
        self.sick > 0
    }

    pub(super) fn health(&self, peer: usize) -> Health {
        self.known[peer].health
    }

    pub(super) fn mark(&self, peer: usize) -> u64 {
        self.known[peer].mark
    }

    pub(super) fn pace(&self, peer: usize) -> &Pace {
        &self.known[peer].pace
    }

    pub(super) fn pace_mut(&mut self, peer: usize) -> &mut Pace {
        &mut self.known[peer].pace
    }

    pub(super) fn connect(&mut self, identity: Identity) -> usize {
        if let Some(peer) = self.by_identity.get(&identity) {
            let known = &mut self.known[*peer];
            if let Some(gone) = known.gone.take() {
                self.absent.like(&identity).remove(&gone);
            }
            known.connections += 1;
            self.sick += usize::from(known.connections == 1 && known.health != Health::Well);
            return *peer;
        }
        let peer = self.known.insert(Known {
            mark: identity.mark(),
            identity: identity.clone(),
            connections: 1,
            gone: None,
            losses: 0,
            health: Health::Well,
            pace: Pace::default(),
        });
        self.by_identity.insert(identity, peer);
        peer
    }

    pub(super) fn disconnect(&mut self, peer: usize, connection: ConnectionId) {
        let known = &mut self.known[peer];
        known.connections -= 1;
        if let Health::Tried { by, window, .. } = known.health
            && by == connection
        {
            // It was not said how the call that should tell ended.
            known.health = Health::Out {
                until: Instant::from_nanos(0),
                window,
            };
        }
        if known.connections > 0 {
            return;
        }
        self.sick -= usize::from(known.health != Health::Well);
        if known.losses == 0 && known.health == Health::Well {
            self.forget(peer);
            return;
        }
        let departure = self.absent.departures;
        self.absent.departures += 1;
        known.gone = Some(departure);
        let absent = self.absent.like(&known.identity);
        absent.insert(departure, peer);
        if absent.len() > REMEMBERED
            && let Some((_, first)) = absent.pop_first()
        {
            self.forget(first);
        }
    }

    fn forget(&mut self, peer: usize) {
        let known = self.known.remove(peer);
        self.by_identity.remove(&known.identity);
    }

    /// `jitter` is any number.
    pub(super) fn lost(
        &mut self,
        peer: usize,
        connection: ConnectionId,
        losses: Losses,
        now: Instant,
        jitter: u64,
    ) {
        let known = &mut self.known[peer];
        if losses.answered {
            known.losses = 0;
        }
        known.losses = known.losses.saturating_add(losses.calls);
        if losses.calls > 0 {
            known.pace.failed(now, LOST, now);
        }
        let window = match known.health {
            Health::Well if known.losses >= LOSSES => FIRST_WINDOW,
            Health::Tried { by, window, .. } if by == connection && losses.calls > 0 => {
                doubled(window)
            }
            _ => return,
        };
        self.leave_out(peer, window, now, jitter);
    }

    /// One call on the connection `by` will tell whether the peer is well: for so long no other is to, twice as
    /// long as the peer was left out.
    pub(super) fn try_it(&mut self, peer: usize, by: ConnectionId, now: Instant) {
        let window = match self.known[peer].health {
            Health::Well => return,
            Health::Out { window, .. } => window,
            Health::Tried { window, .. } => doubled(window),
        };
        let until = now + doubled(window);
        self.set(peer, Health::Tried { by, until, window });
    }

    /// The peer has answered on `connection`, whichever call: that tells as much as the one that should.
    pub(super) fn answered(&mut self, peer: usize, connection: ConnectionId) {
        if let Health::Tried { by, .. } = self.known[peer].health
            && by == connection
        {
            self.known[peer].losses = 0;
            self.set(peer, Health::Well);
        }
    }

    /// The call on `connection` that should tell came to `answer`. `jitter` is any number.
    ///
    /// Only one that the peer never heard of says nothing, and the next one tells instead. A peer that
    /// leaves it without an answer until the caller gives up is left out for longer: were it tried
    /// again at once, it would get every call of a caller that makes one after the other.
    pub(super) fn tried(
        &mut self,
        peer: usize,
        connection: ConnectionId,
        answer: Answer,
        now: Instant,
        jitter: u64,
    ) {
        let Health::Tried { by, window, .. } = self.known[peer].health else {
            return;
        };
        if by != connection {
            return;
        }
        match answer {
            answer if answer.came() => self.answered(peer, connection),
            Answer::NeverAsked => self.set(peer, Health::Out { until: now, window }),
            _ => self.leave_out(peer, doubled(window), now, jitter),
        }
    }

    fn leave_out(&mut self, peer: usize, window: Duration, now: Instant, jitter: u64) {
        let until = now + jittered(window, jitter);
        self.set(peer, Health::Out { until, window });
    }

    fn set(&mut self, peer: usize, health: Health) {
        let known = &mut self.known[peer];
        let former = std::mem::replace(&mut known.health, health);
        if known.connections > 0 {
            self.sick += usize::from(health != Health::Well);
            self.sick -= usize::from(former != Health::Well);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

fn doubled(window: Duration) -> Duration {
    (window * 2).min(LONGEST_WINDOW)
}

/// Between half of `window` and all of it.
fn jittered(window: Duration, number: u64) -> Duration {
    let half = window / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
    half + Duration::from_nanos(number % nanos.saturating_add(1))
}
