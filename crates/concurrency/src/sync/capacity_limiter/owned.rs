use super::borrow::{Borrower, Entry};
use super::{CapacityLimiter, State};
use crate::node::Waiting;
use crate::sync::guarded::{After, Guarded};
use crate::sync::leaf::{Claim, Leaf, leaf_future};
use crate::sync::waiters::{Arrival, Waiters};
use std::fmt;
use std::sync::Arc;

/// A place of a [`CapacityLimiter`] that lives as long as it has to, given back when dropped.
#[must_use = "the place is given back when this is dropped"]
pub struct OwnedLimiterPermit {
    limiter: Arc<CapacityLimiter>,
    place: usize,
}

impl Drop for OwnedLimiterPermit {
    fn drop(&mut self) {
        let borrower = self
            .limiter
            .guarded
            .step(|state, after| state.give_back(self.place, after));
        drop(borrower);
    }
}

impl fmt::Debug for OwnedLimiterPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedLimiterPermit").finish_non_exhaustive()
    }
}

leaf_future! {
    /// Future of [`CapacityLimiter::acquire_owned`].
    pub struct BorrowOwned[](BorrowingOwned) -> OwnedLimiterPermit;
}

impl BorrowOwned {
    pub(super) fn new(limiter: Arc<CapacityLimiter>) -> BorrowOwned {
        BorrowOwned(Leaf::new(limiter, BorrowingOwned))
    }
}

/// Borrowing a place for longer than a reference to the limiter lives, anonymously.
pub(in crate::sync) struct BorrowingOwned;

impl BorrowingOwned {
    fn permit(limiter: &Arc<CapacityLimiter>, place: usize) -> OwnedLimiterPermit {
        OwnedLimiterPermit {
            limiter: limiter.clone(),
            place,
        }
    }
}

impl Claim for BorrowingOwned {
    const WAITING: Waiting = Waiting::Limiter;

    type Handle = Arc<CapacityLimiter>;
    type State = State;
    type Extra = Entry;
    type Output = OwnedLimiterPermit;

    fn guarded(limiter: &Arc<CapacityLimiter>) -> &Guarded<State> {
        &limiter.guarded
    }

    fn waiters(state: &mut State) -> &mut Waiters<Entry> {
        &mut state.waiters
    }

    #[inline]
    fn begin(
        &mut self,
        limiter: &Arc<CapacityLimiter>,
        state: &mut State,
        _: &mut After,
    ) -> Option<OwnedLimiterPermit> {
        if !state.may_enter() {
            return None;
        }
        let place = state.borrowed.insert(Borrower::Anonymous);
        Some(Self::permit(limiter, place))
    }

    fn extra(&mut self, _: &mut State, _: &Arrival) -> Entry {
        Entry {
            borrower: Borrower::Anonymous,
            place: 0,
        }
    }

    fn pump(state: &mut State, after: &mut After) {
        state.pump(after);
    }

    fn finish(
        &mut self,
        limiter: &Arc<CapacityLimiter>,
        _: &mut State,
        entry: Entry,
        _: &mut After,
    ) -> OwnedLimiterPermit {
        Self::permit(limiter, entry.place)
    }

    fn abandon(state: &mut State, entry: Entry, settled: bool, after: &mut After) -> Option<Entry> {
        if settled {
            state.give_back(entry.place, after);
        }
        Some(entry)
    }
}
