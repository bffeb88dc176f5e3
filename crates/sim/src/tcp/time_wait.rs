//! TIME_WAIT: the end that closed first keeps its port for a while, so that nothing that is still
//! under way reaches a later connection (RFC 9293, 3.6.1).
//!
//! Invariant: entries are in the order in which they end, for all last equally long; those that
//! ended are forgotten before anyone looks.

use super::{Phase, Stream};
use crate::ports::Hold;
use crate::tcp::stream::Fin;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// How long, as on Linux.
const SPAN: u64 = 60_000_000_000;
/// How many a host remembers; the oldest is forgotten for one more.
const MOST: usize = 65_536;

/// The connections of a host that ended a short while ago.
#[derive(Debug, Default)]
pub(crate) struct TimeWaits {
    ended: VecDeque<(u64, u16, SocketAddr)>,
    of_port: BTreeMap<u16, Vec<Ended>>,
}

/// A connection that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) peer: SocketAddr,
    /// Its own address, and who may listen there at its port meanwhile.
    pub(super) at: IpAddr,
    pub(super) hold: Hold,
}

impl TimeWaits {
    /// Remembers that the connection `ended` of `port` ended at `time`.
    pub(super) fn insert(&mut self, time: u64, now: u64, port: u16, ended: Ended) {
        self.forget(now);
        let until = time.saturating_add(SPAN);
        if until <= now {
            return;
        }
        if self.ended.len() >= MOST {
            self.drop_oldest();
        }
        // Those that a program held on to after their end end before the last one.
        let place = self.ended.partition_point(|entry| entry.0 <= until);
        self.ended.insert(place, (until, port, ended.peer));
        self.of_port.entry(port).or_default().push(ended);
    }

    /// Whether some connection of `port` ended a short while ago.
    pub(super) fn has(&self, port: u16) -> bool {
        self.of_port.contains_key(&port)
    }

    /// The addresses at which they let nobody listen at `port`, or only who reuses.
    pub(super) fn held(&self, port: u16, hold: Hold) -> impl Iterator<Item = IpAddr> {
        let ended = self.of_port.get(&port).into_iter().flatten();
        let held = ended.filter(move |ended| ended.hold == hold);
        held.map(|ended| ended.at)
    }

    /// Whether the connection of `port` with `peer` did.
    pub(super) fn has_with(&self, port: u16, peer: SocketAddr) -> bool {
        let ended = self.of_port.get(&port);
        ended.is_some_and(|ended| ended.iter().any(|ended| ended.peer == peer))
    }

    /// Forgets those that ended; to be called before looking.
    pub(super) fn forget(&mut self, now: u64) {
        while self.ended.front().is_some_and(|entry| entry.0 <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, port, peer)) = self.ended.pop_front() else {
            return;
        };
        let Some(peers) = self.of_port.get_mut(&port) else {
            return;
        };
        if let Some(at) = peers.iter().position(|ended| ended.peer == peer) {
            peers.swap_remove(at);
        }
        if peers.is_empty() {
            self.of_port.remove(&port);
        }
    }
}

impl Stream {
    /// When the end closed that began the closing, if this one did: `now` if it is not complete.
    pub(super) fn waits_since(&self, now: u64) -> Option<u64> {
        let ours = matches!(self.fin, Fin::Sent | Fin::Acked) && !self.closed_second;
        let whole = self.phase == Phase::Established && ours;
        whole.then(|| self.ended_at.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn entries_end_and_are_bounded() {
        let peer = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let over = |peer| Ended {
            peer,
            at: IpAddr::V4(Ipv4Addr::LOCALHOST),
            hold: Hold::Shared,
        };
        let mut waits = TimeWaits::default();
        waits.insert(10, 10, 80, over(peer(1)));
        waits.insert(5, 10, 80, over(peer(2)));
        assert!(waits.has(80) && !waits.has(81));
        waits.forget(SPAN + 4);
        assert!(waits.has_with(80, peer(2)));
        waits.forget(SPAN + 5);
        assert!(!waits.has_with(80, peer(2)));
        waits.forget(SPAN + 9);
        assert!(waits.has_with(80, peer(1)));
        waits.forget(SPAN + 10);
        assert!(!waits.has(80));
        assert!(waits.ended.is_empty() && waits.of_port.is_empty());
        for number in 0..=MOST {
            waits.insert(0, 0, number as u16, over(peer((number / 65_536) as u16)));
        }
        assert_eq!(waits.ended.len(), MOST);
        assert!(!waits.has_with(0, peer(0)) && waits.has_with(0, peer(1)));
        // One that ended long ago is none.
        let mut waits = TimeWaits::default();
        waits.insert(0, SPAN, 80, over(peer(1)));
        assert!(!waits.has(80));
    }
}
