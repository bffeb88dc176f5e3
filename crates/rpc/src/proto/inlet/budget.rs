//! What the peer was granted beyond the windows of its calls, until the program has taken it.

use std::collections::VecDeque;
use std::mem;

use super::{Inlets, Partial, What};
use crate::proto::CallId;

/// Arguments of each hop level, items, replies.
const ITEM: u16 = 1 << 9;
const REPLY: u16 = 1 << 10;

/// The calls of one side.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Invariant N1.
    pub(super) used: usize,
    /// Messages that were let in and are not whole.
    pub(super) coming: usize,
    /// The classes of which a message was let in beyond the budget, and may not have been taken.
    beyond: u16,
    /// Invariant N3.
    pub(super) waiting: VecDeque<u64>,
}

/// What was not taken of a call that has no inlet any more.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) extra: u64,
    pub(super) beyond: u16,
}

/// A message that waits while everything let in before it has come: whether it is the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Starving {
    pub(crate) call: CallId,
    pub(crate) reply: bool,
}

impl What {
    fn class(&self) -> u16 {
        match self {
            What::Open(call) => 1 << call.hops.min(8),
            What::Item => ITEM,
            What::Reply => REPLY,
        }
    }
}

impl Inlets {
    /// Bytes that a peer was granted beyond the windows of its calls, and the program has not taken.
    pub(in crate::proto) fn used_by_peer(&self) -> usize {
        self.pools[usize::from(false)].used
    }

    /// Grants what is missing of messages that fit into `budget`, one after the other, so that none
    /// waits for ever.
    ///
    /// Where all that was let in has come, the program may not take it before it has something that waits
    /// here. So arguments of a hop level of which none is beyond the budget are let in all the same: calls of
    /// a level wait for deeper ones. For others the program is asked what it waits for.
    // Invariant N3.
    pub(super) fn admit(&mut self, ours: bool, budget: usize) {
        let side = usize::from(ours);
        while let Some(wire) = self.pools[side].waiting.front().copied() {
            if let Some((missing, _)) = self.missing(wire) {
                if self.pools[side].used + missing > budget {
                    break;
                }
                self.let_in(wire, missing, 0);
            }
            self.pools[side].waiting.pop_front();
        }
        if self.pools[side].waiting.is_empty() || self.pools[side].coming > 0 {
            return;
        }
        let mut waiting = mem::take(&mut self.pools[side].waiting);
        waiting.retain(|wire| match self.missing(*wire) {
            Some((_, ITEM | REPLY)) => true,
            Some((missing, class)) => {
                let free = self.pools[side].beyond & class == 0;
                if free {
                    self.let_in(*wire, missing, class);
                }
                !free
            }
            None => false,
        });
        self.asks |= !waiting.is_empty();
        self.pools[side].waiting = waiting;
    }

    /// Items and replies that wait though nothing else is on its way, if that is news: whether the program
    /// waits for one is to be told by [`awaited`](Self::awaited).
    pub(in crate::proto) fn starving(&mut self) -> Vec<Starving> {
        if !mem::take(&mut self.asks) {
            return Vec::new();
        }
        let mut starving = Vec::new();
        for pool in self.pools.iter().filter(|pool| pool.coming == 0) {
            for wire in &pool.waiting {
                if let Some((_, class @ (ITEM | REPLY))) = self.missing(*wire)
                    && pool.beyond & class == 0
                    && let Some(inlet) = self.by_wire.get(wire)
                {
                    let (call, reply) = (inlet.call, class == REPLY);
                    starving.push(Starving { call, reply });
                }
            }
        }
        starving
    }

    /// The program waits for the message of `wire`, and takes it as soon as it has come: it is let in beyond
    /// the budget, if no other of its kind is.
    pub(in crate::proto) fn awaited(&mut self, wire: u64) {
        let Some((missing, class @ (ITEM | REPLY))) = self.missing(wire) else {
            return;
        };
        let Some(side) = self.side(wire) else { return };
        let pool = &mut self.pools[side];
        if pool.coming == 0 && pool.beyond & class == 0 {
            pool.waiting.retain(|other| *other != wire);
            self.let_in(wire, missing, class);
        }
    }

    /// The application took so much of a call that is over, or of the arguments that were all that came on
    /// it. False if nothing is known of that.
    pub(in crate::proto) fn took_left(&mut self, call: CallId, amount: u64, budget: usize) -> bool {
        let Some(left) = self.left.get_mut(&call) else {
            return false;
        };
        let freed = amount.min(left.extra);
        left.extra -= freed;
        let mut beyond = 0;
        if left.extra == 0 {
            beyond = left.beyond;
            self.left.remove(&call);
        }
        self.free(call.is_ours(), freed, beyond);
        self.admit(call.is_ours(), budget);
        self.shrink();
        true
    }

    /// Whether the budget has something of this call that the program has to say it took.
    pub(in crate::proto) fn is_untaken(&self, call: CallId) -> bool {
        self.left.contains_key(&call)
            || !call.is_ours()
                && self
                    .by_wire
                    .get(&call.as_u64())
                    .is_some_and(|inlet| inlet.extra > 0)
    }

    /// So much is on its way no more, or was taken.
    pub(super) fn free(&mut self, ours: bool, freed: u64, beyond: u16) {
        let pool = &mut self.pools[usize::from(ours)];
        pool.used -= freed as usize;
        pool.beyond &= !beyond;
    }

    /// The message of `wire` is partial no more.
    pub(super) fn arrived(&mut self, wire: u64, ours: bool, partial: &Partial) {
        self.held -= partial.share;
        self.opens -= usize::from(partial.what.is_open());
        let pool = &mut self.pools[usize::from(ours)];
        if partial.admitted {
            pool.coming -= 1;
        } else {
            pool.waiting.retain(|other| *other != wire);
        }
    }

    fn side(&self, wire: u64) -> Option<usize> {
        Some(usize::from(self.by_wire.get(&wire)?.call.is_ours()))
    }

    /// What a message that was not let in lacks beyond what is granted, and of which class it is.
    fn missing(&self, wire: u64) -> Option<(usize, u16)> {
        let inlet = self.by_wire.get(&wire)?;
        let partial = inlet.partial.as_ref().filter(|it| !it.admitted)?;
        let rest = (partial.total - partial.bytes.len()) as u64;
        let missing = rest.saturating_sub(inlet.credit + inlet.grant);
        Some((missing as usize, partial.what.class()))
    }

    fn let_in(&mut self, wire: u64, missing: usize, beyond: u16) {
        let Some(inlet) = self.by_wire.get_mut(&wire) else {
            return;
        };
        let Some(partial) = &mut inlet.partial else {
            return;
        };
        let pool = &mut self.pools[usize::from(inlet.call.is_ours())];
        pool.used += missing;
        pool.coming += 1;
        pool.beyond |= beyond;
        partial.admitted = true;
        partial.bytes.reserve(partial.total - partial.bytes.len());
        self.held -= partial.share;
        partial.share = partial.total.saturating_sub(missing);
        self.held += partial.share;
        inlet.beyond |= beyond;
        inlet.extra += missing as u64;
        inlet.add_grant(missing as u64, wire, &mut self.grants);
    }
}
