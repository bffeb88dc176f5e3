//! What tasks share and wait for each other with.
//!
//! | type | for |
//! |---|---|
//! | [`Lock`] | a value that one task at a time may touch, across awaits too |
//! | [`Condition`] | a change of such a value |
//! | [`Event`] | "it has happened", again and again |
//! | [`Once`] | a value that comes once |
//! | [`Semaphore`] | permits, as many as there are |
//! | [`CapacityLimiter`] | places, as many as there shall be, and who has them |
//! | [`Queue`] | work, until all of it is done |
//! | [`Barrier`] | a fixed number of tasks that go on together |
//! | [`ResourceGuard`] | what may never have two users: the second gets an error |
//!
//! Everything here is independent of runtimes and can be made before one runs, in a `static`
//! too; plain threads take part through the forms that end in `_blocking`. Waiting is first
//! come, first served. What was granted to a waiter that is then dropped goes to the next one,
//! and waiters in a cancelled scope are passed over. An operation that need not wait does not
//! yield, but every 129th of one poll of a task does, so that no loop keeps others from running.

mod barrier;
mod busy;
mod capacity_limiter;
mod condition;
mod event;
mod lock;
mod once;
mod queue;
mod resource_guard;
mod semaphore;

pub(crate) mod guarded;
pub(crate) mod leaf;
mod park;
mod permits;
pub(crate) mod waiters;

pub(crate) use park::parked;

pub use barrier::{Barrier, BarrierFuture, BarrierStatistics, BarrierWait};
pub use busy::Busy;
pub use capacity_limiter::{
    AlreadyBorrowed, Borrow, BorrowFor, BorrowOwned, Borrower, CapacityLimiter, LimiterPermit,
    LimiterStatistics, OwnedLimiterPermit, TryAcquireError,
};
pub use condition::{Condition, ConditionStatistics, ConditionWait};
pub use event::{Event, EventStatistics, EventWait};
pub use lock::{
    Lock, LockCheckedFuture, LockFuture, LockGuard, LockOwnedFuture, LockOwner, LockStatistics,
    OwnedLockGuard, WouldDeadlock,
};
pub use once::{Once, OnceStatistics, OnceWait};
pub use queue::{
    Closed, Job, Queue, QueueJoin, QueueRecv, QueueRecvJob, QueueSend, QueueSendError,
    QueueStatistics, QueueTryRecvError, QueueTrySendError, TooManyDone,
};
pub use resource_guard::{Entered, ResourceGuard, ResourceGuardStatistics};
pub use semaphore::{Acquire, AcquireMany, Permit, Semaphore, SemaphoreStatistics};
