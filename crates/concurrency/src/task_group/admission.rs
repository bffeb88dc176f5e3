use super::TaskGroup;
use crate::ambient;
use crate::memory::AtomicUsize;
use crate::node::{Admission, Kind, Node, NodeRef, Payload};
use crate::sync::Semaphore;
use crate::task_handle::TaskHandle;
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Who may come in when a group is full.
///
/// Invariants:
/// 1. `reserved` is the number of places that were given to one who waits and are not linked yet.
///    It grows, and becomes a child, under the lock of the group's node only: the number of
///    children and `reserved` together never exceed `max`, and no place counts twice.
/// 2. A reserved place is one permit of `room`, or is held by one who has just got it there.
/// 3. Who waits adds to `waiting` before it looks for room; who ends looks at `waiting` after it
///    was unlinked: one of the two sees the other.
pub(super) struct Gate {
    max: usize,
    reserved: AtomicUsize,
    waiting: AtomicUsize,
    room: Semaphore,
}

/// The group has ended and takes no child.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task group has ended")]
pub struct GroupClosed;

impl Gate {
    pub(super) fn new(max: usize) -> Gate {
        Gate {
            max,
            reserved: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            room: Semaphore::new(0),
        }
    }

    /// Whether one more comes in beside so many children.
    pub(super) fn has_room(&self, children: usize) -> bool {
        children.saturating_add(self.reserved.load(Ordering::SeqCst)) < self.max
    }

    /// Takes a place that was reserved for one who did not come for it.
    pub(super) fn take_leftover(&self) -> bool {
        if self.reserved.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let Ok(permit) = self.room.try_acquire() else {
            return false;
        };
        permit.forget();
        true
    }

    /// Makes a reserved place a child's, by `link`, which asks under the lock of the group's node
    /// whether there is room. Of a closed group it is nobody's any more.
    pub(super) fn settle_reserved(
        &self,
        link: impl FnOnce(&mut dyn FnMut(usize) -> bool) -> Result<(), Admission>,
    ) -> Result<(), Admission> {
        let mut settled = false;
        let mut settle = |_| {
            settled = true;
            self.reserved.fetch_sub(1, Ordering::SeqCst);
            true
        };
        let linked = link(&mut settle);
        if !settled {
            self.reserved.fetch_sub(1, Ordering::SeqCst);
        }
        linked
    }

    /// A child was counted out: who waits longest gets its place.
    pub(super) fn pass_on<P: Payload + ?Sized>(&self, group: &Node<P>) {
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.reserve(group);
        }
    }

    fn reserve<P: Payload + ?Sized>(&self, group: &Node<P>) {
        let reserved = group.while_open(|children| {
            let room = self.has_room(children);
            if room {
                self.reserved.fetch_add(1, Ordering::SeqCst);
            }
            room
        });
        if reserved == Some(true) {
            // Cannot be refused: there are fewer permits than places.
            let _ = self.room.add_permits(1);
        }
    }

    /// Lets all who wait find out that the group has ended.
    pub(super) fn close(&self) {
        let all = self.waiting.load(Ordering::SeqCst);
        let _ = self.room.add_permits(all);
    }
}

/// Counts one who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Waiting<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Waits until the group has room for one more child and keeps the place.
    ///
    /// Those who wait here come in in the order of arrival. A spawn that does not wait may take
    /// a place that has just become free before them.
    ///
    /// # Errors
    ///
    /// [`GroupClosed`], if the group has ended or ends meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost; room that was given goes to the next.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "smol")] {
    /// use bowline_backend::Backend;
    /// use bowline_concurrency::{GroupError, Root, TaskGroup, checkpoint};
    ///
    /// let group = TaskGroup::builder().max_children(2);
    /// let done: Result<(), GroupError<()>> =
    ///     Root::new().backend(Backend::Smol).block_on(group.run(|group| async move {
    ///         for _ in 0..10 {
    ///             let slot = group.admit().await.expect("the group is open");
    ///             assert!(group.statistics().live < 2);
    ///             slot.spawn_ok(checkpoint());
    ///         }
    ///         Ok(())
    ///     }));
    /// assert!(done.is_ok());
    /// # }
    /// ```
    pub async fn admit(&self) -> Result<Slot<E>, GroupClosed> {
        let gate = &self.node.payload.gate;
        let waiting = Waiting::new(&gate.waiting);
        if self.node.while_open(|_| ()).is_none() {
            return Err(GroupClosed);
        }
        let mut room = pin!(gate.room.acquire());
        let mut looked = false;
        // While frozen it takes no place that another could use; a shield may thaw it.
        let permit = poll_fn(|cx| {
            if !looked && !ambient::is_cancelled() {
                looked = true;
                gate.reserve(&self.node);
            }
            room.as_mut().poll(cx)
        });
        permit.await.forget();
        let slot = Slot::take(self);
        drop(waiting);
        slot.ok_or(GroupClosed)
    }
}

/// A place for one child; of [`TaskGroup::admit`].
///
/// The group waits for it as for a child, until it is used or dropped.
#[must_use = "the place is free again when this is dropped"]
pub struct Slot<E: Send + 'static> {
    group: TaskGroup<E>,
    name: Cow<'static, str>,
    /// Holds the place among the children.
    place: NodeRef,
}

impl<E: Send + 'static> Slot<E> {
    /// With the place that is reserved for it.
    fn take(group: &TaskGroup<E>) -> Option<Slot<E>> {
        let place: NodeRef = Arc::new(Node::new(
            Kind::Task,
            TaskId::OUTSIDE,
            Cow::Borrowed("(reserved)"),
            Location::caller(),
            (),
        ));
        let parent: NodeRef = group.node.clone();
        let gate = &group.node.payload.gate;
        let linked = gate.settle_reserved(|settle| place.link_task(&parent, settle));
        linked.ok()?;
        Some(Slot {
            group: group.clone(),
            name: Cow::Borrowed(""),
            place,
        })
    }

    /// Names the child.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Slot<E> {
        self.name = name.into();
        self
    }

    /// As [`TaskGroup::spawn`], but there is room. Only a group that foreign code dropped
    /// refuses.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn spawn<T, F>(mut self, future: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (name, at) = (std::mem::take(&mut self.name), Location::caller());
        self.group
            .spawn_reserved(name, at, future, |result| result, &self.place)
    }

    /// As [`TaskGroup::spawn_ok`], but there is room.
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
        self.spawn_ok_at(Location::caller(), future)
    }

    /// The same for who asked for it elsewhere.
    pub(crate) fn spawn_ok_at<T, F>(
        mut self,
        at: &'static Location<'static>,
        future: F,
    ) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let name = std::mem::take(&mut self.name);
        self.group.spawn_reserved(name, at, future, Ok, &self.place)
    }
}

impl<E: Send + 'static> Drop for Slot<E> {
    fn drop(&mut self) {
        self.place.unlink_task();
        let group = &self.group.node;
        group.payload.gate.pass_on(group);
    }
}

impl<E: Send + 'static> fmt::Debug for Slot<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
