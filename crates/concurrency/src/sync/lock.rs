mod future;
mod guard;

pub use future::{LockCheckedFuture, LockFuture, LockOwnedFuture, WouldDeadlock};
pub use guard::{LockGuard, OwnedLockGuard};

use super::busy::Busy;
use super::guarded::{After, Guarded};
use super::leaf::Leaf;
use super::park;
use super::permits::{Order, Permits, Want};
use crate::ambient;
use crate::node::NodeRef;
use crate::task_id::TaskId;
use future::{Asker, Taking};
use std::fmt;
use std::sync::Arc;

/// A lock with the value it protects.
///
/// [`Lock::new`] hands over: at its release the lock belongs to the one who has waited longest,
/// before that one runs, and nobody can come in between. [`Lock::barging`] only frees itself and
/// wakes the one who has waited longest, and whoever comes first has it: faster where many
/// tasks want it for short, without an order, and never held by a task that is not polled.
///
/// Waiters whose scope was cancelled are passed over. A panic of the one who holds it does not
/// poison the lock. Taking it twice in one task is no error, for a task may have several
/// branches; [`lock_checked`](Lock::lock_checked) looks for it.
///
/// The value moves into the guard and back, so a guard can be sent between threads without any
/// unsafe code; put a large value in a `Box`. A guard that is leaked leaves the lock locked for
/// ever.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::Lock;
/// use bowline_concurrency::{GroupError, Root, checkpoint, task_group};
///
/// static TOTAL: Lock<u32> = Lock::new(0);
///
/// let done: Result<(), GroupError<()>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         for _ in 0..10 {
///             group.spawn_ok(async {
///                 let mut total = TOTAL.lock().await;
///                 let before = *total;
///                 checkpoint().await;
///                 *total = before + 1;
///             });
///         }
///         Ok(())
///     }));
/// assert!(done.is_ok());
/// assert_eq!(TOTAL.try_lock().map(|total| *total), Ok(10));
/// # }
/// ```
#[doc(alias = "Mutex")]
pub struct Lock<T> {
    guarded: Guarded<State<T>>,
}

/// Invariants:
/// 1. `value` is `None` exactly while a guard has it. Then no permit is free.
/// 2. `owner` is the task that holds the lock, or to which it was granted.
pub(super) struct State<T> {
    value: Option<T>,
    permits: Permits<Asker>,
    owner: Option<NodeRef>,
}

/// A snapshot of a [`Lock`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatistics {
    /// Whether somebody has it, or was handed it and has not run yet.
    pub locked: bool,
    /// The task that has it; none where it was taken outside of any task.
    pub owner: Option<LockOwner>,
    /// How many wait.
    pub waiting: usize,
}

/// The task that holds a [`Lock`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockOwner {
    /// Its number.
    pub task: TaskId,
    /// Its name, empty if it was given none.
    pub name: String,
}

const ACTION: &str = "the lock is held";

impl<T> Lock<T> {
    /// A free lock that hands over in the order of arrival.
    pub const fn new(value: T) -> Lock<T> {
        Lock::with_order(value, Order::HandOver)
    }

    /// A free lock that whoever comes first takes.
    pub const fn barging(value: T) -> Lock<T> {
        Lock::with_order(value, Order::Barging)
    }

    const fn with_order(value: T, order: Order) -> Lock<T> {
        Lock {
            guarded: Guarded::new(State {
                value: Some(value),
                permits: Permits::new(1, order),
                owner: None,
            }),
        }
    }

    /// Waits until the lock is this caller's.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost, nothing else; a lock that was handed over goes on to the
    /// next.
    pub fn lock(&self) -> LockFuture<'_, T> {
        LockFuture(Leaf::new(self, Taking::new()))
    }

    /// The same with a guard that keeps the lock alive.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Lock::lock).
    pub fn lock_owned(self: Arc<Self>) -> LockOwnedFuture<T> {
        LockOwnedFuture(Leaf::new(self, Taking::new()))
    }

    /// The same, refused to the task that has the lock, which would wait for itself.
    ///
    /// Only for tasks that never take the lock in two branches at once. Outside of any task it
    /// is [`lock`](Lock::lock).
    ///
    /// # Errors
    ///
    /// [`WouldDeadlock`] if the calling task has the lock at the first poll.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Lock::lock).
    pub fn lock_checked(&self) -> LockCheckedFuture<'_, T> {
        LockCheckedFuture(Leaf::new(self, Taking::new()))
    }

    /// Takes the lock if it is free, and with hand-over nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody has it or was handed it.
    pub fn try_lock(&self) -> Result<LockGuard<'_, T>, Busy> {
        let taken = self.guarded.step(|state, _| {
            let value = state.take()?;
            Some(LockGuard::new(self, value))
        });
        taken.ok_or(Busy::new(ACTION))
    }

    /// Parks the thread until the lock is this caller's.
    ///
    /// # Panics
    ///
    /// Inside a task.
    #[track_caller]
    pub fn lock_blocking(&self) -> LockGuard<'_, T> {
        park::wait_for("lock_blocking", self.lock())
    }

    /// The value; nobody else can hold the lock.
    ///
    /// # Panics
    ///
    /// If a guard was leaked, for the value went with it.
    pub fn into_inner(self) -> T {
        let value = self.guarded.into_inner().value;
        value.expect("a guard of this lock was leaked, and the value with it")
    }

    /// Who has it, and how many wait.
    pub fn statistics(&self) -> LockStatistics {
        let (locked, owner, waiting) = self.guarded.look(|state| {
            let locked = state.permits.free() == 0;
            (locked, state.owner.clone(), state.permits.waiters.queued())
        });
        LockStatistics {
            locked,
            owner: owner.map(|node| LockOwner {
                task: node.id,
                name: node.name().clone().into_owned(),
            }),
            waiting,
        }
    }

    /// Puts the value back and hands the lock on.
    fn release(&self, value: T) {
        let former = self.guarded.step(|state, after| {
            state.value = Some(value);
            let former = state.owner.take();
            state.give(after);
            former
        });
        drop(former);
    }
}

impl<T> State<T> {
    /// Takes the free lock for the running task.
    fn take(&mut self) -> Option<T> {
        if !self.permits.try_take(1) {
            return None;
        }
        self.owner = ambient::task();
        self.value.take()
    }

    fn give(&mut self, after: &mut After) {
        let owner = &mut self.owner;
        let granted = |asker: &mut Asker, context: &mut _| *owner = asker.take(context);
        self.permits.give(1, after, granted);
    }

    fn pump(&mut self, after: &mut After) {
        let owner = &mut self.owner;
        let granted = |asker: &mut Asker, context: &mut _| *owner = asker.take(context);
        self.permits.pump(after, granted);
    }

    fn barge(&mut self, key: usize, after: &mut After) -> Option<Want<Asker>> {
        let owner = &mut self.owner;
        let granted = |asker: &mut Asker, context: &mut _| *owner = asker.take(context);
        self.permits.barge(key, after, granted)
    }

    fn abandon(&mut self, settled: bool, after: &mut After) {
        let owner = &mut self.owner;
        let granted = |asker: &mut Asker, context: &mut _| *owner = asker.take(context);
        self.permits.abandon(1, settled, after, granted);
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Lock::new(T::default())
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
