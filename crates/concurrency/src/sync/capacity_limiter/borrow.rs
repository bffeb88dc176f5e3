use super::{CapacityLimiter, State};
use crate::node::Waiting;
use crate::sync::busy::Busy;
use crate::sync::guarded::{After, Guarded};
use crate::sync::leaf::{Claim, leaf_future};
use crate::sync::waiters::{Arrival, Waiters};
use crate::task_id::TaskId;
use crate::task_info::TaskInfo;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Who has a place of a [`CapacityLimiter`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Borrower {
    /// Nobody in particular; any number of places.
    Anonymous,
    /// A task, most often [`current_task`](crate::current_task).
    Task(TaskId),
    /// Whoever the number stands for.
    Key(u64),
    /// Whoever has this name.
    Named(Cow<'static, str>),
}

impl From<TaskId> for Borrower {
    fn from(task: TaskId) -> Self {
        Borrower::Task(task)
    }
}

impl From<TaskInfo> for Borrower {
    fn from(task: TaskInfo) -> Self {
        Borrower::Task(task.id())
    }
}

/// For [`current_task`](crate::current_task), which outside of tasks of this crate is nobody in
/// particular.
impl From<Option<TaskInfo>> for Borrower {
    fn from(task: Option<TaskInfo>) -> Self {
        task.map_or(Borrower::Anonymous, Borrower::from)
    }
}

impl From<u64> for Borrower {
    fn from(key: u64) -> Self {
        Borrower::Key(key)
    }
}

impl From<&'static str> for Borrower {
    fn from(name: &'static str) -> Self {
        Borrower::Named(Cow::Borrowed(name))
    }
}

impl From<String> for Borrower {
    fn from(name: String) -> Self {
        Borrower::Named(Cow::Owned(name))
    }
}

/// The borrower has a place already, or waits for one.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this borrower has a place already or waits for one")]
pub struct AlreadyBorrowed;

/// Why a borrower got no place without waiting.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// None is free.
    #[error(transparent)]
    Busy(Busy),
    /// It has a place already, or waits for one.
    #[error("this borrower has a place already or waits for one")]
    AlreadyBorrowed,
}

/// A place of a [`CapacityLimiter`], given back when dropped.
#[must_use = "the place is given back when this is dropped"]
pub struct LimiterPermit<'a> {
    limiter: &'a CapacityLimiter,
    place: usize,
}

impl<'a> LimiterPermit<'a> {
    pub(super) const fn new(limiter: &'a CapacityLimiter, place: usize) -> Self {
        LimiterPermit { limiter, place }
    }
}

impl Drop for LimiterPermit<'_> {
    fn drop(&mut self) {
        let borrower = self
            .limiter
            .guarded
            .step(|state, after| state.give_back(self.place, after));
        drop(borrower);
    }
}

impl fmt::Debug for LimiterPermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimiterPermit").finish_non_exhaustive()
    }
}

leaf_future! {
    /// Future of [`CapacityLimiter::acquire`].
    pub struct Borrow['a](Borrowing<'a, Anybody>) -> LimiterPermit<'a>;
}

leaf_future! {
    /// Future of [`CapacityLimiter::acquire_for`].
    pub struct BorrowFor['a](Borrowing<'a, Somebody>)
        -> Result<LimiterPermit<'a>, AlreadyBorrowed>;
}

/// Borrowing a place.
pub(in crate::sync) struct Borrowing<'a, M> {
    borrower: Borrower,
    kinds: PhantomData<(&'a CapacityLimiter, M)>,
}

/// Who waits, and once settled the place it was granted.
pub(in crate::sync) struct Entry {
    pub(super) borrower: Borrower,
    pub(super) place: usize,
}

impl<M> Borrowing<'_, M> {
    pub(super) const fn new(borrower: Borrower) -> Self {
        Borrowing {
            borrower,
            kinds: PhantomData,
        }
    }
}

/// What one gets, depending on whether it can be refused.
pub(in crate::sync) trait Asking<'a> {
    type Output;

    fn granted(permit: LimiterPermit<'a>) -> Self::Output;

    fn refused() -> Option<Self::Output>;
}

/// An anonymous borrower.
pub(in crate::sync) struct Anybody;

/// One that can have one place.
pub(in crate::sync) struct Somebody;

impl<'a> Asking<'a> for Anybody {
    type Output = LimiterPermit<'a>;

    fn granted(permit: LimiterPermit<'a>) -> Self::Output {
        permit
    }

    fn refused() -> Option<Self::Output> {
        None
    }
}

impl<'a> Asking<'a> for Somebody {
    type Output = Result<LimiterPermit<'a>, AlreadyBorrowed>;

    fn granted(permit: LimiterPermit<'a>) -> Self::Output {
        Ok(permit)
    }

    fn refused() -> Option<Self::Output> {
        Some(Err(AlreadyBorrowed))
    }
}

impl<'a, M: Asking<'a>> Claim for Borrowing<'a, M> {
    const WAITING: Waiting = Waiting::Limiter;

    type Handle = &'a CapacityLimiter;
    type State = State;
    type Extra = Entry;
    type Output = M::Output;

    fn guarded<'h>(handle: &'h &'a CapacityLimiter) -> &'h Guarded<State> {
        &handle.guarded
    }

    fn waiters(state: &mut State) -> &mut Waiters<Entry> {
        &mut state.waiters
    }

    #[inline]
    fn begin(
        &mut self,
        limiter: &&'a CapacityLimiter,
        state: &mut State,
        _: &mut After,
    ) -> Option<M::Output> {
        if state.knows(&self.borrower)
            && let Some(refused) = M::refused()
        {
            return Some(refused);
        }
        if !state.may_enter() {
            return None;
        }
        state.introduce(&self.borrower);
        let place = state.borrowed.insert(self.borrower.clone());
        Some(M::granted(LimiterPermit::new(limiter, place)))
    }

    fn extra(&mut self, state: &mut State, _: &Arrival) -> Entry {
        state.introduce(&self.borrower);
        Entry {
            borrower: self.borrower.clone(),
            place: 0,
        }
    }

    fn pump(state: &mut State, after: &mut After) {
        state.pump(after);
    }

    fn finish(
        &mut self,
        limiter: &&'a CapacityLimiter,
        _: &mut State,
        entry: Entry,
        _: &mut After,
    ) -> M::Output {
        M::granted(LimiterPermit::new(limiter, entry.place))
    }

    fn abandon(state: &mut State, entry: Entry, settled: bool, after: &mut After) -> Option<Entry> {
        if settled {
            state.give_back(entry.place, after);
        } else {
            state.forget(&entry.borrower);
        }
        Some(entry)
    }
}
