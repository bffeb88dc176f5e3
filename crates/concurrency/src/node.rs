mod activity;
mod agenda;
mod cancel;
mod deadlines;
mod grace;
mod holds;
mod linkage;
mod pulse;
mod roster;
mod sight;
#[cfg(all(test, not(loom)))]
mod visits;
mod waking;

pub(crate) use activity::Waiting;
pub(crate) use cancel::{note_change, wake_all};
pub(crate) use holds::Stance;
pub(crate) use pulse::{Counted, CountedWaker, Pulse};
pub(crate) use roster::Roster;
pub(crate) use waking::Wakeup;

use crate::cause::Cause;
use crate::memory::{
    AtomicBool, AtomicIsize, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Mutex, MutexGuard,
};
use crate::root::RootState;
use crate::task_id::TaskId;
use activity::Activity;
use agenda::Agenda;
use bowline_backend::Backend;
use slab::Slab;
use std::any::Any;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Waker;

/// A node whose own part is not known here.
pub(crate) type NodeRef = Arc<Node<dyn Payload>>;

/// What a kind of node adds to every node's part.
pub(crate) trait Payload: Send + Sync + 'static {
    /// The root's own part, on root nodes only.
    fn root(&self) -> Option<&RootState> {
        None
    }

    /// Whether the task is to go on to its end, whatever is cancelled.
    fn is_critical(&self) -> bool {
        false
    }

    /// Of a parent: a task below it that is no child of a group panicked, and nobody waits for it.
    fn take_panic(&self, _own: &NodeRef, _task: &NodeRef, _panic: Box<dyn Any + Send>) {}

    /// Of a parent: a task below it that is no child of a group was counted out.
    fn note_room(&self, _own: &NodeRef) {}

    /// What the node is called as something that holds, if neither a group nor a shield.
    fn holds_as(&self) -> Option<&'static str> {
        None
    }

    /// What is counted of a task or root that a backend runs.
    fn pulse(&self) -> Option<&Pulse> {
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
/// The node or an ancestor it can see is cancelled, its grace over: leaves are frozen.
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
/// The owners above must not drop what contains this node.
const HOLD: u32 = 1 << 7;
/// A body that has started gets no poll after the cancel.
const EAGER: u32 = 1 << 11;
/// The node was cancelled itself and its grace is over.
const HARD: u32 = 1 << 12;
/// As `EFFECTIVE`, also during a grace.
const NOTICED: u32 = 1 << 13;
/// The owner has read its limit: a deadline set from now on has to be told.
const STARTED: u32 = 1 << 10;
/// Somebody set the deadline: the owner's own one does not count.
const RESCHEDULED: u32 = 1 << 9;
/// The owner runs the finalisers that its body left behind.
const FINALISING: u32 = 1 << 14;
/// Polls of this task are timed.
const MEASURED: u32 = 1 << 15;
/// The node's mask holds nothing: what is behind it outlives the owners above.
const LOOSE: u32 = 1 << 16;
/// Nobody polls what is below the node: it passes no hold on.
const RESTING: u32 = 1 << 18;
/// The node was found cancelled and held before.
const HELD: u32 = 1 << 17;
/// The task has many deadlines: what is said of them goes into its agenda.
const CROWDED: u32 = 1 << 19;

/// One place in the tree of roots, tasks, groups and scopes.
///
/// Invariants:
/// 1. `EFFECTIVE` and `NOTICED` are pushed copies: whoever changes what they depend on (`HARD`,
///    `OWN`, `MASK`, the parent and its copies) calls [`Node::refresh`] afterwards. It computes
///    them from the parent's *current* bits under the node's own lock, so whichever of two racing
///    refreshes comes last has seen both changes. One node is locked at a time.
/// 2. `cause` is set before `OWN`, and never changes.
/// 3. A node is in its parent's roster exactly while `links.parent` is set, except inside
///    `link` and `unlink`, and for a new node before it is linked or when it is refused. The roster's key is `key`.
/// 4. Under `links` no waker is cloned or woken, no user code called and no user value dropped:
///    who wakes takes the waker out, and the owner stores it again at its next poll. A task is
///    woken by the waker of its pulse, which stays, and has one here only while it is polled with
///    another.
/// 5. `holds` counts the scopes right below the node that hold or in which something does, up to the
///    next task or mask (through one that is `LOOSE`), and changes under `links` alone. While it is
///    above zero the body is not dropped by its owner.
///    `links.passed` is the node's share of its parent's count; whoever changes what it follows
///    from (`holds`, `HOLD`, `MASK`, the parent) brings it up to date under the same lock.
/// 6. `OWN` without `HARD` is the grace: it ends at `hard_at`, or, for a node that was not in the
///    tree when it was cancelled, `grace` after its first poll.
/// 7. `soonest`, on the outermost node of a task, is at most the smallest deadline among the
///    task's nodes that are not cancelled.
pub(crate) struct Node<P: ?Sized> {
    pub(crate) kind: Kind,
    pub(crate) id: TaskId,
    name: OnceLock<Cow<'static, str>>,
    pub(crate) location: &'static Location<'static>,
    flags: AtomicU32,
    holds: AtomicIsize,
    deadline: AtomicU64,
    soonest: AtomicU64,
    /// How long a cancel is soft, in nanoseconds.
    grace: AtomicU64,
    hard_at: AtomicU64,
    /// Finalisers registered, and those that were cut off.
    finalisers: AtomicU32,
    unfinished: AtomicU32,
    cause: OnceLock<Cause>,
    /// Its place among those available, from 1; zero for none yet.
    backend: AtomicU8,
    /// `links.waker` is set; changes under `links` alone.
    armed: AtomicBool,
    activity: Activity,
    /// Its place among those its parent was ever given.
    order: AtomicU64,
    /// Of the parent's roster; changes under the parent's `links` alone.
    key: AtomicUsize,
    links: Mutex<Links>,
    pub(crate) payload: P,
}

struct Links {
    parent: Option<NodeRef>,
    /// Nodes of the same task.
    scopes: Roster<NodeRef>,
    /// Tasks of a group; groups a root has adopted.
    tasks: Roster<NodeRef>,
    /// How many it was ever given of both.
    linked: u64,
    /// The holds that the parent counts for this node.
    passed: isize,
    waker: Option<Waker>,
    /// Those who wait in `cancelled()`, each with its waker until it is woken.
    watchers: Option<Box<Slab<Option<Waker>>>>,
    /// The owner was to be woken while it had no waker here.
    missed: bool,
    /// While the node is `CROWDED`, on the outermost one of a task.
    agenda: Option<Box<Agenda>>,
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
        Node::made(kind, id, name, location, None, payload)
    }

    /// One that is to stand below `parent`.
    #[inline]
    pub(crate) fn below(
        parent: NodeRef,
        kind: Kind,
        id: TaskId,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
        payload: P,
    ) -> Self {
        Node::made(kind, id, name, location, Some(parent), payload)
    }

    // Inlined: a node is several cache lines, and each call would move it once more.
    #[inline(always)]
    fn made(
        kind: Kind,
        id: TaskId,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
        parent: Option<NodeRef>,
        payload: P,
    ) -> Self {
        let backend = parent.as_ref().map(|p| p.backend.load(Ordering::Relaxed));
        Node {
            kind,
            id,
            name: given(name),
            location,
            flags: AtomicU32::new(0),
            holds: AtomicIsize::new(0),
            deadline: AtomicU64::new(u64::MAX),
            soonest: AtomicU64::new(u64::MAX),
            grace: AtomicU64::new(0),
            hard_at: AtomicU64::new(u64::MAX),
            finalisers: AtomicU32::new(0),
            unfinished: AtomicU32::new(0),
            cause: OnceLock::new(),
            backend: AtomicU8::new(backend.unwrap_or(0)),
            armed: AtomicBool::new(false),
            activity: Activity::new(),
            order: AtomicU64::new(0),
            key: AtomicUsize::new(usize::MAX),
            links: Mutex::new(Links {
                parent,
                scopes: Roster::new(),
                tasks: Roster::new(),
                linked: 0,
                passed: 0,
                waker: None,
                watchers: None,
                missed: false,
                agenda: None,
            }),
            payload,
        }
    }
}

/// An empty name leaves the place to one that is given later.
fn given(name: Cow<'static, str>) -> OnceLock<Cow<'static, str>> {
    match name.is_empty() {
        true => OnceLock::new(),
        false => OnceLock::from(name),
    }
}

impl<P: ?Sized> Node<P> {
    fn lock(&self) -> MutexGuard<'_, Links> {
        #[cfg(all(test, not(loom)))]
        visits::note();
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

    /// Empty if it was given none.
    pub(crate) fn name(&self) -> &Cow<'static, str> {
        self.name.get().unwrap_or(&Cow::Borrowed(""))
    }

    /// Names the node, unless it has a name.
    pub(crate) fn set_name(&self, name: Cow<'static, str>) {
        let _ = self.name.set(name);
    }

    /// Whether this node or an ancestor visible from it was cancelled, be it with a grace.
    pub(crate) fn is_noticed(&self) -> bool {
        self.has(NOTICED)
    }

    /// The same, with no grace left. One load.
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
        self.holds.load(Ordering::Acquire) > 0
    }

    /// Before the node is linked: drops a started body with no further poll.
    pub(crate) fn set_eager(&self) {
        self.set(EAGER);
    }

    pub(crate) fn is_eager(&self) -> bool {
        self.has(EAGER)
    }

    /// Counts one more finaliser, unless there are `most`.
    pub(crate) fn add_finaliser(&self, most: u32) -> bool {
        let add = |count| (count < most).then_some(count + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.finalisers.fetch_update(set, fetch, add).is_ok()
    }

    pub(crate) fn remove_finaliser(&self) {
        self.finalisers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn note_unfinished(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.unfinished.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed) as usize
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
        let place = usize::from(self.backend.load(Ordering::Relaxed)).checked_sub(1)?;
        Backend::available().get(place).copied()
    }

    /// Keeps the first backend it is given.
    pub(crate) fn keep_backend(&self, backend: Backend) {
        let place = Backend::available().iter().position(|b| *b == backend);
        let place = place.and_then(|place| u8::try_from(place + 1).ok());
        self.keep_backend_number(place.unwrap_or(0));
    }

    fn keep_backend_number(&self, number: u8) {
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.backend.compare_exchange(0, number, set, fetch);
    }

    pub(crate) fn parent(&self) -> Option<NodeRef> {
        self.lock().parent.clone()
    }
}

impl Node<dyn Payload> {
    pub(crate) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).cast::<()>() as usize
    }
}
