//! What foreign code dropped half-way and has to go on, finalisers for one: the root runs it, each in a
//! task of its own.

use super::{above, root_of};
use crate::caught::{guarded, quietly};
use crate::cause::clock_of;
use crate::node::{Counted, CountedWaker, Kind, Node, NodeRef, Payload, Pulse};
use crate::owner::Owner;
use bowline_backend::Backend;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// What is to be run.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that wait for their root's next poll: a drop may happen where no runtime is.
#[derive(Default)]
pub(super) struct Behind {
    tasks: Mutex<Vec<Task>>,
}

pin_project! {
    /// Invariant: it is among the root's tasks from before the drop that caused it has ended until
    /// its work is over, so the root does not return in between.
    struct Task {
        owner: Owner,
        waker: CountedWaker,
        // The same node as the owner's.
        node: Arc<Node<Part>>,
        work: Option<Work>,
    }

    impl PinnedDrop for Task {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let node = this.owner.node().clone();
            // Nobody is left to whom a panic could go.
            quietly(|| this.owner.inside(|| *this.work = None));
            node.unlink_task();
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let cx = &mut this.waker.context(this.node, cx);
        this.owner.arrive_task();
        if let Some(work) = this.work.as_mut() {
            if this.owner.inside(|| work.as_mut().poll(cx)).is_pending() {
                this.owner.arm();
                return Poll::Pending;
            }
            this.owner.inside(|| *this.work = None);
        }
        Poll::Ready(())
    }
}

/// Such a task's own part of its node.
struct Part(Pulse);

impl Counted for Part {
    fn counted(&self) -> &Pulse {
        &self.0
    }
}

impl Payload for Part {
    fn pulse(&self) -> Option<&Pulse> {
        Some(&self.0)
    }
}

/// Gives work that stands at `node` to the root above it, which calls `work` if it takes it. A panic of
/// the work is its own affair.
pub(crate) fn run_behind(node: &NodeRef, name: &'static str, work: impl FnOnce() -> Work) {
    // Where no backend is to be found there is no root: then it is cut off.
    let Ok(root) = guarded(|| above(Some(node))) else {
        return;
    };
    let state = root_of(&root);
    let name = Cow::Borrowed(name);
    let payload = Part(Pulse::default());
    let task = Node::new(Kind::Task, state.next_id(), name, node.location, payload);
    state.measure(&task, || clock_of(node));
    let typed = Arc::new(task);
    let task: NodeRef = typed.clone();
    let backend = node.backend().or_else(|| Backend::current().ok());
    if let Some(backend) = backend {
        task.keep_backend(backend);
    }
    if task.link_task(&root, |_| true).is_err() {
        // The root has returned.
        return;
    }
    let task = Task {
        owner: Owner::fixed(task),
        waker: CountedWaker::new(&typed),
        node: typed,
        work: Some(work()),
    };
    if root.id.is_outside() {
        // A process has no future that could start it later.
        quietly(|| {
            if let Some(backend) = backend {
                backend.spawn_detached(task);
            }
        });
        return;
    }
    let mut tasks = state
        .behind
        .tasks
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    tasks.push(task);
    drop(tasks);
    root.wake_owner();
}

/// Spawns the tasks that have come since.
pub(super) fn start(root: &NodeRef) {
    let behind = &root_of(root).behind;
    let tasks = {
        let mut tasks = behind.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *tasks)
    };
    if let Some(backend) = root.backend() {
        for task in tasks {
            backend.spawn_detached(task);
        }
    }
}
