//! The directions between hosts, and what becomes of each packet sent along one.
//!
//! Invariants
//! 1. A packet that is sent arrives at a time said at once, or is kept until its wire lets go of it,
//!    or is lost: [`Wires::judge`] decides, for every protocol alike.
//! 2. Nothing is drawn for a fault that a wire does not have, so faultless wires draw a latency
//!    for each packet and nothing else.
//! 3. What a wire keeps it lets go of in the order in which it was sent.

use crate::event::Event;
use crate::faults::{Lasting, Origin};
use crate::link::{Link, Loss};
use crate::oracle::{self, Oracle, Scope};
use std::collections::{BTreeMap, VecDeque};
use std::mem;

/// Packets that a held wire keeps before it loses datagrams.
const MOST_KEPT: usize = 65_536;
/// Payload of a segment within one host.
const LOOPBACK_SEGMENT: usize = 32_768;
/// Headers of a TCP segment, and of a datagram.
const TCP_HEADERS: usize = 40;
const UDP_HEADERS: usize = 28;

/// From which host to which.
pub(crate) type Way = (u32, u32);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives(u64),
    Held,
    Lost,
}

/// Up for so long, down for so long, and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flapping {
    pub(crate) since: u64,
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl Flapping {
    fn is_up(self, now: u64) -> bool {
        let period = self.up.saturating_add(self.down).max(1);
        now.saturating_sub(self.since) % period < self.up
    }
}

/// One direction between two hosts.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: Link,
    /// When everything sent so far has left the queue.
    free_at: u64,
    in_burst: bool,
    pub(crate) cuts: Lasting<()>,
    pub(crate) flapping: Lasting<Flapping>,
    /// Every packet takes so much longer, until then.
    spikes: Lasting<(u64, u64)>,
    pub(crate) holds: Lasting<()>,
    /// Clogs that did not end yet.
    clogs: u32,
    /// Counts the heals, so that the end of a clog that was healed is none.
    heals: u32,
    kept: VecDeque<(Event, u64)>,
}

impl Wire {
    fn new(link: Link) -> Wire {
        Wire {
            link,
            free_at: 0,
            in_burst: false,
            cuts: Lasting::default(),
            flapping: Lasting::default(),
            spikes: Lasting::default(),
            holds: Lasting::default(),
            clogs: 0,
            heals: 0,
            kept: VecDeque::new(),
        }
    }

    fn keeps(&self) -> bool {
        !self.holds.is_empty() || self.clogs > 0
    }

    fn is_down(&self, now: u64) -> bool {
        !self.cuts.is_empty() || self.flapping.iter().any(|flapping| !flapping.is_up(now))
    }

    /// Whether what is sent at `time` would get through, if it had luck.
    fn is_open(&self, time: u64) -> bool {
        let hopeless = matches!(self.link.loss, Loss::Independent(chance) if chance.is_certain());
        !self.is_down(time) && !self.keeps() && !hopeless
    }

    /// Lets every packet that is sent before `until` take so much longer.
    pub(crate) fn spike(&mut self, origin: Origin, now: u64, until: u64, longer: u64) {
        self.spikes.keep(|(until, _)| now < *until);
        self.spikes.begin(origin, (until, longer));
    }

    /// Begins a clog; the number is for its end.
    pub(crate) fn clog(&mut self) -> u32 {
        self.clogs += 1;
        self.heals
    }

    /// Ends a clog, unless it was healed.
    pub(crate) fn unclog(&mut self, heals: u32) {
        if self.heals == heals {
            self.clogs = self.clogs.saturating_sub(1);
        }
    }

    /// Ends every fault that was done to it; what its link is stays.
    pub(crate) fn heal(&mut self) {
        self.cuts.end_all();
        self.flapping.end_all();
        self.spikes.end_all();
        self.holds.end_all();
        self.clogs = 0;
        self.heals += 1;
    }

    /// What it kept and now lets go of; nothing while it keeps.
    pub(crate) fn let_go(&mut self) -> VecDeque<(Event, u64)> {
        match self.keeps() {
            true => VecDeque::new(),
            false => mem::take(&mut self.kept),
        }
    }

    /// When the last bit of a packet has left the queue; `None` where the queue is full.
    fn leaves(&mut self, now: u64, bytes: u64) -> Option<u64> {
        let Some(bandwidth) = self.link.bandwidth.filter(|bandwidth| *bandwidth > 0) else {
            return Some(now);
        };
        let begin = self.free_at.max(now);
        let waiting = u128::from(begin - now) * u128::from(bandwidth) / 1_000_000_000;
        // A packet that finds the wire idle does not wait.
        if begin > now && waiting + u128::from(bytes) > u128::from(self.link.queue) {
            return None;
        }
        let takes = u128::from(bytes) * 1_000_000_000 / u128::from(bandwidth);
        let takes = u64::try_from(takes).unwrap_or(u64::MAX);
        self.free_at = begin.saturating_add(takes);
        Some(self.free_at)
    }

    fn loses(&mut self, oracle: &mut Oracle, scope: Scope) -> bool {
        match self.link.loss {
            Loss::Independent(chance) => chance.happens(oracle, oracle::LOSS, scope),
            Loss::Bursts { begin, end, lost } => {
                let turn = if self.in_burst { end } else { begin };
                if turn.happens(oracle, oracle::BURST, scope) {
                    self.in_burst = !self.in_burst;
                }
                self.in_burst && lost.happens(oracle, oracle::LOSS, scope)
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Wires {
    default: Link,
    wires: BTreeMap<Way, Wire>,
    /// Whether some link forgets flows, or has.
    pub(crate) forgetful: bool,
}

impl Wires {
    pub(crate) fn new(default: Link) -> Wires {
        Wires {
            default,
            wires: BTreeMap::new(),
            forgetful: default.forgets.is_some(),
        }
    }

    /// What each link is: the default, and those of wires there are.
    pub(crate) fn links(&self) -> Vec<(Option<Way>, Link)> {
        let wires = self.wires.iter().map(|(way, wire)| (Some(*way), wire.link));
        std::iter::once((None, self.default)).chain(wires).collect()
    }

    /// Makes a link another one; the default for `None`.
    pub(crate) fn set_link(&mut self, way: Option<Way>, link: Link) {
        self.forgetful |= link.forgets.is_some();
        match way {
            None => self.default = link,
            Some(way) => self.wire(way).link = link,
        }
    }

    /// The wire between two different hosts.
    pub(crate) fn wire(&mut self, way: Way) -> &mut Wire {
        let default = self.default;
        self.wires.entry(way).or_insert_with(|| Wire::new(default))
    }

    fn link(&self, way: Way) -> &Link {
        self.wires
            .get(&way)
            .map_or(&self.default, |wire| &wire.link)
    }

    /// The ways on which something was sent or that were set.
    pub(crate) fn ways(&self) -> Vec<Way> {
        self.wires.keys().copied().collect()
    }

    /// Decides what becomes of a packet of so many bytes that is sent now.
    pub(crate) fn judge(&mut self, oracle: &mut Oracle, now: u64, way: Way, bytes: usize) -> Fate {
        let scope = Scope::Link(way.0, way.1);
        if way.0 == way.1 {
            let latency = Link::loopback().latency.draw(oracle, scope);
            return Fate::Arrives(now.saturating_add(latency));
        }
        let wire = self.wire(way);
        // First, so that nothing is lost and sent again before what is kept.
        if wire.keeps() {
            return Fate::Held;
        }
        if wire.is_down(now) {
            return Fate::Lost;
        }
        let Some(left) = wire.leaves(now, bytes as u64) else {
            return Fate::Lost;
        };
        // One packet, or as many as a long datagram is cut into.
        let most = (wire.link.mtu as usize).saturating_sub(UDP_HEADERS).max(1);
        for _ in 0..bytes.div_ceil(most).max(1) {
            if wire.loses(oracle, scope) {
                return Fate::Lost;
            }
        }
        let mut latency = wire.link.latency.draw(oracle, scope);
        if wire.link.jitter > 0 {
            let jitter = wire.link.jitter.saturating_add(1);
            latency = latency.saturating_add(oracle.choose(oracle::JITTER, scope, jitter));
        }
        for (_, longer) in wire.spikes.iter().filter(|(until, _)| now < *until) {
            latency = latency.saturating_add(*longer);
        }
        Fate::Arrives(left.saturating_add(latency))
    }

    /// Whether a wire keeps as many packets as it can. What streams have under way is bounded by
    /// their windows, so it is kept all the same.
    pub(crate) fn is_full(&mut self, way: Way) -> bool {
        self.wire(way).kept.len() >= MOST_KEPT
    }

    /// Keeps a packet that was judged to be held.
    pub(crate) fn keep(&mut self, way: Way, event: Event, cause: u64) {
        self.wire(way).kept.push_back((event, cause));
    }

    /// By what a datagram comes later than those sent after it, if it does.
    pub(crate) fn is_overtaken(&mut self, oracle: &mut Oracle, way: Way) -> Option<u64> {
        let (link, scope) = (self.link(way), Scope::Link(way.0, way.1));
        let overtaken = link.reordering.happens(oracle, oracle::REORDERING, scope);
        overtaken.then_some(link.overtaken_by)
    }

    /// Whether a datagram arrives twice.
    pub(crate) fn is_doubled(&mut self, oracle: &mut Oracle, way: Way) -> bool {
        let (link, scope) = (self.link(way), Scope::Link(way.0, way.1));
        link.duplication.happens(oracle, oracle::DUPLICATION, scope)
    }

    /// The most payload of a TCP segment.
    pub(crate) fn segment(&self, way: Way) -> usize {
        if way.0 == way.1 {
            return LOOPBACK_SEGMENT;
        }
        let mtu = self.link(way).mtu as usize;
        mtu.saturating_sub(TCP_HEADERS).max(1)
    }

    /// After what silence a flow is forgotten.
    pub(crate) fn forgets(&self, way: Way) -> Option<u64> {
        match way.0 == way.1 {
            true => None,
            false => self.link(way).forgets,
        }
    }

    /// Whether what is sent at `time` would get through, if it had luck.
    pub(crate) fn is_open(&self, way: Way, time: u64) -> bool {
        way.0 == way.1 || self.wires.get(&way).is_none_or(|wire| wire.is_open(time))
    }

    /// Whether nothing can become of a packet but that it arrives.
    pub(crate) fn is_plain(&self, way: Way, time: u64) -> bool {
        way.0 == way.1 || (self.link(way).is_faultless() && self.is_open(way, time))
    }
}
