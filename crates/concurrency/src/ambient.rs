//! Where the code that runs on this thread stands in the tree: set around every poll and every
//! drop of a body, and every call of user code.

mod frame;

use crate::branches::Link;
use crate::node::{Kind, NodeRef, Waiting};
use crate::per_thread::per_thread;
use crate::task_id::TaskId;
use crate::thread;
use bowline_backend::Backend;
use frame::Frame;
use std::cell::Cell;
use std::sync::Arc;

/// Ready operations of one poll of a task, before a leaf lets others run.
const BUDGET: u8 = 128;

per_thread! {
    /// How many leaves of this poll may still be ready at once.
    static LEFT: Cell<u8> = Cell::new(BUDGET);
}

impl<'a> Frame<'a> {
    fn linked(&self) -> Option<&'a NodeRef> {
        let own = self.branch.and_then(|branch| branch.linked());
        own.or(self.node)
    }

    /// The current node. A branch whose own node somebody has made, to cancel it, stands there
    /// from now on.
    fn here(&self) -> Option<&'a NodeRef> {
        if let Some(branch) = self.branch.filter(|branch| branch.has_node()) {
            branch.join_tree();
        }
        self.linked()
    }

    /// The same; a branch has a node of its own from now on.
    fn settle(&self) -> Option<&'a NodeRef> {
        if let Some(branch) = self.branch {
            branch.join_tree();
        }
        self.linked()
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
#[inline]
pub(crate) fn turn() -> Turn {
    let (cancelled, in_task) = frame::top(|frame| {
        let here = frame.here();
        (here.is_some_and(|n| n.is_cancelled()), frame.task.is_some())
    });
    if cancelled {
        return Turn::Frozen;
    }
    if !in_task {
        return Turn::Go;
    }
    let spent = LEFT.try_with(|left| match left.get() {
        0 => {
            left.set(BUDGET);
            true
        }
        some => {
            left.set(some - 1);
            false
        }
    });
    match spent {
        Ok(true) => Turn::Yield,
        _ => Turn::Go,
    }
}

/// Calls `f` with the current node.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(Option<&NodeRef>) -> R) -> R {
    frame::top(|frame| f(frame.here()))
}

/// The current node. A branch that asks has one of its own from then on.
pub(crate) fn current() -> Option<NodeRef> {
    frame::top(|frame| frame.settle().cloned())
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
#[inline]
pub(crate) fn place() -> (usize, bool) {
    frame::top(|frame| {
        let here = frame.settle();
        (here.map_or(0, |node| node.address()), frame.task.is_some())
    })
}

/// The address of the current node, zero outside, and whether that is cancelled.
pub(crate) fn position() -> (usize, bool) {
    frame::top(|frame| {
        let here = frame.settle();
        here.map_or((0, false), |node| (node.address(), node.is_cancelled()))
    })
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
    with_task(|task| task.cloned())
}

/// Calls `f` with the outermost node of the running task.
pub(crate) fn with_task<R>(f: impl FnOnce(Option<&NodeRef>) -> R) -> R {
    frame::top(|frame| f(frame.task))
}

/// Whether the running task is the one whose outermost node that is; `None` is no task.
pub(crate) fn is_task(task: Option<&NodeRef>) -> bool {
    with_task(|running| match (running, task) {
        (Some(running), Some(task)) => Arc::ptr_eq(running, task),
        (None, None) => true,
        _ => false,
    })
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

/// Runs `f` at the place of `node`, as that of the running task too if `host`.
#[inline]
pub(crate) fn inside<R>(node: Option<&NodeRef>, host: bool, f: impl FnOnce() -> R) -> R {
    if host {
        let _ = LEFT.try_with(|left| left.set(BUDGET));
    }
    frame::top(|outer| {
        let task = if host { node } else { outer.task };
        let branch = None;
        frame::stand(&Frame { node, task, branch }, f)
    })
}

/// Runs `f` as code of `branch`, whose place is the current node until it needs its own.
pub(crate) fn in_branch<R>(branch: Option<&Arc<Link>>, f: impl FnOnce() -> R) -> R {
    frame::top(|outer| frame::stand(&Frame { branch, ..*outer }, f))
}
