//! Structured concurrency for `Send` futures, with one meaning on every backend: cancel scopes,
//! task groups, deadlines.
//!
//! Five laws let you predict what happens. *Lifetime*: a group does not return before everything
//! started in it has ended; dropped by foreign code, it hands its tasks to the root, which waits
//! for them. *Cancel is drop at the next `Pending`*: running code is never interrupted, a body
//! gets at least one poll, and completing in the poll in which it is cancelled wins. *Outer
//! wins*: of several cancelled scopes only the outermost returns, and its [`Cause`] says who,
//! why and where. *A shield holds*: what is shielded is finished before anything around it is
//! dropped. *Nothing is lost*: a cancelled operation either happened and was reported, or
//! did not happen.
//!
//! Not here: sockets, and work that outlives its scope.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "smol")] {
//! use bowline_backend::Backend;
//! use bowline_concurrency::{GroupError, Root, sleep_forever, task_group, timeout};
//! use std::time::Duration;
//!
//! let total: Result<u64, GroupError<std::io::Error>> =
//!     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
//!         let workers: Vec<_> = (1..=4).map(|n| group.spawn_ok(async move { n * n })).collect();
//!         let mut total = 0;
//!         for worker in workers {
//!             total += worker.join().await.unwrap_or(0);
//!         }
//!         let late = timeout(Duration::from_millis(1), sleep_forever()).await;
//!         assert!(late.is_err());
//!         Ok(total)
//!     }));
//! assert_eq!(total.unwrap(), 30);
//! # }
//! ```
//!
//! # Features
//!
//! `tokio`, `smol`, `async-std`, `sim`: one backend each; none is on by default. With none the
//! crate builds, and polling what needs a backend panics, naming the features.
//!
//! `tracing`: a task runs in the `tracing` span that was current where it was spawned, its end and
//! its finalisers too. Without it nothing is stored for that.

mod root;

mod cancel_scope;
mod critical;
mod deadline;
mod finaliser;
mod propagate;
mod shield;
mod task_group;
mod task_handle;

mod as_completed;
mod gather;
mod race;
mod scope;

mod blocking_scope;
mod portal;
mod thread;

mod parallel;
mod pool;
mod retry;
mod workers;

pub mod sync;

mod all_blocked;
mod apart;
mod checkpoint;
mod sleep;
mod timers;

mod cause;
mod invalid_value;
mod outcome;
mod panic;
mod task_id;
mod task_info;
mod tree;

mod ambient;
mod branches;
mod caught;
mod memory;
mod node;
mod owner;
mod per_thread;
mod scope_local;
mod scoped;
mod span;
#[cfg(not(loom))]
mod spin_lock;

pub use all_blocked::{WaitAllBlocked, wait_all_blocked};
#[doc(hidden)]
pub use apart::{Apart, apart, in_poll};
pub use as_completed::{Completed, NextCompleted, as_completed};
pub use blocking_scope::{BlockingChild, BlockingScope, BlockingScopeError, blocking_scope};
pub use cancel_scope::{
    CancelHandle, CancelScope, CancelScopeFuture, CancelScopeRun, cancel_scope,
};
pub use cause::{Cause, CauseKind};
pub use checkpoint::{
    Cancelled, Checkpoint, CheckpointIfCancelled, YieldNow, cancelled, check_cancelled, checkpoint,
    checkpoint_if_cancelled, is_cancelled, yield_now,
};
pub use critical::{Critical, critical};
pub use deadline::{
    Deadline, Elapsed, MoveOn, Timeout, current_effective_deadline, move_on_after, move_on_at,
    timeout, timeout_at,
};
pub use finaliser::{Defer, OnCancel, on_cancel};
pub use gather::{Gather, gather, gather_bounded};
pub use invalid_value::InvalidValue;
pub use outcome::Outcome;
pub use panic::Panic;
pub use parallel::{Parallel, parallel, parallel_with};
pub use pool::{Lease, Pool, PoolBuilder, PoolError, PoolStatistics};
pub use portal::{Close, Portal, PortalError, PortalHandle, PortalJoin, PortalStartError};
pub use propagate::{Propagate, propagate};
pub use race::{Race, race};
pub use retry::{Backoff, Jitter, Retry, RetryError, RetryErrorKind};
pub use root::{Drain, Leftovers, Root, drain};
pub use scope::{
    NamedChild, Scope, ScopeFuture, ScopeHandle, ScopeJoin, ScopeJoinOrCancel, ScopeWait, scope,
};
pub use scope_local::{LocalScope, Nesting, NotSet, ScopeLocal, current_nesting, in_nesting};
pub use shield::{Shield, ShieldFor, shield, shield_for};
pub use sleep::{Sleep, SleepForever, now, sleep, sleep_forever, sleep_until};
pub use task_group::{
    AnyError, ChildError, ChildErrorKind, GroupClosed, GroupError, GroupStatistics, Leaves, Named,
    NotWaiting, OrCancelled, PanicPolicy, Policy, Slot, SpawnError, Start, StartError, Started,
    TaskGroup, TaskGroupBuilder, TaskGroupFuture, task_group,
};
pub use task_handle::{Join, JoinError, JoinOrCancel, TaskHandle, TaskStatus, Wait};
pub use task_id::TaskId;
pub use task_info::{TaskInfo, current_task};
pub use thread::{RunInThread, ThreadContext, ThreadError, run_in_thread};
pub use timers::{After, Tick, TickFuture, after, tick};
pub use tree::{EntryKind, EntryState, Tree, TreeEntry, tree};
pub use workers::{Workers, WorkersStatistics};
