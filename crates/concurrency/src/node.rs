mod roster;

pub(crate) use roster::Roster;

use crate::cause::Cause;
use crate::root::RootState;
use crate::task_id::TaskId;
use bowline_backend::Backend;
use bowline_backend::time::Instant;
use slab::Slab;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

/// A node whose own part is not known here.
pub(crate) type NodeRef = Arc<Node<dyn Payload>>;

/// What a kind of node adds to every node's part.
pub(crate) trait Payload: Send + Sync + 'static {
    /// The root's own part, on root nodes only.
    fn root(&self) -> Option<&RootState> {
        None
    }
}

impl Payload for () {}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scope,
    Group,
    Task,
    Root,
}

/// The node was cancelled itself; its cause is set.
const OWN: u32 = 1;
/// The node or an ancestor it can see was cancelled.
const EFFECTIVE: u32 = 1 << 1;
/// The cancellation of ancestors is invisible here and below.
const MASK: u32 = 1 << 2;
/// No child may be added any more.
const CLOSED: u32 = 1 << 3;
/// The owner only waits for its children: the last to leave wakes it.
const DRAINING: u32 = 1 << 4;
/// The owner is gone and a root holds the node: the last child to leave unlinks it.
const ADOPTED: u32 = 1 << 5;
/// The owner dropped its body because of the node's own cancel, and said so.
const CAUGHT: u32 = 1 << 6;

/// One place in the tree of roots, tasks, groups and scopes.
///
/// Invariants:
/// 1. `EFFECTIVE` is a pushed copy: whoever changes what it depends on (`OWN`, `MASK`, the
///    parent, the parent's `EFFECTIVE`) calls [`Node::refresh`] afterwards. `refresh` computes
///    it from the parent's *current* bit under the node's own lock, so whichever of two racing
///    refreshes comes last has seen both changes. One node is locked at a time.
/// 2. `cause` is set before `OWN`, and never changes.
/// 3. A node is in its parent's roster exactly while `links.parent` is set, except inside
///    `link` and `unlink`. The roster's key is `links.key`.
/// 4. Under `links` no waker is woken, no user code called and no user value dropped.
/// 5. `holds` counts the hold constructs at or below the node's body, up to the next mask or
///    task. While it is not zero the body is not dropped by its owner.
/// 6. `soonest`, on the outermost node of a task, is at most the smallest deadline among the
///    task's nodes that are not cancelled.
pub(crate) struct Node<P: ?Sized> {
    pub(crate) kind: Kind,
    pub(crate) id: TaskId,
    pub(crate) name: Cow<'static, str>,
    pub(crate) location: &'static Location<'static>,
    flags: AtomicU32,
    holds: AtomicUsize,
    deadline: AtomicU64,
    soonest: AtomicU64,
    cause: OnceLock<Cause>,
    backend: OnceLock<Backend>,
    links: Mutex<Links>,
    pub(crate) payload: P,
}

struct Links {
    parent: Option<NodeRef>,
    key: usize,
    /// Nodes of the same task.
    scopes: Roster<NodeRef>,
    /// Tasks of a group; groups a root has adopted.
    tasks: Roster<NodeRef>,
    waker: Option<Waker>,
    /// Those who wait in `cancelled()`.
    watchers: Option<Box<Slab<Waker>>>,
}

/// Why a group takes no child.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Closed,
    Full,
}

impl<P> Node<P> {
    pub(crate) fn new(
        kind: Kind,
        id: TaskId,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
        payload: P,
    ) -> Self {
        Node {
            kind,
            id,
            name,
            location,
            flags: AtomicU32::new(0),
            holds: AtomicUsize::new(0),
            deadline: AtomicU64::new(u64::MAX),
            soonest: AtomicU64::new(u64::MAX),
            cause: OnceLock::new(),
            backend: OnceLock::new(),
            links: Mutex::new(Links {
                parent: None,
                key: 0,
                scopes: Roster::new(),
                tasks: Roster::new(),
                waker: None,
                watchers: None,
            }),
            payload,
        }
    }
}

impl<P: ?Sized> Node<P> {
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u32) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    fn clear(&self, flag: u32) {
        self.flags.fetch_and(!flag, Ordering::AcqRel);
    }

    /// Whether this node or an ancestor visible from it was cancelled. One load.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(EFFECTIVE)
    }

    /// Whether this node itself was cancelled.
    pub(crate) fn cancel_called(&self) -> bool {
        self.has(OWN)
    }

    pub(crate) fn is_masked(&self) -> bool {
        self.has(MASK)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) != 0
    }

    pub(crate) fn note_caught(&self) {
        self.set(CAUGHT);
    }

    pub(crate) fn cancelled_caught(&self) -> bool {
        self.has(CAUGHT)
    }

    /// The cause of this node's own cancel.
    pub(crate) fn own_cause(&self) -> Option<Cause> {
        self.cause.get().cloned()
    }

    pub(crate) fn backend(&self) -> Option<Backend> {
        self.backend.get().copied()
    }

    /// Keeps the first backend it is given.
    pub(crate) fn keep_backend(&self, backend: Backend) {
        let _ = self.backend.set(backend);
    }

    pub(crate) fn parent(&self) -> Option<NodeRef> {
        self.lock().parent.clone()
    }

    /// The node's own deadline.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::from_nanos(self.deadline.load(Ordering::Acquire))
    }

    pub(crate) fn set_deadline(&self, deadline: Instant) {
        self.deadline.store(deadline.as_nanos(), Ordering::Release);
    }

    /// Tells the outermost node of a task that one of its nodes has this deadline.
    pub(crate) fn expect_deadline(&self, deadline: Instant) {
        self.soonest
            .fetch_min(deadline.as_nanos(), Ordering::AcqRel);
    }

    pub(crate) fn soonest(&self) -> Instant {
        Instant::from_nanos(self.soonest.load(Ordering::Acquire))
    }

    pub(crate) fn store_waker(&self, waker: &Waker) {
        let former = self.lock().waker.replace(waker.clone());
        drop(former);
    }

    pub(crate) fn wake_owner(&self) {
        let waker = self.lock().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Registers a waker that the next cancel wakes, or says that it has come already.
    pub(crate) fn watch(&self, waker: &Waker, key: &mut Option<usize>) -> bool {
        let mut links = self.lock();
        if self.is_cancelled() {
            return true;
        }
        let watchers = links.watchers.get_or_insert_default();
        let waker = waker.clone();
        let former = match key.and_then(|key| watchers.get_mut(key)) {
            Some(place) => Some(std::mem::replace(place, waker)),
            None => {
                *key = Some(watchers.insert(waker));
                None
            }
        };
        drop(links);
        drop(former);
        false
    }

    pub(crate) fn unwatch(&self, key: usize) {
        let mut links = self.lock();
        let former = links.watchers.as_mut().and_then(|w| w.try_remove(key));
        drop(links);
        drop(former);
    }

    pub(crate) fn task_count(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Closes the node if no task is left; otherwise the last one will wake the owner.
    pub(crate) fn close_if_empty(&self) -> bool {
        let links = self.lock();
        let empty = links.tasks.is_empty();
        self.set(if empty { CLOSED | DRAINING } else { DRAINING });
        empty
    }

    pub(crate) fn close(&self) {
        let _links = self.lock();
        self.set(CLOSED);
    }

    /// The tasks below this node, for a report.
    pub(crate) fn tasks(&self) -> Vec<NodeRef> {
        self.lock().tasks.iter().cloned().collect()
    }
}

impl Node<dyn Payload> {
    pub(crate) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).cast::<()>() as usize
    }

    /// Puts the node below `parent`, among the nodes of the same task.
    pub(crate) fn link(self: &Arc<Self>, parent: &NodeRef) {
        let key = parent.lock().scopes.insert(self.clone());
        self.linked(parent, key);
    }

    /// Puts the node below `parent` as a task, if `parent` is open and has fewer than `limit`.
    pub(crate) fn link_task(
        self: &Arc<Self>,
        parent: &NodeRef,
        limit: usize,
    ) -> Result<(), Admission> {
        let key = {
            let mut links = parent.lock();
            if parent.has(CLOSED) {
                return Err(Admission::Closed);
            }
            if links.tasks.len() >= limit {
                return Err(Admission::Full);
            }
            links.tasks.insert(self.clone())
        };
        self.linked(parent, key);
        Ok(())
    }

    fn linked(self: &Arc<Self>, parent: &NodeRef, key: usize) {
        if let Some(backend) = parent.backend() {
            self.keep_backend(backend);
        }
        {
            let mut links = self.lock();
            links.parent = Some(parent.clone());
            links.key = key;
        }
        if self.is_cancelled() || parent.is_cancelled() {
            self.refresh();
        }
    }

    /// Takes the node out of its parent's roster of scopes.
    pub(crate) fn unlink(self: &Arc<Self>) {
        let Some((parent, key)) = self.take_parent() else {
            return;
        };
        let former = parent.lock().scopes.remove(key);
        drop(former);
    }

    /// Takes the node out of its parent's roster of tasks, and passes on that it has ended:
    /// the last one wakes a draining owner or unlinks a parent whose owner is gone.
    pub(crate) fn unlink_task(self: &Arc<Self>) {
        let mut node = self.clone();
        while let Some((parent, key)) = node.take_parent() {
            let (former, last, waker) = {
                let mut links = parent.lock();
                let former = links.tasks.remove(key);
                let last = links.tasks.is_empty();
                let waker = (last && parent.has(DRAINING))
                    .then(|| links.waker.clone())
                    .flatten();
                (former, last, waker)
            };
            drop(former);
            if let Some(waker) = waker {
                waker.wake();
            }
            if !(last && parent.has(ADOPTED)) {
                return;
            }
            node = parent;
        }
    }

    fn take_parent(&self) -> Option<(NodeRef, usize)> {
        let mut links = self.lock();
        let parent = links.parent.take()?;
        Some((parent, links.key))
    }

    /// Gives a closed group whose owner is gone to `root`, until its last task has ended.
    pub(crate) fn adopt(self: &Arc<Self>, root: &NodeRef) {
        self.unlink();
        if self.task_count() == 0 {
            return;
        }
        let key = root.lock().tasks.insert(self.clone());
        self.linked(root, key);
        let empty = {
            let links = self.lock();
            let empty = links.tasks.is_empty();
            if !empty {
                self.set(ADOPTED);
            }
            empty
        };
        // Before `ADOPTED` was set the last task could not do this for us.
        if empty {
            self.unlink_task();
        }
    }

    /// Cancels the node, unless it was before. The first cause stays.
    pub(crate) fn cancel(self: &Arc<Self>, cause: impl FnOnce() -> Cause) -> bool {
        if self.cancel_called() {
            return false;
        }
        let cause = cause();
        {
            let _links = self.lock();
            if self.cancel_called() {
                return false;
            }
            let _ = self.cause.set(cause);
            self.set(OWN);
        }
        self.refresh();
        true
    }

    /// Brings `EFFECTIVE` of this node and all below it up to date and wakes who is concerned.
    pub(crate) fn refresh(self: &Arc<Self>) {
        let mut stack = vec![self.clone()];
        let mut wakers = Vec::new();
        while let Some(node) = stack.pop() {
            let links = node.lock();
            let inherited =
                !node.has(MASK) && links.parent.as_ref().is_some_and(|p| p.is_cancelled());
            let wanted = inherited || node.has(OWN);
            if wanted == node.has(EFFECTIVE) {
                continue;
            }
            if wanted {
                node.set(EFFECTIVE);
            } else {
                node.clear(EFFECTIVE);
            }
            wakers.extend(links.waker.clone());
            if let Some(watchers) = links.watchers.as_ref().filter(|_| wanted) {
                wakers.extend(watchers.iter().map(|(_, waker)| waker.clone()));
            }
            stack.extend(links.tasks.iter().cloned());
            stack.extend(links.scopes.iter().cloned());
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The cause of the outermost cancel visible from here.
    pub(crate) fn visible_cause(self: &Arc<Self>) -> Option<Cause> {
        let mut found = None;
        let mut at = Some(self.clone());
        while let Some(node) = at {
            if node.has(OWN) {
                found = node.own_cause().or(found);
            }
            if node.has(MASK) {
                break;
            }
            at = node.parent();
        }
        found
    }

    /// The smallest deadline of this node and its ancestors up to the first mask.
    pub(crate) fn effective_deadline(self: &Arc<Self>) -> Instant {
        let mut found = self.deadline();
        let mut at = self.clone();
        while !at.has(MASK) {
            let Some(parent) = at.parent() else { break };
            found = found.min(parent.deadline());
            at = parent;
        }
        found
    }

    /// The topmost node above this one.
    pub(crate) fn top(self: &Arc<Self>) -> NodeRef {
        let mut at = self.clone();
        while let Some(parent) = at.parent() {
            at = parent;
        }
        at
    }

    /// Adds holds to every ancestor up to and including the first mask or task.
    pub(crate) fn hold_above(self: &Arc<Self>, count: usize) {
        self.each_held(|node| {
            node.holds.fetch_add(count, Ordering::AcqRel);
        });
    }

    /// Takes them back. An owner that could now drop its body is woken.
    pub(crate) fn release_above(self: &Arc<Self>, count: usize) {
        self.each_held(|node| {
            let before = node.holds.fetch_sub(count, Ordering::AcqRel);
            if before == count && node.is_cancelled() {
                node.wake_owner();
            }
        });
    }

    /// How many holds this node passes on to its ancestors for what is below it.
    pub(crate) fn holds_passed_on(&self) -> usize {
        if self.ends_holds() {
            return 0;
        }
        self.holds.load(Ordering::Acquire)
    }

    fn ends_holds(&self) -> bool {
        self.has(MASK) || matches!(self.kind, Kind::Task | Kind::Root)
    }

    fn each_held(self: &Arc<Self>, mut act: impl FnMut(&NodeRef)) {
        let mut at = self.parent();
        while let Some(node) = at {
            act(&node);
            if node.ends_holds() {
                return;
            }
            at = node.parent();
        }
    }

    /// Calls `visit` for this node and those of the same task below it, outer before inner.
    pub(crate) fn each_of_task(self: &Arc<Self>, mut visit: impl FnMut(&NodeRef)) {
        let mut stack = vec![self.clone()];
        while let Some(node) = stack.pop() {
            visit(&node);
            stack.extend(node.lock().scopes.iter().cloned());
        }
    }

    /// Cancels every expired node of the task, outermost first, and finds its next deadline.
    pub(crate) fn expire(self: &Arc<Self>, now: Instant) {
        // Raised first: a deadline written meanwhile is seen by the walk or lowers it again.
        self.soonest.store(u64::MAX, Ordering::SeqCst);
        let mut expired = Vec::new();
        self.each_of_task(|node| {
            let deadline = node.deadline();
            if node.cancel_called() || deadline.is_never() {
            } else if deadline <= now {
                expired.push(node.clone());
            } else {
                self.expect_deadline(deadline);
            }
        });
        for node in expired {
            node.cancel(|| Cause::deadline(&node, now));
        }
    }
}
