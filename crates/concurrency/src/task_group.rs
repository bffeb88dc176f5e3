mod child;
mod error;
mod run;
mod state;

pub use error::{ChildError, ChildErrorKind, GroupError, SpawnError};
pub use run::TaskGroupFuture;
pub(crate) use state::GroupState;
pub use state::{GroupStatistics, PanicPolicy};

use crate::cancel_scope::CancelHandle;
use crate::node::{Admission, Kind, Node, NodeRef};
use crate::task_handle::{Slot, TaskHandle, TaskStatus};
use crate::task_id::TaskId;
use child::{Child, Duty};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Live children a group takes unless told otherwise.
const MAX_CHILDREN: usize = 1_048_576;

/// Runs a body that can spawn parallel children, and returns when all of them have ended.
///
/// The first error, of the body or of a child, cancels the rest; all errors are reported. A
/// panic of a child goes on in the body's task after all others have ended. A group cancelled
/// from outside waits for its children and never returns.
///
/// # Panics
///
/// When polled with no backend compiled in, or where the backend does not run. Resumes a panic
/// of the body or of a child.
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
        self.launch(Cow::Borrowed(""), future, |result| result)
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

    /// A handle that cancels the group.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(self.node.clone())
    }

    /// How many children there were, and what became of them.
    pub fn statistics(&self) -> GroupStatistics {
        self.node.payload.statistics(self.node.task_count())
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
        match self.launch(name.clone(), future, finish) {
            Ok(handle) => handle,
            Err(refused) => {
                drop(refused);
                let slot = Slot::new(TaskStatus::Refused);
                let at = Location::caller();
                let node = Node::new(Kind::Task, TaskId::OUTSIDE, name, at, slot);
                TaskHandle::new(Arc::new(node))
            }
        }
    }

    #[track_caller]
    fn launch<T, F>(
        &self,
        name: Cow<'static, str>,
        future: F,
        finish: fn(F::Output) -> Result<T, E>,
    ) -> Result<TaskHandle<T>, SpawnError<F>>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
    {
        let state = &self.node.payload;
        let (Some(root), Some(backend)) = (state.root.payload.root(), self.node.backend()) else {
            unreachable!("a group is made with its root and backend");
        };
        let slot = Slot::new(TaskStatus::Running);
        let at = Location::caller();
        let child = Arc::new(Node::new(Kind::Task, root.next_id(), name, at, slot));
        let node: NodeRef = child.clone();
        let group: NodeRef = self.node.clone();
        match node.link_task(&group, state.max_children) {
            Ok(()) => {}
            Err(Admission::Closed) => return Err(SpawnError::Closed(future)),
            Err(Admission::Full) => return Err(SpawnError::Full(future)),
        }
        state.count(TaskStatus::Running);
        let handle = TaskHandle::new(child.clone());
        let duty = Duty {
            child,
            group: self.node.clone(),
        };
        backend.spawn_detached(Child::new(duty, finish, future));
        Ok(handle)
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

/// A group that names the next child; of [`TaskGroup::named`].
#[must_use = "a name alone starts nothing"]
pub struct Named<'a, E> {
    group: &'a TaskGroup<E>,
    name: Cow<'static, str>,
}

impl<E: Send + 'static> Named<'_, E> {
    /// As [`TaskGroup::spawn`].
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn spawn<T, F>(self, future: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.group
            .spawn_or_refuse(self.name, future, |result| result)
    }

    /// As [`TaskGroup::spawn_ok`].
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn spawn_ok<T, F>(self, future: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.group.spawn_or_refuse(self.name, future, Ok)
    }

    /// As [`TaskGroup::try_spawn`].
    ///
    /// # Errors
    ///
    /// [`SpawnError`], with the future as it was, if the group has ended or is full.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn try_spawn<T, F>(self, future: F) -> Result<TaskHandle<T>, SpawnError<F>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.group.launch(self.name, future, |result| result)
    }
}

impl<E> fmt::Debug for Named<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("group", self.group)
            .field("name", &self.name)
            .finish()
    }
}

/// A task group with options; of [`TaskGroup::builder`].
#[derive(Debug)]
#[must_use = "a group runs nothing until `run` is awaited"]
pub struct TaskGroupBuilder {
    pub(crate) name: Cow<'static, str>,
    pub(crate) panics: PanicPolicy,
    pub(crate) max_children: usize,
    pub(crate) location: &'static Location<'static>,
}

impl TaskGroupBuilder {
    fn new(location: &'static Location<'static>) -> Self {
        TaskGroupBuilder {
            name: Cow::Borrowed(""),
            panics: PanicPolicy::Resume,
            max_children: MAX_CHILDREN,
            location,
        }
    }

    /// Names the group for reports.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// What to do with a panic of a child; [`PanicPolicy::Resume`] unless set.
    pub fn panics(mut self, policy: PanicPolicy) -> Self {
        self.panics = policy;
        self
    }

    /// As [`task_group`], with these options.
    ///
    /// # Panics
    ///
    /// As [`task_group`].
    pub fn run<T, E, F, Fut>(self, f: F) -> TaskGroupFuture<T, E, F, Fut>
    where
        F: FnOnce(TaskGroup<E>) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send,
        E: Send + 'static,
    {
        TaskGroupFuture::new(self, f)
    }
}
