use super::guarded::{After, Guarded};
use super::leaf::{Claim, Leaf};
use super::lock::{Lock, LockFuture, LockGuard};
use super::waiters::{Arrival, Waiters};
use crate::node::Waiting;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Waiting for a change of the value of a [`Lock`].
///
/// To wait gives the lock away and takes it again after a notification; to notify needs the
/// lock. Several conditions may share one lock. A notified waiter that is dropped or cancelled
/// before it has the lock again passes its notification on to one who waited at that time.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::{Condition, Lock};
/// use bowline_concurrency::{GroupError, Root, task_group};
/// use std::sync::Arc;
///
/// let stock: Result<u32, GroupError<()>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         let stocked = Arc::new(Condition::new(Arc::new(Lock::new(0))));
///         let there = stocked.clone();
///         let buyer = group.spawn_ok(async move {
///             let guard = there.lock().await;
///             let mut stock = there.wait_until(guard, |stock| *stock >= 3).await;
///             *stock -= 3;
///             *stock
///         });
///         for _ in 0..4 {
///             let mut stock = stocked.lock().await;
///             *stock += 1;
///             stocked.notify_all(&stock);
///         }
///         Ok(buyer.join().await.unwrap_or(9))
///     }));
/// assert!(stock.unwrap() <= 1);
/// # }
/// ```
pub struct Condition<T> {
    lock: Arc<Lock<T>>,
    guarded: Guarded<State>,
}

/// Invariant: the `arrived` of queued waiters grow from the oldest to the youngest, and all are
/// below `clock`.
pub(super) struct State {
    clock: u64,
    waiters: Waiters<Ticket>,
}

/// When somebody began to wait, and the clock of the notification that reached it.
pub(super) struct Ticket {
    arrived: u64,
    notified: u64,
}

/// A snapshot of a [`Condition`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConditionStatistics {
    /// How many wait for a notification.
    pub waiting: usize,
}

impl<T> Condition<T> {
    /// A condition of this lock's value.
    pub const fn new(lock: Arc<Lock<T>>) -> Condition<T> {
        Condition {
            lock,
            guarded: Guarded::new(State {
                clock: 0,
                waiters: Waiters::new(),
            }),
        }
    }

    /// Takes the lock.
    ///
    /// # Cancel safety
    ///
    /// As [`Lock::lock`].
    pub fn lock(&self) -> LockFuture<'_, T> {
        self.lock.lock()
    }

    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// # Panics
    ///
    /// If the guard is of another lock.
    ///
    /// # Cancel safety
    ///
    /// Nothing stays locked; a notification that came is passed on.
    #[track_caller]
    pub fn wait<'a>(&'a self, guard: LockGuard<'a, T>) -> ConditionWait<'a, T> {
        self.check(&guard);
        let leaf = Leaf::new(self, Listening(PhantomData));
        ConditionWait {
            condition: self,
            stage: Stage::Holding(guard, leaf),
        }
    }

    /// Waits until `predicate` holds, which is asked at once and after every notification.
    ///
    /// # Panics
    ///
    /// If the guard is of another lock.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Condition::wait).
    pub async fn wait_until<'a>(
        &'a self,
        mut guard: LockGuard<'a, T>,
        mut predicate: impl FnMut(&mut T) -> bool,
    ) -> LockGuard<'a, T> {
        self.check(&guard);
        while !predicate(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Notifies the `count` who have waited longest; if fewer wait, the rest is not kept.
    ///
    /// # Panics
    ///
    /// If the guard is of another lock.
    #[track_caller]
    pub fn notify(&self, guard: &LockGuard<'_, T>, count: usize) {
        self.check(guard);
        self.guarded.step(|state, after| {
            let clock = state.clock;
            for _ in 0..count {
                if !state.notify_one(clock, after) {
                    return;
                }
            }
        });
    }

    /// Notifies all who wait.
    ///
    /// # Panics
    ///
    /// If the guard is of another lock.
    #[track_caller]
    pub fn notify_all(&self, guard: &LockGuard<'_, T>) {
        self.notify(guard, usize::MAX);
    }

    /// How many wait for a notification.
    pub fn statistics(&self) -> ConditionStatistics {
        self.guarded.look(|state| ConditionStatistics {
            waiting: state.waiters.queued(),
        })
    }

    #[track_caller]
    fn check(&self, guard: &LockGuard<'_, T>) {
        assert!(
            ptr::eq(guard.lock(), &*self.lock),
            "the guard is of another lock than the condition's"
        );
    }
}

impl State {
    /// Passes a notification of the time `clock` to the oldest waiter, if it waited then.
    fn notify_one(&mut self, clock: u64, after: &mut After) -> bool {
        let Some(key) = self.waiters.first_live() else {
            return false;
        };
        if self.waiters.extra(key).arrived >= clock {
            return false;
        }
        self.waiters.settle(key, after).notified = clock;
        true
    }
}

impl<T> fmt::Debug for Condition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("statistics", &self.statistics())
            .field("lock", &self.lock)
            .finish_non_exhaustive()
    }
}

/// Future of [`Condition::wait`].
#[must_use = "this does nothing until it is awaited"]
pub struct ConditionWait<'a, T> {
    condition: &'a Condition<T>,
    stage: Stage<'a, T>,
}

enum Stage<'a, T> {
    /// Not polled in earnest yet.
    Holding(LockGuard<'a, T>, Leaf<Listening<'a, T>>),
    /// Queued; the lock was released after that, so no notification is missed.
    Waiting(Leaf<Listening<'a, T>>),
    /// Notified at that time; owes the notification to others until it has the lock.
    Locking(u64, LockFuture<'a, T>),
    Finished,
}

/// Nothing in it is ever pinned.
impl<T> Unpin for ConditionWait<'_, T> {}

impl<'a, T> Future for ConditionWait<'a, T> {
    type Output = LockGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Stage::Holding(_, leaf) = &mut this.stage {
            // Nobody can notify while we hold the lock: it only queues, if it does anything.
            let _ = leaf.poll(cx);
            if !leaf.has_place() {
                return Poll::Pending;
            }
            if let Stage::Holding(guard, leaf) = std::mem::replace(&mut this.stage, Stage::Finished)
            {
                this.stage = Stage::Waiting(leaf);
                drop(guard);
            }
            return Poll::Pending;
        }
        if let Stage::Waiting(leaf) = &mut this.stage {
            let clock = ready!(leaf.poll(cx));
            this.stage = Stage::Locking(clock, this.condition.lock());
        }
        let Stage::Locking(_, lock) = &mut this.stage else {
            panic!("a future was polled after it had completed");
        };
        let guard = ready!(Pin::new(lock).poll(cx));
        this.stage = Stage::Finished;
        Poll::Ready(guard)
    }
}

impl<T> Drop for ConditionWait<'_, T> {
    fn drop(&mut self) {
        if let Stage::Locking(clock, lock) = std::mem::replace(&mut self.stage, Stage::Finished) {
            drop(lock);
            self.condition
                .guarded
                .step(|state, after| state.notify_one(clock, after));
        }
    }
}

impl<T> fmt::Debug for ConditionWait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Holding(..) => "idle",
            Stage::Waiting(_) => "waiting",
            Stage::Locking(..) => "locking",
            Stage::Finished => "finished",
        };
        f.debug_struct("ConditionWait")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

/// Waiting for a notification; gives its clock.
struct Listening<'a, T>(PhantomData<&'a Condition<T>>);

impl<'a, T> Claim for Listening<'a, T> {
    const WAITING: Waiting = Waiting::Condition;

    type Handle = &'a Condition<T>;
    type State = State;
    type Extra = Ticket;
    type Output = u64;

    fn guarded<'h>(handle: &'h &'a Condition<T>) -> &'h Guarded<State> {
        &handle.guarded
    }

    fn waiters(state: &mut State) -> &mut Waiters<Ticket> {
        &mut state.waiters
    }

    #[inline]
    fn begin(&mut self, _: &&'a Condition<T>, _: &mut State, _: &mut After) -> Option<u64> {
        None
    }

    fn extra(&mut self, state: &mut State, _: &Arrival) -> Ticket {
        let arrived = state.clock;
        state.clock += 1;
        Ticket {
            arrived,
            notified: 0,
        }
    }

    fn pump(_: &mut State, _: &mut After) {}

    fn finish(
        &mut self,
        _: &&'a Condition<T>,
        _: &mut State,
        ticket: Ticket,
        _: &mut After,
    ) -> u64 {
        ticket.notified
    }

    fn abandon(
        state: &mut State,
        ticket: Ticket,
        settled: bool,
        after: &mut After,
    ) -> Option<Ticket> {
        if settled {
            state.notify_one(ticket.notified, after);
        }
        None
    }
}
