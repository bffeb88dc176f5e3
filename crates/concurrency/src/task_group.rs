mod admission;
mod any_error;
mod builder;
mod child;
mod error;
mod kept_failure;
#[cfg(all(test, loom))]
mod models;
mod named;
mod policy;
mod run;
mod start;
mod state;

pub use admission::{GroupClosed, Slot};
pub use any_error::{AnyError, Leaves};
pub use builder::TaskGroupBuilder;
pub use error::{ChildError, ChildErrorKind, GroupError, OrCancelled, SpawnError};
pub(crate) use kept_failure::KeptFailure;
pub use named::Named;
pub use policy::{PanicPolicy, Policy};
pub use run::TaskGroupFuture;
pub(crate) use start::Accepts;
pub use start::{NotWaiting, Start, StartError, Started};
pub(crate) use state::GroupState;
pub use state::GroupStatistics;

use crate::cancel_scope::CancelHandle;
use crate::cause::{Cause, CauseKind, clock_of};
use crate::node::{Admission, Kind, Node, NodeRef};
use crate::task_handle::{Place, TaskHandle, TaskStatus};
use child::{Child, Duty};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Runs a body that can spawn parallel children, and returns when all of them have ended.
///
/// The first error, of the body or of a child, cancels the rest; all errors are reported, unless
/// the group is cancelled from outside: then the scope around it says so, and that alone. A
/// panic of a child goes on in the body's task after all others have ended. A group cancelled
/// from outside waits for its children and never returns. One that has no children to wait for
/// lets other tasks run once before it returns.
///
/// The backend and the [`Root`](crate::Root) of its first poll stay its own: its children run there, and are
/// left to that root by a drop also after the future was moved below another one. Only if it has
/// returned by then does the other one wait for them.
///
/// # Panics
///
/// When polled with no backend compiled in, or where the backend does not run. Resumes a panic
/// of the body or of a child, of several the first.
///
/// # Cancel safety
///
/// Dropping the future cancels the children and returns at once; the root waits for them.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{GroupError, Root, sleep_forever, task_group};
///
/// let result: Result<(), GroupError<&str>> = Root::new().backend(Backend::Smol).block_on(
///     task_group(|group| async move {
///         group.spawn(async { Err::<(), _>("no route") });
///         sleep_forever().await;
///         Ok(())
///     }),
/// );
/// assert_eq!(result.unwrap_err().into_single().unwrap(), "no route");
/// # }
/// ```
#[doc(alias = "nursery")]
#[doc(alias = "JoinSet")]
#[doc(alias = "TaskTracker")]
#[doc(alias = "errgroup")]
#[track_caller]
pub fn task_group<T, E, F, Fut>(f: F) -> TaskGroupFuture<T, E, F, Fut>
where
    F: FnOnce(TaskGroup<E>) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send,
    E: Send + 'static,
{
    TaskGroupBuilder::new(Location::caller()).run(f)
}

/// A handle that spawns children into a group.
///
/// Cheap to clone; children may have one and spawn into their own group until it is empty.
pub struct TaskGroup<E> {
    node: Arc<Node<GroupState<E>>>,
}

impl TaskGroup<std::convert::Infallible> {
    /// A group with options.
    #[track_caller]
    pub fn builder() -> TaskGroupBuilder {
        TaskGroupBuilder::new(Location::caller())
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Starts a child. Its error fails the group. If the group has ended or is full, the future
    /// is dropped and the handle says [`TaskStatus::Refused`].
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.spawn_or_refuse(Cow::Borrowed(""), future, |result| result)
    }

    /// Starts a child that returns no error.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn spawn_ok<T, F>(&self, future: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.spawn_or_refuse(Cow::Borrowed(""), future, Ok)
    }

    /// Starts a child, or gives the future back.
    ///
    /// # Errors
    ///
    /// [`SpawnError`], with the future as it was, if the group has ended or is full.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn try_spawn<T, F>(&self, future: F) -> Result<TaskHandle<T>, SpawnError<F>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.try_launch(Cow::Borrowed(""), future, |result| result)
    }

    /// Names the next child.
    pub fn named(&self, name: impl Into<Cow<'static, str>>) -> Named<'_, E> {
        Named {
            group: self,
            name: name.into(),
        }
    }

    /// Cancels the body and all children. True if this call was the first.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.handle().cancel(reason)
    }

    /// As [`cancel`](TaskGroup::cancel), with this grace instead of the group's own.
    ///
    /// After an earlier cancel it can only bring the end of the grace nearer.
    #[track_caller]
    pub fn shutdown(&self, grace: Duration) -> bool {
        self.handle().shutdown(grace)
    }

    /// A handle that cancels the group.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(self.node.clone())
    }

    /// How many children there were, and what became of them.
    pub fn statistics(&self) -> GroupStatistics {
        self.node.payload.statistics()
    }

    /// The root that waits for it in the end.
    pub(crate) fn root(&self) -> &NodeRef {
        &self.node.payload.root
    }

    /// Where its children stand.
    pub(crate) fn place(&self) -> NodeRef {
        self.node.clone()
    }

    #[track_caller]
    fn spawn_or_refuse<T, F>(
        &self,
        name: Cow<'static, str>,
        future: F,
        finish: fn(F::Output) -> Result<T, E>,
    ) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
    {
        let refused = match self.try_launch(name.clone(), future, finish) {
            Ok(handle) => return handle,
            Err(refused) => refused,
        };
        self.node.payload.count(TaskStatus::Refused);
        drop(refused);
        TaskHandle::refused(name)
    }

    /// With a place among the children that is kept for it.
    #[track_caller]
    fn spawn_reserved<T, F>(
        &self,
        name: Cow<'static, str>,
        at: &'static Location<'static>,
        future: F,
        finish: fn(F::Output) -> Result<T, E>,
        place: &NodeRef,
    ) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
    {
        let child = self.new_child(name.clone(), at);
        let admitted = self.admit_child(&child, |_| true);
        place.unlink_task();
        match admitted {
            Ok(()) => self.launch(child, future, finish),
            Err(_) => {
                self.node.payload.count(TaskStatus::Refused);
                drop(future);
                TaskHandle::refused(name)
            }
        }
    }

    #[track_caller]
    fn try_launch<T, F>(
        &self,
        name: Cow<'static, str>,
        future: F,
        finish: fn(F::Output) -> Result<T, E>,
    ) -> Result<TaskHandle<T>, SpawnError<F>>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
    {
        let child = self.new_child(name, Location::caller());
        match self.admit_waitless(&child) {
            Ok(()) => Ok(self.launch(child, future, finish)),
            Err(Admission::Closed) => Err(SpawnError::Closed(future)),
            Err(Admission::Full) => Err(SpawnError::Full(future)),
        }
    }

    fn new_child<T: Send + 'static>(
        &self,
        name: Cow<'static, str>,
        at: &'static Location<'static>,
    ) -> Arc<Node<Place<T>>> {
        let Some(root) = self.node.payload.root.payload.root() else {
            unreachable!("a group is made with its root");
        };
        let place = Place::new(TaskStatus::Running);
        let parent = self.node.clone();
        let child = Node::below(parent, Kind::Task, root.next_id(), name, at, place);
        let child = Arc::new(child);
        root.measure(&child, || clock_of(&(self.node.clone() as NodeRef)));
        child
    }

    /// Links a child if there is room now.
    fn admit_waitless<T: Send + 'static>(
        &self,
        child: &Arc<Node<Place<T>>>,
    ) -> Result<(), Admission> {
        let gate = &self.node.payload.gate;
        match self.admit_child(child, |children| gate.has_room(children)) {
            Err(Admission::Full) if gate.take_leftover() => {
                gate.settle_reserved(|settle| self.admit_child(child, settle))
            }
            admitted => admitted,
        }
    }

    fn admit_child<T: Send + 'static>(
        &self,
        child: &Arc<Node<Place<T>>>,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Result<(), Admission> {
        let node: NodeRef = child.clone();
        node.enter_tasks(&self.node, has_room)
    }

    /// Starts what was admitted.
    #[track_caller]
    fn launch<T, F>(
        &self,
        child: Arc<Node<Place<T>>>,
        future: F,
        finish: fn(F::Output) -> Result<T, E>,
    ) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
    {
        let duty = Duty {
            child,
            group: self.node.clone(),
            start: None,
        };
        self.launch_with(duty, future, finish)
    }

    #[track_caller]
    fn launch_with<T, F>(
        &self,
        duty: Duty<T, E>,
        future: F,
        finish: fn(F::Output) -> Result<T, E>,
    ) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
    {
        let Some(backend) = self.node.backend() else {
            unreachable!("a group is made with its backend");
        };
        self.node.payload.count(TaskStatus::Running);
        // It stands in the group already: whoever finds that there is enough sees it, or is seen.
        if self.node.payload.is_satisfied() {
            self.dismiss(duty.child.clone());
        }
        let handle = TaskHandle::new(duty.child.clone());
        // What a backend notes of where a task comes from is the line of the program, also if it is
        // spawned later, as by `start`.
        let location = duty.child.location;
        backend.spawn_detached_at(location, Child::new(duty, finish, future));
        handle
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Cancels a child that came when there were enough results.
    fn dismiss(&self, child: NodeRef) {
        let group: NodeRef = self.node.clone();
        child.cancel_within(group.grace(), || {
            let (name, when) = (group.name().clone(), clock_of(&group));
            Cause::new(CauseKind::Satisfied, name, group.location, group.id, when)
        });
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        TaskGroup {
            node: self.node.clone(),
        }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("name", self.node.name())
            .field("live", &self.node.task_count())
            .finish_non_exhaustive()
    }
}
