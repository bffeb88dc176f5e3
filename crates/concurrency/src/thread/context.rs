use super::call::Call;
use super::guest::{Ended, Guest, Seat, Visitor};
use crate::cause::{Cause, clock_of};
use crate::node::{Kind, Node, NodeRef};
use crate::root;
use crate::scope_local::{self as locals, Locals};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;

thread_local! {
    /// The call that runs on this thread. Replaced before the former one is dropped.
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
}

fn current() -> Option<Arc<Call>> {
    CURRENT.try_with(|c| c.borrow().clone()).ok().flatten()
}

/// Where a closure of [`run_in_thread`](crate::run_in_thread) that runs here stands in the tree.
///
/// It is no ambient place: a future that foreign code polls on this thread belongs to nobody, so
/// a cancel of the host, which waits for the thread, cannot freeze it for ever.
pub(crate) fn place() -> Option<NodeRef> {
    current().map(|call| call.place.clone())
}

/// Runs `f` as the closure of `call`.
pub(super) fn inside<R>(call: &Arc<Call>, locals: Option<Locals>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Option<Arc<Call>>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(former) = self.0.take() {
                let ours = CURRENT.try_with(|c| c.replace(former));
                drop(ours);
            }
        }
    }
    let here = Some(call.clone());
    let _restore = Restore(CURRENT.try_with(|c| c.replace(here)).ok());
    locals::inside(locals, f)
}

/// The way back from a closure of [`run_in_thread`](crate::run_in_thread) to the tasks.
///
/// It belongs to the thread on which it was asked for.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, ThreadContext, run_in_thread, sleep};
/// use std::time::Duration;
///
/// let answer = Root::new().backend(Backend::Smol).block_on(run_in_thread(|| {
///     let context = ThreadContext::current().expect("this is such a closure");
///     context.block_on(async {
///         sleep(Duration::from_millis(1)).await;
///         7
///     })
/// }));
/// assert_eq!(answer.unwrap(), 7);
/// # }
/// ```
pub struct ThreadContext {
    call: Arc<Call>,
    here: PhantomData<*const ()>,
}

/// Why a future that a thread waited for gave no value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadError {
    /// A scope around the host was cancelled, or the root has ended.
    #[error("what the thread waited for was cancelled: {0}")]
    Cancelled(Cause),
    /// The thread is that of a simulated world and would wait for itself. The future was not
    /// polled.
    #[error("a simulated world has one thread, which would wait for itself for ever")]
    WouldDeadlock,
}

impl ThreadContext {
    /// That of the closure which runs on this thread; none outside of one.
    pub fn current() -> Option<ThreadContext> {
        Some(ThreadContext {
            call: current()?,
            here: PhantomData,
        })
    }

    /// Runs `future` as a task, and parks the thread until it has ended.
    ///
    /// The task stands in the scopes of whoever awaits the closure, and is cancelled with them.
    /// Once the closure was abandoned it stands directly below the root, which cancels it at its
    /// end.
    ///
    /// # Errors
    ///
    /// [`ThreadError::Cancelled`] if the task was cancelled before it had a value, and
    /// [`ThreadError::WouldDeadlock`] in a simulated world.
    ///
    /// # Panics
    ///
    /// Resumes a panic of `future`.
    #[track_caller]
    pub fn block_on<F>(&self, future: F) -> Result<F::Output, ThreadError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let call = &self.call;
        if !call.backend.capabilities().multi_thread {
            return Err(ThreadError::WouldDeadlock);
        }
        let node = Arc::new(Node::new(
            Kind::Task,
            call.next_id(),
            call.place.name().clone(),
            Location::caller(),
            Visitor::default(),
        ));
        let task: NodeRef = node.clone();
        root::measure(&call.root, &node, || clock_of(&call.root));
        let stay = call.admit(&task).map_err(ThreadError::Cancelled)?;
        let seat = Arc::new(Seat::new());
        let guest = Guest::new(call.clone(), node, stay, seat.clone(), future);
        call.backend.spawn_detached(guest);
        match seat.wait() {
            Ended::Done(value) => Ok(value),
            Ended::Panicked(panic) => resume_unwind(panic),
            Ended::Cancelled(cause) => Err(ThreadError::Cancelled(cause)),
        }
    }
}

impl fmt::Debug for ThreadContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadContext")
            .field("name", self.call.place.name())
            .finish_non_exhaustive()
    }
}
