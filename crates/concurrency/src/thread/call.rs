use crate::cause::{Cause, CauseKind};
use crate::node::{Kind, Node, NodeRef};
use crate::root::{self, Threads};
use crate::task_id::TaskId;
use bowline_backend::Backend;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One call of a closure on another thread, as host and worker see it.
///
/// Invariants:
/// 1. The closure begins at most once, and never after its host was dropped.
/// 2. A worker that was begun by a host that is gone is known to the root until it ends: as a task
///    that the root waits for, or, abandoned, by name.
/// 3. What the worker blocks on is a task below `place` while that is open, and else below the
///    root. `place` is closed before it leaves the tree, and what is below it goes to the root.
/// 4. Under `stage` no node is linked, cancelled or dropped.
pub(super) struct Call {
    /// Where the worker stands: below the host's scopes while the host waits.
    pub(super) place: NodeRef,
    pub(super) root: NodeRef,
    pub(super) backend: Backend,
    stage: Mutex<Stage>,
}

struct Stage {
    step: Step,
    host: Host,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Step {
    Queued,
    Running,
    Ended,
}

enum Host {
    Waits,
    /// Dropped by foreign code; the root waits with this task.
    Lost(NodeRef),
    /// Gone without waiting; the root has the name under this key, once the worker has begun.
    Abandoned(Option<usize>),
}

/// Where the task stands that a worker blocks on.
pub(super) enum Stay {
    Hosted,
    /// Below the root, which cancels it at its end.
    Visit(usize),
}

impl Call {
    pub(super) fn new(place: NodeRef, root: NodeRef, backend: Backend) -> Call {
        Call {
            place,
            root,
            backend,
            stage: Mutex::new(Stage {
                step: Step::Queued,
                host: Host::Waits,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> &Threads {
        root::threads_of(&self.root)
    }

    /// Whether the closure is to run.
    pub(super) fn begin(&self) -> bool {
        let mut stage = self.lock();
        let wanted = stage.step == Step::Queued && matches!(stage.host, Host::Waits);
        if wanted {
            stage.step = Step::Running;
        }
        wanted
    }

    /// The worker is done with everything of the user's.
    pub(super) fn end(&self) {
        self.place.close();
        let host = {
            let mut stage = self.lock();
            stage.step = Step::Ended;
            std::mem::replace(&mut stage.host, Host::Abandoned(None))
        };
        match host {
            Host::Waits | Host::Abandoned(None) => {}
            Host::Lost(stay) => self.end_stay(&stay),
            Host::Abandoned(Some(key)) => self.threads().forget_abandoned(key),
        }
    }

    fn end_stay(&self, stay: &NodeRef) {
        self.place.unlink();
        stay.unlink_task();
    }

    /// The host is being dropped: cancels what the worker does for it.
    pub(super) fn cancel(&self) {
        let place = &self.place;
        let cause = place.visible_cause();
        place.cancel(|| cause.unwrap_or_else(|| self.dropped()));
    }

    /// Foreign code has dropped the host, whose place has left the tree: the root waits instead.
    pub(super) fn lose_host(&self) {
        let place = &self.place;
        let stay: NodeRef = Arc::new(Node::new(
            Kind::Task,
            self.next_id(),
            place.name().clone(),
            place.location,
            (),
        ));
        stay.keep_backend(self.backend);
        if stay.link_task(&self.root, |_| true).is_err() {
            // The root has returned.
            return self.abandon();
        }
        place.link(&stay);
        let mut stage = self.lock();
        if stage.step == Step::Ended {
            drop(stage);
            return self.end_stay(&stay);
        }
        stage.host = Host::Lost(stay);
    }

    /// The host, whose place has left the tree, waits no longer.
    pub(super) fn abandon(&self) {
        let place = &self.place;
        // What the worker blocks on from now on is the root's.
        place.close();
        place.adopt(&self.root);
        let mut stage = self.lock();
        let key = match stage.step {
            Step::Running => Some(self.threads().note_abandoned(place)),
            Step::Queued => None,
            Step::Ended => return,
        };
        stage.host = Host::Abandoned(key);
    }

    /// The cause where no scope was cancelled.
    pub(super) fn dropped(&self) -> Cause {
        let (kind, place) = (CauseKind::Dropped, &self.place);
        Cause::here(kind, Cow::Borrowed(""), place.location, place)
    }

    /// Puts a task that the worker blocks on into the tree.
    pub(super) fn admit(&self, task: &NodeRef) -> Result<Stay, Cause> {
        task.keep_backend(self.backend);
        if task.link_task(&self.place, |_| true).is_ok() {
            return Ok(Stay::Hosted);
        }
        match self.threads().visit(&self.root, task) {
            Some(key) => Ok(Stay::Visit(key)),
            None => {
                let (kind, reason) = (CauseKind::Shutdown, Cow::Borrowed("the root has ended"));
                Err(Cause::here(kind, reason, task.location, task))
            }
        }
    }

    /// Counts such a task out.
    pub(super) fn dismiss(&self, task: &NodeRef, stay: Stay) {
        task.unlink_task();
        if let Stay::Visit(key) = stay {
            self.threads().end_visit(key);
        }
    }

    pub(super) fn next_id(&self) -> TaskId {
        root::next_id(&self.root)
    }
}
