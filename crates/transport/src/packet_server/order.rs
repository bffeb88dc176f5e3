//! Who of all peers was heard longest ago.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use super::link::Link;

/// How many are looked at for one that waits: a packet of a stranger costs no more, however many are busy.
const LOOKS: usize = 32;

/// Peers in the order in which they were last heard, or last found at work.
#[derive(Default)]
pub(super) struct Order {
    links: BTreeMap<u64, Arc<Link>>,
    last: u64,
}

impl Order {
    /// The peer was heard now.
    pub(super) fn heard(&mut self, link: &Arc<Link>) {
        self.leave(link);
        self.last += 1;
        link.set_heard(self.last);
        self.links.insert(self.last, link.clone());
    }

    pub(super) fn leave(&mut self, link: &Link) {
        self.links.remove(&link.heard());
    }

    /// Tells the handler that there is no next packet who has waited for one longest; its waker, to be woken
    /// outside of all locks.
    pub(super) fn displace(&mut self) -> Option<Waker> {
        for _ in 0..LOOKS.min(self.links.len()) {
            let (_, link) = self.links.first_key_value()?;
            let link = link.clone();
            // Told or at work, it is not asked again before the others.
            self.heard(&link);
            if let Some(woken) = link.displace() {
                return Some(woken);
            }
        }
        None
    }
}
