use crate::node::NodeRef;
use crate::task_id::TaskId;
use bowline_backend::Backend;
use std::cell::RefCell;
use std::mem;

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
}

thread_local! {
    static AMBIENT: RefCell<Ambient> = const { RefCell::new(Ambient { node: None, task: None }) };
}

/// Calls `f` with the current node. `f` runs no user code.
pub(crate) fn with<R>(f: impl FnOnce(Option<&NodeRef>) -> R) -> R {
    // Behind the thread's last destructors there is no place to stand.
    let mut f = Some(f);
    let answer = AMBIENT.try_with(|a| f.take().map(|f| f(a.borrow().node.as_ref())));
    match (answer, f) {
        (Ok(Some(answer)), _) => answer,
        (_, Some(f)) => f(None),
        (_, None) => unreachable!("`f` was called or is still here"),
    }
}

pub(crate) fn current() -> Option<NodeRef> {
    with(|node| node.cloned())
}

/// Whether the current node is cancelled; the one question every leaf future asks.
pub(crate) fn is_cancelled() -> bool {
    with(|node| node.is_some_and(|node| node.is_cancelled()))
}

/// The address of the current node, zero outside, and whether a task of ours is running.
pub(crate) fn place() -> (usize, bool) {
    AMBIENT
        .try_with(|a| {
            let a = a.borrow();
            (a.node.as_ref().map_or(0, |n| n.address()), a.task.is_some())
        })
        .unwrap_or((0, false))
}

/// The outermost node of the running task.
pub(crate) fn task() -> Option<NodeRef> {
    AMBIENT.try_with(|a| a.borrow().task.clone()).ok().flatten()
}

pub(crate) fn task_id() -> TaskId {
    task().map_or(TaskId::OUTSIDE, |task| task.id)
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
        let former_task = host.then(|| mem::replace(&mut a.task, task));
        (mem::replace(&mut a.node, slot.take()), former_task)
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
    former: Option<(Option<NodeRef>, Option<Option<NodeRef>>)>,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let Some((node, task)) = self.former.take() else {
            return;
        };
        let ours = AMBIENT.try_with(|a| {
            let mut a = a.borrow_mut();
            let task = task.map(|task| mem::replace(&mut a.task, task));
            (mem::replace(&mut a.node, node), task)
        });
        if let Ok((node, task)) = ours {
            *self.slot = node;
            drop(task);
        }
    }
}
