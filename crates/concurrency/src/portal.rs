//! The way into a group of tasks for threads that are not its own.

mod error;
mod handle;
#[cfg(all(test, loom))]
mod models;
mod order;
mod serve;
mod start;
mod thread;
mod ticket;

pub use error::{PortalError, PortalStartError};
pub use handle::{PortalHandle, PortalJoin};

use crate::ambient;
use crate::cancel_scope::{CancelHandle, CancelScope};
use crate::node::NodeRef;
use crate::root;
use crate::sync::{Queue, parked};
use crate::task_group::{GroupError, TaskGroup};
use order::{CallOrder, Order};
use std::fmt;
use std::sync::Arc;
use ticket::Ticket;

/// Calls that wait to be begun.
const QUEUE: usize = 1024;

/// Lets threads that run no tasks call into a task group, and wait there for what they get.
///
/// The closures travel, the futures are made and run in the group, as tasks of their own. What
/// blocks, blocks the calling thread: calls of a thread that runs tasks of the portal's own root
/// are refused, for it would wait for itself. At most 1024 calls wait to be begun; further
/// callers wait for room. An error or panic of a call is its caller's alone. A call is cancelled
/// with the group, and sees the scope locals of its caller that are inherited.
///
/// Clones are of the same portal. It closes when the last of them is dropped, if not earlier; what
/// was called runs on, and the group waits for it.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{GroupError, Portal, Root, run_in_thread, sleep};
/// use std::time::Duration;
///
/// let open = Portal::open(|portal| async move {
///     let answer = run_in_thread(move || {
///         portal.call(|| async {
///             sleep(Duration::from_millis(1)).await;
///             7
///         })
///     });
///     answer.await
/// });
/// let answer = Root::new().backend(Backend::Smol).block_on(open);
/// assert_eq!(answer.unwrap(), 7);
/// # }
/// ```
#[derive(Clone)]
pub struct Portal {
    entrance: Arc<Entrance>,
}

/// The side of those who call. Invariant: the queue is closed once it is gone.
struct Entrance(Arc<Passage>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// What callers and the serving task share.
struct Passage {
    queue: Queue<Box<dyn Order>>,
    /// Around everything that was called.
    calls: CancelHandle,
    /// The group that the portal is in.
    group: NodeRef,
    root: NodeRef,
}

/// What becomes of the calls that a portal has when it closes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Close {
    /// They run to their end.
    Wait,
    /// They are cancelled.
    Cancel,
}

impl Portal {
    /// Runs a body that has a portal into a task group of its own.
    ///
    /// When the body returns well, the portal closes, and this waits for all calls. When it fails
    /// or is cancelled, the calls are cancelled.
    ///
    /// # Errors
    ///
    /// As [`task_group`](crate::task_group): the error of the body.
    ///
    /// # Panics
    ///
    /// As [`task_group`](crate::task_group).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels body and calls and returns at once; the root waits for them.
    #[track_caller]
    pub fn open<T, E, F, Fut>(f: F) -> impl Future<Output = Result<T, GroupError<E>>>
    where
        F: FnOnce(Portal) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send,
        E: Send + 'static,
    {
        TaskGroup::builder().name("portal").run(|group| {
            let portal = Portal::in_group(&group);
            let body = f(portal.clone());
            async move {
                let result = body.await;
                if result.is_ok() {
                    portal.close(Close::Wait);
                }
                result
            }
        })
    }

    /// A portal into this group, whose tasks are children of one child of the group.
    ///
    /// The group waits until the portal is closed, or its last clone dropped, and all calls have
    /// ended. Cancelled, it cancels them. On a group that has ended, or is full, the portal is closed.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn in_group<E: Send + 'static>(group: &TaskGroup<E>) -> Portal {
        let Ok(queue) = Queue::bounded(QUEUE) else {
            unreachable!("there is room for some");
        };
        let scope = CancelScope::new();
        let passage = Arc::new(Passage {
            queue,
            calls: scope.handle(),
            group: group.place(),
            root: group.root().clone(),
        });
        let served = serve::serve(passage.clone(), scope);
        drop(group.named("portal").spawn_ok(served));
        Portal {
            entrance: Arc::new(Entrance(passage)),
        }
    }

    /// Runs the future that `f` makes as a task behind the portal, and parks the thread until it
    /// has ended.
    ///
    /// # Errors
    ///
    /// [`PortalError`] says why there is no value. Where it is [`PortalError::Closed`] or
    /// [`PortalError::WouldDeadlock`], `f` was not called.
    #[track_caller]
    pub fn call<T, F, Fut>(&self, f: F) -> Result<T, PortalError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.spawn(f).join_blocking()
    }

    /// Calls `f` in a task behind the portal, and parks the thread until it has returned. It must
    /// not block.
    ///
    /// # Errors
    ///
    /// As [`call`](Portal::call).
    #[track_caller]
    pub fn call_sync<T, F>(&self, f: F) -> Result<T, PortalError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.call(move || async move { f() })
    }

    /// Runs the future that `f` makes as a task behind the portal. Parks the thread only while
    /// the queue of calls is full.
    ///
    /// A portal that takes it not says so when the handle is joined.
    #[track_caller]
    pub fn spawn<T, F, Fut>(&self, f: F) -> PortalHandle<T>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        PortalHandle::new(self.passage().clone(), self.order(f))
    }

    /// Takes no further calls, and says what becomes of those there are. Does not wait for them:
    /// the group does. Cancelling may follow waiting.
    #[track_caller]
    pub fn close(&self, how: Close) {
        let passage = self.passage();
        passage.queue.close();
        if how == Close::Cancel {
            passage.calls.cancel("the portal was closed");
        }
    }

    fn passage(&self) -> &Arc<Passage> {
        &self.entrance.0
    }

    /// Hands a call over.
    #[track_caller]
    fn order<T, F, Fut>(&self, f: F) -> Arc<Ticket<T>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let ticket = Arc::new(Ticket::new());
        let passage = self.passage();
        if passage.would_deadlock() {
            ticket.refuse(PortalError::WouldDeadlock);
            return ticket;
        }
        let order: Box<dyn Order> = Box::new(CallOrder::new(f, ticket.clone()));
        // A closed queue gives it back, and it says so on its ticket when it is dropped.
        drop(parked(passage.queue.send(order)));
        ticket
    }
}

impl Passage {
    /// Whether a thread that waits here would stop what it waits for.
    fn would_deadlock(&self) -> bool {
        let one_thread = |backend: bowline_backend::Backend| !backend.capabilities().multi_thread;
        if self.group.backend().is_some_and(one_thread) {
            return true;
        }
        let Some(here) = ambient::current() else {
            return false;
        };
        Arc::ptr_eq(&root::above(Some(&here)), &self.root)
    }
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portal")
            .field("queue", &self.passage().queue.statistics())
            .finish_non_exhaustive()
    }
}
