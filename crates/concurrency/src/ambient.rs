use crate::branches::Link;
use crate::node::{Kind, NodeRef, Waiting};
use crate::per_thread::per_thread;
use crate::task_id::TaskId;
use crate::thread;
use bowline_backend::Backend;
use std::cell::RefCell;
use std::mem;
use std::sync::Arc;

/// Where the code that runs on this thread stands in the tree.
///
/// Invariants:
/// 1. It is swapped in around every poll and every drop of a body, and swapped back by a guard,
///    also when the body panics.
/// 2. The borrow ends before any `NodeRef` is dropped: the last one may drop a user's value,
///    whose destructor may ask where it stands.
struct Ambient {
    node: Option<NodeRef>,
    /// The outermost node of the running task, which keeps its timer.
    task: Option<NodeRef>,
    /// The branch that runs at `node`, which stands at its own one once that is linked.
    branch: Option<Arc<Link>>,
    /// How many leaves of this poll may still be ready at once.
    budget: u8,
}

/// Ready operations of one poll of a task, before a leaf lets others run.
const BUDGET: u8 = 128;

per_thread! {
    static AMBIENT: RefCell<Ambient> =
        RefCell::new(Ambient { node: None, task: None, branch: None, budget: BUDGET });
}

impl Ambient {
    fn here(&self) -> Option<&NodeRef> {
        let own = self.branch.as_ref().and_then(|branch| branch.linked());
        own.or(self.node.as_ref())
    }
}

/// What a leaf future that does not wait yet may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Go,
    /// It is the task's 129th in this poll: wake, be `Pending`, go on next time.
    Yield,
    /// The code around it is cancelled: `Pending`, with no side effect.
    Frozen,
}

/// Asked by a leaf future before it begins; counts as one operation.
///
/// Outside of tasks of ours nothing is counted: the count would pass from one run of the
/// simulator to the next one on this thread.
pub(crate) fn turn() -> Turn {
    catch_up();
    let turn = AMBIENT.try_with(|a| {
        let mut a = a.borrow_mut();
        if a.here().is_some_and(|node| node.is_cancelled()) {
            return Turn::Frozen;
        }
        if a.task.is_none() {
            return Turn::Go;
        }
        if a.budget == 0 {
            a.budget = BUDGET;
            return Turn::Yield;
        }
        a.budget -= 1;
        Turn::Go
    });
    turn.unwrap_or(Turn::Go)
}

/// Calls `f` with the current node. `f` runs no user code.
pub(crate) fn with<R>(f: impl FnOnce(Option<&NodeRef>) -> R) -> R {
    catch_up();
    // Behind the thread's last destructors there is no place to stand.
    let mut f = Some(f);
    let answer = AMBIENT.try_with(|a| f.take().map(|f| f(a.borrow().here())));
    match (answer, f) {
        (Ok(Some(answer)), _) => answer,
        (_, Some(f)) => f(None),
        (_, None) => unreachable!("`f` was called or is still here"),
    }
}

/// The current node. A branch that asks has one of its own from then on.
pub(crate) fn current() -> Option<NodeRef> {
    settle();
    with(|node| node.cloned())
}

/// The current node, or where the closure stands that runs on this thread for a task.
pub(crate) fn standpoint() -> Option<NodeRef> {
    current().or_else(thread::place)
}

/// Whether the current node is cancelled; the one question every leaf future asks.
pub(crate) fn is_cancelled() -> bool {
    with(|node| node.is_some_and(|node| node.is_cancelled()))
}

/// Said by a future of ours that is `Pending`, for the task tree.
pub(crate) fn wait_for(what: Waiting) {
    with(|node| {
        if let Some(node) = node {
            node.wait_for(what);
        }
    });
}

/// The address of the current node, zero outside, and whether a task of ours is running.
pub(crate) fn place() -> (usize, bool) {
    settle();
    AMBIENT
        .try_with(|a| {
            let a = a.borrow();
            (a.here().map_or(0, |n| n.address()), a.task.is_some())
        })
        .unwrap_or((0, false))
}

/// Gives the branch that runs a node of its own, if it has none.
fn settle() {
    join_tree(|branch| branch.linked().is_none());
}

/// Lets the branch that runs stand at its own node, if somebody has made that to cancel it.
fn catch_up() {
    join_tree(|branch| branch.linked().is_none() && branch.has_node());
}

fn join_tree(wanted: impl FnOnce(&Link) -> bool) {
    let branch = AMBIENT.try_with(|a| {
        let a = a.borrow();
        let branch = a.branch.as_ref();
        branch.filter(|branch| wanted(branch)).cloned()
    });
    if let Ok(Some(branch)) = branch {
        branch.join_tree();
    }
}

/// Whether the code that runs here stands at `node` or below it, in the same task.
pub(crate) fn is_below(node: &NodeRef) -> bool {
    let mut at = current();
    while let Some(here) = at {
        if Arc::ptr_eq(&here, node) {
            return true;
        }
        if here.kind == Kind::Task {
            return false;
        }
        at = here.parent();
    }
    false
}

/// The outermost node of the running task.
pub(crate) fn task() -> Option<NodeRef> {
    AMBIENT.try_with(|a| a.borrow().task.clone()).ok().flatten()
}

pub(crate) fn task_id() -> TaskId {
    task()
        .or_else(|| thread::place().map(|place| place.host()))
        .map_or(TaskId::OUTSIDE, |task| task.id)
}

/// The backend that counts here: that of the tree, else the current one.
pub(crate) fn backend_if_any() -> Option<Backend> {
    with(|node| node.and_then(|node| node.backend())).or_else(|| Backend::current().ok())
}

/// The same; absence is a programming error.
pub(crate) fn backend() -> Backend {
    if let Some(backend) = with(|node| node.and_then(|node| node.backend())) {
        return backend;
    }
    match Backend::current() {
        Ok(backend) => backend,
        Err(none) => panic!("{none}"),
    }
}

/// Runs `f` at the place of `slot`'s node, as that of the running task too if `host`.
///
/// The node is moved there and back: a nested scope costs no atomic operation per poll.
pub(crate) fn inside<R>(slot: &mut Option<NodeRef>, host: bool, f: impl FnOnce() -> R) -> R {
    let task = if host { slot.clone() } else { None };
    let former = AMBIENT.try_with(|a| {
        let mut a = a.borrow_mut();
        let former_task = host.then(|| {
            a.budget = BUDGET;
            mem::replace(&mut a.task, task)
        });
        let former = mem::replace(&mut a.node, slot.take());
        (former, a.branch.take(), former_task)
    });
    let _restore = Restore {
        slot,
        former: former.ok(),
    };
    f()
}

struct Restore<'a> {
    slot: &'a mut Option<NodeRef>,
    /// None where the thread's ambient place is gone already.
    former: Option<Former>,
}

/// The node, the branch, and the task where that changed.
type Former = (Option<NodeRef>, Option<Arc<Link>>, Option<Option<NodeRef>>);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let Some((node, branch, task)) = self.former.take() else {
            return;
        };
        let ours = AMBIENT.try_with(|a| {
            let mut a = a.borrow_mut();
            let task = task.map(|task| mem::replace(&mut a.task, task));
            a.branch = branch;
            (mem::replace(&mut a.node, node), task)
        });
        if let Ok((node, task)) = ours {
            *self.slot = node;
            drop(task);
        }
    }
}

/// Runs `f` as code of `slot`'s branch, whose place is the current node until it needs its own.
pub(crate) fn in_branch<R>(slot: &mut Option<Arc<Link>>, f: impl FnOnce() -> R) -> R {
    struct Restore<'a>(&'a mut Option<Arc<Link>>, Option<Option<Arc<Link>>>);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            let Some(former) = self.1.take() else { return };
            let ours = AMBIENT.try_with(|a| mem::replace(&mut a.borrow_mut().branch, former));
            if let Ok(ours) = ours {
                *self.0 = ours;
            }
        }
    }
    let former = AMBIENT.try_with(|a| mem::replace(&mut a.borrow_mut().branch, slot.take()));
    let _restore = Restore(slot, former.ok());
    f()
}
