//! What the lock of a pool protects: pure bookkeeping, no foreign code.

use super::PoolStatistics;
use super::closing::Closing;
use super::item::{Item, Times};
use crate::node::Waiting;
use crate::sync::guarded::{After, Guarded};
use crate::sync::leaf::Claim;
use crate::sync::waiters::{Arrival, Waiters};
use std::collections::VecDeque;
use std::marker::PhantomData;

/// The protected part.
///
/// A *place* is the right to have one item. It is held from before an item is made until the
/// lease is back, or until the item was closed. Items that lie in the pool are idle, or retired:
/// those are to be closed by whoever holds their place next, before anything else is put there.
///
/// Invariants, those with "waits" apart from waiters frozen or thawed since the last step:
/// 1. `held + idle.len() + retired.len()` is at most `max`: there is a place for every item, and
///    an item is made only where nothing lies in the pool.
/// 2. Nobody waits to acquire while a place is free.
/// 3. `idle.len()` is at most `max_idle`. Once closed, nothing is idle.
/// 4. Once closed, nobody waits to acquire; nobody waits to close while something is retired, or
///    while nothing is held.
/// 5. Under the lock no item and no closing is dropped.
pub(super) struct State<T> {
    max: usize,
    max_idle: usize,
    closed: bool,
    held: usize,
    /// In the order in which they came back.
    idle: VecDeque<Item<T>>,
    retired: VecDeque<Retired<T>>,
    acquirers: Waiters<Turn<T>>,
    closers: Waiters<Turn<T>>,
}

/// What lies in a held place.
pub(super) enum Content<T> {
    Empty,
    Idle(Item<T>),
    Retired(Retired<T>),
}

/// An item that is out of use.
pub(super) enum Retired<T> {
    Item(T),
    /// Its closing has begun.
    Closing(Box<Closing>),
}

/// What a waiter has in its place.
pub(super) enum Turn<T> {
    /// Queued.
    Waiting,
    /// Settled: it holds this.
    Holds(Content<T>),
    /// Settled: there is nothing to wait for.
    Over,
}

impl<T> State<T> {
    pub(super) const fn new(max: usize, max_idle: usize) -> State<T> {
        State {
            max,
            max_idle,
            closed: false,
            held: 0,
            idle: VecDeque::new(),
            retired: VecDeque::new(),
            acquirers: Waiters::new(),
            closers: Waiters::new(),
        }
    }

    /// Holds one more place: that of the item that came back last, of one to be closed, or an
    /// empty one.
    fn hold(&mut self) -> Content<T> {
        self.held += 1;
        if let Some(item) = self.idle.pop_back() {
            return Content::Idle(item);
        }
        match self.retired.pop_front() {
            Some(retired) => Content::Retired(retired),
            None => Content::Empty,
        }
    }

    /// Holds the place of an item that is to be closed.
    pub(super) fn hold_retired(&mut self) -> Option<Retired<T>> {
        let retired = self.retired.pop_front()?;
        self.held += 1;
        Some(retired)
    }

    /// An item comes back in its held place, if it may stay; comes out again, its place held
    /// still, if it may not.
    pub(super) fn keep(&mut self, item: Item<T>, after: &mut After) -> Result<(), Item<T>> {
        let wanted = self.acquirers.first_live().is_some() || self.idle.len() < self.max_idle;
        if self.closed || !wanted {
            return Err(item);
        }
        self.release(Content::Idle(item), after);
        Ok(())
    }

    /// A place is not held any more; what is in it stays there.
    pub(super) fn release(&mut self, content: Content<T>, after: &mut After) {
        self.held -= 1;
        match content {
            Content::Empty => {}
            Content::Idle(item) if !self.closed => self.idle.push_back(item),
            Content::Idle(item) => self.retired.push_back(Retired::Item(item.value)),
            Content::Retired(retired) => self.retired.push_back(retired),
        }
        self.pump(after);
        // Nobody took what a waiter that was dropped, or a lease, left.
        if self.idle.len() > self.max_idle
            && let Some(item) = self.idle.pop_front()
        {
            self.retired.push_back(Retired::Item(item.value));
        }
    }

    /// Retires idle items, the one that came back first before the others, until one is not over.
    pub(super) fn expire_front(&mut self, is_over: impl Fn(&Times) -> bool) {
        while self.idle.front().is_some_and(|item| is_over(&item.times)) {
            let item = self.idle.pop_front();
            self.retired
                .extend(item.map(|item| Retired::Item(item.value)));
        }
    }

    /// Retires all idle items that are over.
    pub(super) fn expire(&mut self, is_over: impl Fn(&Times) -> bool) {
        for _ in 0..self.idle.len() {
            let Some(item) = self.idle.pop_front() else {
                break;
            };
            match is_over(&item.times) {
                true => self.retired.push_back(Retired::Item(item.value)),
                false => self.idle.push_back(item),
            }
        }
    }

    pub(super) fn close(&mut self, after: &mut After) {
        self.closed = true;
        self.acquirers.settle_live(after, |turn| *turn = Turn::Over);
        let idle = std::mem::take(&mut self.idle);
        self.retired
            .extend(idle.into_iter().map(|item| Retired::Item(item.value)));
        self.pump(after);
    }

    /// Restores invariants 2 and 4, oldest waiters first.
    fn pump(&mut self, after: &mut After) {
        while !self.closed
            && self.held < self.max
            && let Some(key) = self.acquirers.first_live()
        {
            let content = self.hold();
            *self.acquirers.settle(key, after) = Turn::Holds(content);
        }
        while self.closed
            && !self.retired.is_empty()
            && let Some(key) = self.closers.first_live()
            && let Some(retired) = self.hold_retired()
        {
            *self.closers.settle(key, after) = Turn::Holds(Content::Retired(retired));
        }
        if self.has_ended() {
            self.closers.settle_live(after, |turn| *turn = Turn::Over);
        }
    }

    fn has_ended(&self) -> bool {
        self.closed && self.held == 0 && self.retired.is_empty()
    }

    pub(super) fn statistics(&self) -> PoolStatistics {
        PoolStatistics {
            max: self.max,
            held: self.held,
            idle: self.idle.len(),
            retired: self.retired.len(),
            waiting: self.acquirers.queued(),
            closed: self.closed,
        }
    }
}

impl<T> Turn<T> {
    /// What a settled waiter holds; none if there is nothing to wait for.
    fn content(self) -> Option<Content<T>> {
        match self {
            Turn::Holds(content) => Some(content),
            Turn::Waiting | Turn::Over => None,
        }
    }
}

/// One of the two queues of a pool, each with what its waiters come for.
pub(super) trait Line<T> {
    /// What the task tree says of one who waits.
    const WAITING: Waiting;

    fn waiters(state: &mut State<T>) -> &mut Waiters<Turn<T>>;

    /// The content of a place, or none where there is nothing to wait for, if that needs no wait.
    fn begin(state: &mut State<T>) -> Option<Option<Content<T>>>;

    /// Whether one who is queued still waits in vain.
    fn is_over(state: &State<T>) -> bool;
}

/// Of those who acquire a place; none once the pool is closed.
pub(super) struct Acquirers;

impl<T> Line<T> for Acquirers {
    const WAITING: Waiting = Waiting::PoolAcquire;

    fn waiters(state: &mut State<T>) -> &mut Waiters<Turn<T>> {
        &mut state.acquirers
    }

    fn begin(state: &mut State<T>) -> Option<Option<Content<T>>> {
        if state.closed {
            return Some(None);
        }
        let free = state.held < state.max && state.acquirers.first_live().is_none();
        free.then(|| Some(state.hold()))
    }

    fn is_over(state: &State<T>) -> bool {
        // It was frozen when the pool was closed.
        state.closed
    }
}

/// Of those who wait for an item of a closed pool to close; none once all are closed.
pub(super) struct Closers;

impl<T> Line<T> for Closers {
    const WAITING: Waiting = Waiting::PoolClose;

    fn waiters(state: &mut State<T>) -> &mut Waiters<Turn<T>> {
        &mut state.closers
    }

    fn begin(state: &mut State<T>) -> Option<Option<Content<T>>> {
        if let Some(retired) = state.hold_retired() {
            return Some(Some(Content::Retired(retired)));
        }
        state.has_ended().then_some(None)
    }

    fn is_over(_: &State<T>) -> bool {
        false
    }
}

/// Waiting in a line of the pool.
pub(super) struct Queuing<'a, T, L>(PhantomData<(&'a Guarded<State<T>>, L)>);

impl<T, L> Queuing<'_, T, L> {
    pub(super) const fn new() -> Self {
        Queuing(PhantomData)
    }
}

impl<'a, T, L: Line<T>> Claim for Queuing<'a, T, L> {
    const WAITING: Waiting = L::WAITING;

    type Handle = &'a Guarded<State<T>>;
    type State = State<T>;
    type Extra = Turn<T>;
    type Output = Option<Content<T>>;

    fn guarded(handle: &Self::Handle) -> &Guarded<State<T>> {
        handle
    }

    fn waiters(state: &mut State<T>) -> &mut Waiters<Turn<T>> {
        L::waiters(state)
    }

    fn begin(
        &mut self,
        _: &Self::Handle,
        state: &mut State<T>,
        _: &mut After,
    ) -> Option<Self::Output> {
        L::begin(state)
    }

    fn extra(&mut self, _: &mut State<T>, _: &Arrival) -> Turn<T> {
        Turn::Waiting
    }

    fn pump(state: &mut State<T>, after: &mut After) {
        state.pump(after);
    }

    fn retry(
        &mut self,
        _: &Self::Handle,
        state: &mut State<T>,
        key: usize,
        after: &mut After,
    ) -> Option<Self::Output> {
        L::is_over(state).then(|| {
            let (turn, _) = L::waiters(state).remove(key, after);
            turn.content()
        })
    }

    fn finish(
        &mut self,
        _: &Self::Handle,
        _: &mut State<T>,
        turn: Turn<T>,
        _: &mut After,
    ) -> Self::Output {
        turn.content()
    }

    fn abandon(state: &mut State<T>, turn: Turn<T>, _: bool, after: &mut After) -> Option<Turn<T>> {
        if let Some(content) = turn.content() {
            state.release(content, after);
        }
        None
    }
}
