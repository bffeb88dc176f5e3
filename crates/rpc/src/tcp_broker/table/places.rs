//! Where keys go: what calls with a key are given to a peer by.

use std::collections::BTreeMap;

/// The starts of brokers that have connections, by their instance ids.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<[u8; 16], Place>);

/// That of the first connection until the last one is over, so that no key moves while others come and go.
#[derive(Debug)]
struct Place {
    mark: u64,
    connections: usize,
}

impl Places {
    /// It has one connection more, which would be its only one by `mark`.
    pub(super) fn join(&mut self, instance: [u8; 16], mark: u64) {
        let first = Place {
            mark,
            connections: 0,
        };
        self.0.entry(instance).or_insert(first).connections += 1;
    }

    /// It has one connection less.
    pub(super) fn leave(&mut self, instance: [u8; 16]) {
        if let Some(place) = self.0.get_mut(&instance) {
            place.connections -= 1;
            if place.connections == 0 {
                self.0.remove(&instance);
            }
        }
    }

    /// Differs between peers, and is the same for all connections of one.
    pub(super) fn mark(&self, instance: [u8; 16]) -> u64 {
        self.0.get(&instance).map_or(0, |place| place.mark)
    }
}
