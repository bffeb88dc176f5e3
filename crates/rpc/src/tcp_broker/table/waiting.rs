//! The calls that wait for a peer to offer their method.

use std::sync::Arc;

use super::{Key, Table};

/// A call that waits. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::tcp_broker) struct WaitId(u64);

/// As many calls wait as may, or they hold as many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) struct Full;

/// How many wait at the whole table, and how many may.
#[derive(Debug)]
pub(super) struct Waiting {
    calls: usize,
    bytes: usize,
    max_calls: usize,
    max_bytes: usize,
    next: u64,
}

impl Waiting {
    pub(super) fn new(max_calls: usize, max_bytes: usize) -> Self {
        Self {
            calls: 0,
            bytes: 0,
            max_calls,
            max_bytes,
            next: 0,
        }
    }
}

impl<P: Clone> Table<P> {
    /// A call with a body of `bytes` bytes waits for a peer.
    ///
    /// # Errors
    /// There are enough.
    pub(in crate::tcp_broker) fn wait(
        &mut self,
        name: &Arc<str>,
        bytes: usize,
    ) -> Result<WaitId, Full> {
        let waiting = &mut self.waiting;
        if waiting.calls >= waiting.max_calls || waiting.bytes + bytes > waiting.max_bytes {
            return Err(Full);
        }
        waiting.calls += 1;
        waiting.bytes += bytes;
        waiting.next += 1;
        let id = WaitId(waiting.next);
        let route = self.route(name);
        self.routes[route].waiting.insert(id, bytes);
        Ok(id)
    }

    /// It waits no longer.
    pub(in crate::tcp_broker) fn leave(&mut self, name: &Arc<str>, id: WaitId) {
        let Some(key) = self.find(Key::Name(name)) else {
            return;
        };
        if let Some(bytes) = self.routes[key].waiting.remove(&id) {
            self.waiting.calls -= 1;
            self.waiting.bytes -= bytes;
        }
        self.forget_if_unused(key);
    }

    /// How many calls wait for `name`, once for each time nobody offers it.
    pub(in crate::tcp_broker) fn warn(&mut self, name: &Arc<str>) -> Option<usize> {
        let route = self.find(Key::Name(name))?;
        let route = &mut self.routes[route];
        let said = std::mem::replace(&mut route.warned, true);
        (!said).then_some(route.waiting.len())
    }

    /// How many calls wait, and the bytes of their bodies.
    #[cfg(test)]
    pub(in crate::tcp_broker) fn waiting(&self) -> (usize, usize) {
        (self.waiting.calls, self.waiting.bytes)
    }
}
