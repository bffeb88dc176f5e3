mod record;

pub(crate) use record::Accepts;
pub(super) use record::{EndedEarly, Reported, Reports};
pub use record::{NotWaiting, StartError, Started};

use super::TaskGroup;
use super::child::Duty;
use super::named::Named;
use crate::ambient;
use crate::caught::quietly;
use crate::cause::{Cause, CauseKind};
use crate::node::{Kind, Node, NodeRef, Payload, Waiting};
use crate::owner::{Limit, Owner};
use crate::task_handle::TaskHandle;
use crate::task_id::TaskId;
use record::{Caller, Record, Taken};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

impl<E: Send + 'static> TaskGroup<E> {
    /// Starts a child and waits until it says so, with a value: the port it listens on, say.
    ///
    /// Until then the child is cancelled with the caller, not with the group, and how it ends is
    /// the caller's to know alone. Afterwards it is a child like any other. The group waits for
    /// it from the beginning.
    ///
    /// # Errors
    ///
    /// [`StartError`], if the child ended first or was refused.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it cancels the child and waits for its end. Dropped, it cancels the child, and
    /// the group waits. A value that was sent already is dropped then, and the child goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "smol")] {
    /// use bowline_backend::Backend;
    /// use bowline_concurrency::{GroupError, Root, Started, sleep_forever, task_group};
    ///
    /// let port: Result<u16, GroupError<std::io::Error>> =
    ///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
    ///         let started = group.start(|started: Started<u16>| async move {
    ///             let _ = started.send(4000);
    ///             sleep_forever().await;
    ///             Ok(())
    ///         });
    ///         let (server, port) = started.await.map_err(std::io::Error::other)?;
    ///         server.cancel("enough");
    ///         Ok(port)
    ///     }));
    /// assert_eq!(port.unwrap(), 4000);
    /// # }
    /// ```
    #[track_caller]
    pub fn start<T, V, F, Fut>(&self, f: F) -> Start<T, V, E, F>
    where
        F: FnOnce(Started<V>) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        V: Send + 'static,
    {
        Start::new(self.clone(), Cow::Borrowed(""), f)
    }
}

impl<E: Send + 'static> Named<'_, E> {
    /// As [`TaskGroup::start`].
    ///
    /// # Errors
    ///
    /// [`StartError`], if the child ended first or was refused.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    ///
    /// # Cancel safety
    ///
    /// As [`TaskGroup::start`].
    #[track_caller]
    pub fn start<T, V, F, Fut>(self, f: F) -> Start<T, V, E, F>
    where
        F: FnOnce(Started<V>) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        V: Send + 'static,
    {
        Start::new(self.group.clone(), self.name, f)
    }
}

/// Future of [`TaskGroup::start`].
///
/// Invariants:
/// 1. While the child runs and has not started, the owners above are held: they drop this only
///    after it has seen the child's end. Only foreign code drops it earlier.
/// 2. The child is masked until it has started; its cancel comes from here.
#[must_use = "nothing is started until this is awaited"]
pub struct Start<T: Send + 'static, V, E: Send + 'static, F> {
    group: TaskGroup<E>,
    name: Cow<'static, str>,
    location: &'static Location<'static>,
    make: Option<F>,
    running: Option<Running<T, V, E>>,
    owner: Owner,
    /// Cancelled and the child ended: pending until the outer scope drops us.
    frozen: bool,
}

struct Running<T: Send + 'static, V, E> {
    handle: TaskHandle<T>,
    child: NodeRef,
    record: Arc<Record<V, E>>,
}

/// Nothing in it is ever pinned.
impl<T: Send + 'static, V, E: Send + 'static, F> Unpin for Start<T, V, E, F> {}

impl<T, V, E, F> Start<T, V, E, F>
where
    T: Send + 'static,
    V: Send + 'static,
    E: Send + 'static,
{
    #[track_caller]
    fn new(group: TaskGroup<E>, name: Cow<'static, str>, f: F) -> Self {
        Start {
            group,
            name,
            location: Location::caller(),
            make: Some(f),
            running: None,
            owner: Owner::new(Limit::Never),
            frozen: false,
        }
    }

    /// Takes a place in the tree, so that a cancel of the caller reaches the child from its first poll on.
    fn take_place(&mut self, cx: &mut Context<'_>) {
        let place = Node::new(
            Kind::Scope,
            TaskId::OUTSIDE,
            Cow::Borrowed("start"),
            self.location,
            StartPlace,
        );
        self.owner.set_node(Arc::new(place));
        self.owner.holding();
        self.owner.arrive(cx);
    }

    /// Puts the child into the group and runs it.
    fn begin<Fut>(&mut self, f: F) -> Option<Running<T, V, E>>
    where
        F: FnOnce(Started<V>) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let name = std::mem::take(&mut self.name);
        let child = self.group.new_child::<T>(name, self.location);
        child.set_mask();
        self.group.admit_waitless(&child).ok()?;
        let record = Arc::new(Record::new(self.owner.node().clone()));
        let node: NodeRef = child.clone();
        let unmade = Unmade {
            child: Some(node.clone()),
            group: self.group.node.clone(),
        };
        let future = f(Started::new(record.clone(), node.clone()));
        unmade.made();
        let duty = Duty {
            child,
            group: self.group.node.clone(),
            start: Some(record.clone()),
        };
        let handle = self.group.launch_with(duty, future, |result| result);
        Some(Running {
            handle,
            child: node,
            record,
        })
    }
}

/// The own part of the node of who waits for a child's start.
struct StartPlace;

impl Payload for StartPlace {
    fn holds_as(&self) -> Option<&'static str> {
        Some("a wait")
    }
}

/// Takes a child out of its group again if its future could not be made.
struct Unmade {
    child: Option<NodeRef>,
    group: NodeRef,
}

impl Unmade {
    fn made(mut self) {
        self.child = None;
    }
}

impl Drop for Unmade {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.unlink_task();
            // A waker that panics here would be the second panic at once.
            quietly(|| self.group.payload.note_room(&self.group));
        }
    }
}

impl<T, V, E, F, Fut> Future for Start<T, V, E, F>
where
    F: FnOnce(Started<V>) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    V: Send + 'static,
    E: Send + 'static,
{
    type Output = Result<(TaskHandle<T>, V), StartError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.frozen {
            return Poll::Pending;
        }
        if this.running.is_none() {
            if ambient::is_cancelled() {
                return Poll::Pending;
            }
            let f = this.make.take();
            let f = f.expect("a start was polled after it had returned");
            this.take_place(cx);
            this.running = this.begin(f);
            if this.running.is_none() {
                this.owner.leave();
                return Poll::Ready(Err(StartError::Refused));
            }
        } else {
            this.owner.arrive(cx);
        }
        let Some(running) = &this.running else {
            return Poll::Pending;
        };
        let caller = match this.owner.node().is_cancelled() {
            true => Caller::Cancelled,
            false => Caller::Waits,
        };
        if let Some(taken) = running.record.take(caller, cx) {
            let cancelled = this.owner.outer_cancelled();
            this.owner.leave();
            let running = this.running.take();
            return match (taken, running) {
                (Taken::Value(value), Some(running)) => Poll::Ready(Ok((running.handle, value))),
                (Taken::Ended(_), _) if cancelled => {
                    this.frozen = true;
                    Poll::Pending
                }
                (Taken::Ended(ended), _) => Poll::Ready(Err(ended.into_error())),
                (Taken::Value(_), None) => unreachable!("the child was here a moment ago"),
            };
        }
        if caller == Caller::Cancelled {
            let cause = this.owner.node().visible_cause();
            if let Some(cause) = cause {
                running.child.cancel(|| cause);
            }
        }
        this.owner.node().wait_for(Waiting::Start);
        this.owner.arm();
        Poll::Pending
    }
}

impl<T: Send + 'static, V, E: Send + 'static, F> Drop for Start<T, V, E, F> {
    fn drop(&mut self) {
        let Some(running) = &self.running else { return };
        if running.record.leave() {
            let child = &running.child;
            let at = self.location;
            child.cancel(|| Cause::here(CauseKind::Dropped, Cow::Borrowed(""), at, child));
        }
    }
}

impl<T: Send + 'static, V, E: Send + 'static, F> fmt::Debug for Start<T, V, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
