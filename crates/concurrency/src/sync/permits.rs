//! A number of permits and those who wait for them; pure bookkeeping.

use super::guarded::After;
use super::waiters::Waiters;
use crate::node::NodeRef;

/// What happens to a permit that comes back while somebody waits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It is the waiter's at once, before the waiter runs.
    HandOver,
    /// It is free, and the waiter is woken to try for it.
    Barging,
}

/// Permits, free or waited for.
///
/// Invariants, true whenever the lock around is free, apart from waiters that were frozen or
/// thawed since the last step:
/// 1. Hand-over: if somebody who is not frozen waits, the oldest such wants more than is free.
/// 2. Barging: if a permit is free and somebody waits who is not frozen, the oldest such was
///    woken and has not been polled since.
pub(super) struct Permits<X> {
    free: usize,
    order: Order,
    pub(super) waiters: Waiters<Want<X>>,
}

/// What a waiter wants: so many permits.
pub(super) struct Want<X> {
    pub(super) count: usize,
    pub(super) extra: X,
}

impl<X> Permits<X> {
    pub(super) const fn new(free: usize, order: Order) -> Self {
        Permits {
            free,
            order,
            waiters: Waiters::new(),
        }
    }

    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Takes permits without waiting; with hand-over never before somebody who waits.
    pub(super) fn try_take(&mut self, count: usize) -> bool {
        if self.free < count {
            return false;
        }
        if self.order == Order::HandOver && self.waiters.first_live().is_some() {
            return false;
        }
        self.free -= count;
        true
    }

    /// Takes permits for the waiter at `key`, which is queued and barges.
    pub(super) fn barge(
        &mut self,
        key: usize,
        after: &mut After,
        granted: impl FnOnce(&mut X, &mut Option<NodeRef>),
    ) -> Option<Want<X>> {
        let count = self.waiters.extra(key).count;
        if self.order != Order::Barging || self.free < count {
            return None;
        }
        self.free -= count;
        let (want, context) = self.waiters.entry(key);
        granted(&mut want.extra, context);
        Some(self.waiters.remove(key, after).0)
    }

    /// Adds free permits; `granted` is told of each waiter that gets its own, and where it waits.
    pub(super) fn give(
        &mut self,
        count: usize,
        after: &mut After,
        granted: impl FnMut(&mut X, &mut Option<NodeRef>),
    ) {
        self.free += count;
        self.pump(after, granted);
    }

    /// Grants, or with barging offers, what is free to those whose turn it is.
    pub(super) fn pump(
        &mut self,
        after: &mut After,
        mut granted: impl FnMut(&mut X, &mut Option<NodeRef>),
    ) {
        while self.free > 0
            && let Some(key) = self.waiters.first_live()
        {
            if self.order == Order::Barging {
                return self.waiters.nudge(key, after);
            }
            let count = self.waiters.extra(key).count;
            if count > self.free {
                return;
            }
            self.free -= count;
            self.waiters.settle(key, after);
            let (want, context) = self.waiters.entry(key);
            granted(&mut want.extra, context);
        }
    }

    /// A waiter has gone: what it was granted is given on, and who stood behind it may be next.
    pub(super) fn abandon(
        &mut self,
        count: usize,
        settled: bool,
        after: &mut After,
        granted: impl FnMut(&mut X, &mut Option<NodeRef>),
    ) {
        // A queued one that wanted no more than is free was frozen and held up nobody, except
        // that with barging it may have been the one woken.
        if settled {
            self.give(count, after, granted);
        } else if count > self.free || self.order == Order::Barging {
            self.pump(after, granted);
        }
    }
}
