mod borrow;
mod owned;

pub use borrow::{AlreadyBorrowed, Borrow, BorrowFor, Borrower, LimiterPermit, TryAcquireError};
pub use owned::{BorrowOwned, OwnedLimiterPermit};

use super::busy::Busy;
use super::guarded::{After, Guarded};
use super::leaf::Leaf;
use super::waiters::Waiters;
use borrow::{Borrowing, Entry};
use slab::Slab;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A number of places that can be changed while they are borrowed, and that knows who has them.
///
/// [`acquire`](CapacityLimiter::acquire) borrows for nobody in particular,
/// [`acquire_for`](CapacityLimiter::acquire_for) gives one borrower at most one place. A place
/// that becomes free belongs to the one who has waited longest at once, before that one runs.
/// With fewer places than are borrowed nobody is let in until enough came back.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::Root;
/// use bowline_concurrency::sync::CapacityLimiter;
///
/// Root::new().backend(Backend::Smol).block_on(async {
///     let limiter = CapacityLimiter::new(2);
///     let one = limiter.acquire().await;
///     let other = limiter.acquire_for("import").await.unwrap();
///     assert!(limiter.acquire_for("import").await.is_err());
///     limiter.set_total(1);
///     assert_eq!((limiter.borrowed(), limiter.available()), (2, 0));
///     drop(one);
///     assert_eq!((limiter.borrowed(), limiter.available()), (1, 0));
///     drop(other);
///     assert_eq!((limiter.borrowed(), limiter.available()), (0, 1));
/// });
/// # }
/// ```
pub struct CapacityLimiter {
    guarded: Guarded<State>,
}

/// Invariants, the first apart from waiters that were frozen or thawed since the last step:
/// 1. While a place is free nobody waits who is not frozen.
/// 2. `known` has each borrower but anonymous ones once, while it waits, was granted or holds.
pub(super) struct State {
    total: usize,
    borrowed: Slab<Borrower>,
    known: BTreeSet<Borrower>,
    waiters: Waiters<Entry>,
}

/// A snapshot of a [`CapacityLimiter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterStatistics {
    /// How many places there are.
    pub total: usize,
    /// How many are borrowed; more than there are, if some were taken away.
    pub borrowed: usize,
    /// Who has them.
    pub borrowers: Vec<Borrower>,
    /// How many wait.
    pub waiting: usize,
}

const ACTION: &str = "no place is free";

impl CapacityLimiter {
    /// A limiter with this many places; with none all wait until there are some.
    pub const fn new(total: usize) -> CapacityLimiter {
        CapacityLimiter {
            guarded: Guarded::new(State {
                total,
                borrowed: Slab::new(),
                known: BTreeSet::new(),
                waiters: Waiters::new(),
            }),
        }
    }

    /// A limiter that only counts.
    pub const fn unbounded() -> CapacityLimiter {
        CapacityLimiter::new(usize::MAX)
    }

    /// Waits for a place, as an anonymous borrower.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost; what was granted goes on to the next.
    pub fn acquire(&self) -> Borrow<'_> {
        Borrow(Leaf::new(self, Borrowing::new(Borrower::Anonymous)))
    }

    /// As [`acquire`](CapacityLimiter::acquire), with a permit that may go to another thread or
    /// outlive the caller.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](CapacityLimiter::acquire).
    pub fn acquire_owned(self: Arc<Self>) -> BorrowOwned {
        BorrowOwned::new(self)
    }

    /// Waits for a place for `borrower`, which can have one at a time.
    ///
    /// With [`current_task`](crate::current_task) as the borrower no task gets a second place: one
    /// that asks again while it has one is told so, instead of waiting for itself. Branches of one
    /// task are the same borrower. Outside of tasks of this crate that borrower is
    /// [`Borrower::Anonymous`].
    ///
    /// # Errors
    ///
    /// [`AlreadyBorrowed`] if it has a place or waits for one.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](CapacityLimiter::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "smol")] {
    /// use bowline_backend::Backend;
    /// use bowline_concurrency::sync::{AlreadyBorrowed, CapacityLimiter};
    /// use bowline_concurrency::{Root, current_task};
    ///
    /// async fn query(connections: &CapacityLimiter) -> Result<(), AlreadyBorrowed> {
    ///     let _connection = connections.acquire_for(current_task()).await?;
    ///     // It would wait for this very task, had it not said who it is.
    ///     let nested = connections.acquire_for(current_task()).await;
    ///     assert_eq!(nested.err(), Some(AlreadyBorrowed));
    ///     Ok(())
    /// }
    ///
    /// let connections = CapacityLimiter::new(1);
    /// Root::new().backend(Backend::Smol).block_on(query(&connections))?;
    /// assert_eq!(connections.available(), 1);
    /// # }
    /// # Ok::<_, bowline_concurrency::sync::AlreadyBorrowed>(())
    /// ```
    pub fn acquire_for(&self, borrower: impl Into<Borrower>) -> BorrowFor<'_> {
        BorrowFor(Leaf::new(self, Borrowing::new(borrower.into())))
    }

    /// Takes a place if one is free, as an anonymous borrower.
    ///
    /// # Errors
    ///
    /// [`Busy`] if none is free.
    pub fn try_acquire(&self) -> Result<LimiterPermit<'_>, Busy> {
        self.try_borrow(Borrower::Anonymous)
            .map_err(|_| Busy::new(ACTION))
    }

    /// Takes a place for `borrower` if one is free.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] says whether none is free or the borrower has one.
    pub fn try_acquire_for(
        &self,
        borrower: impl Into<Borrower>,
    ) -> Result<LimiterPermit<'_>, TryAcquireError> {
        self.try_borrow(borrower.into())
    }

    fn try_borrow(&self, borrower: Borrower) -> Result<LimiterPermit<'_>, TryAcquireError> {
        self.guarded.step(|state, _| {
            if state.knows(&borrower) {
                return Err(TryAcquireError::AlreadyBorrowed);
            }
            if !state.may_enter() {
                return Err(TryAcquireError::Busy(Busy::new(ACTION)));
            }
            state.introduce(&borrower);
            let place = state.borrowed.insert(borrower);
            Ok(LimiterPermit::new(self, place))
        })
    }

    /// Changes how many places there are, and lets in those for whom there is one now.
    pub fn set_total(&self, total: usize) {
        self.guarded.step(|state, after| {
            state.total = total;
            state.pump(after);
        });
    }

    /// How many places there are; `usize::MAX` where they are not bounded.
    pub fn total(&self) -> usize {
        self.guarded.look(|state| state.total)
    }

    /// How many places are borrowed.
    pub fn borrowed(&self) -> usize {
        self.guarded.look(|state| state.borrowed.len())
    }

    /// How many more may be borrowed now.
    pub fn available(&self) -> usize {
        self.guarded
            .look(|state| state.total.saturating_sub(state.borrowed.len()))
    }

    /// Who has places, and how many wait.
    pub fn statistics(&self) -> LimiterStatistics {
        self.guarded.look(|state| LimiterStatistics {
            total: state.total,
            borrowed: state.borrowed.len(),
            borrowers: state.borrowed.iter().map(|(_, b)| b.clone()).collect(),
            waiting: state.waiters.queued(),
        })
    }
}

impl State {
    fn has_free(&self) -> bool {
        self.borrowed.len() < self.total
    }

    /// Whether a newcomer gets a place without waiting.
    fn may_enter(&self) -> bool {
        self.has_free() && self.waiters.first_live().is_none()
    }

    fn knows(&self, borrower: &Borrower) -> bool {
        *borrower != Borrower::Anonymous && self.known.contains(borrower)
    }

    fn introduce(&mut self, borrower: &Borrower) {
        if *borrower != Borrower::Anonymous {
            self.known.insert(borrower.clone());
        }
    }

    fn forget(&mut self, borrower: &Borrower) {
        if *borrower != Borrower::Anonymous {
            self.known.remove(borrower);
        }
    }

    /// Frees a place and lets the next in.
    fn give_back(&mut self, place: usize, after: &mut After) -> Borrower {
        let borrower = self.borrowed.remove(place);
        self.forget(&borrower);
        self.pump(after);
        borrower
    }

    fn pump(&mut self, after: &mut After) {
        while self.has_free()
            && let Some(key) = self.waiters.first_live()
        {
            let entry = self.waiters.settle(key, after);
            let borrower = entry.borrower.clone();
            entry.place = self.borrowed.insert(borrower);
        }
    }
}

impl fmt::Debug for CapacityLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapacityLimiter")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
