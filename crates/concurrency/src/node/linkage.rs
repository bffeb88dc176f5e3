//! Into the tree, out of it, and to a root when the owner is gone.

use super::holds::add_holds;
use super::{ADOPTED, Admission, CLOSED, DRAINING, Kind, Node, NodeRef, Payload};
use crate::root;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<P: ?Sized> Node<P> {
    /// Asks `f` something about the number of tasks while none can be added or removed; `None` if
    /// the node takes no more.
    pub(crate) fn while_open<R>(&self, f: impl FnOnce(usize) -> R) -> Option<R> {
        let links = self.lock();
        (!self.has(CLOSED)).then(|| f(links.tasks.len()))
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

    pub(crate) fn is_closed(&self) -> bool {
        self.has(CLOSED)
    }

    /// The nodes below this one, for a report.
    pub(crate) fn members(&self) -> Vec<NodeRef> {
        let links = self.lock();
        links
            .tasks
            .iter()
            .chain(links.scopes.iter())
            .cloned()
            .collect()
    }

    /// The tasks below this node.
    pub(crate) fn tasks(&self) -> Vec<NodeRef> {
        self.lock().tasks.iter().cloned().collect()
    }
}

impl Node<dyn Payload> {
    /// Puts the node below `parent`, among the nodes of the same task.
    pub(crate) fn link(self: &Arc<Self>, parent: &NodeRef) {
        self.stand_among_scopes(parent);
        self.linked(parent);
    }

    /// Puts a new node, made [`below`](Node::below) `parent`, among the nodes of the same task.
    pub(crate) fn enter_scopes(self: &Arc<Self>, parent: &NodeRef) {
        self.stand_among_scopes(parent);
        self.catch_up(parent);
    }

    fn stand_among_scopes(self: &Arc<Self>, parent: &NodeRef) {
        let mut links = parent.lock();
        self.take_order(&mut links);
        self.stand_at(links.scopes.insert(self.clone()));
    }

    /// Puts the node below `parent` as a task, if `parent` is open and `has_room` says so of the
    /// number of tasks there are.
    pub(crate) fn link_task(
        self: &Arc<Self>,
        parent: &NodeRef,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Result<(), Admission> {
        self.clone().enter_tasks(&**parent, has_room)?;
        self.linked(parent);
        Ok(())
    }

    /// As [`link_task`](Node::link_task), for a new node that was made [`below`](Node::below)
    /// `parent`.
    pub(crate) fn enter_tasks<P: ?Sized>(
        self: Arc<Self>,
        parent: &Node<P>,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Result<(), Admission> {
        let late = {
            let mut links = parent.lock();
            if parent.has(CLOSED) {
                return Err(Admission::Closed);
            }
            if !has_room(links.tasks.len()) {
                return Err(Admission::Full);
            }
            self.take_order(&mut links);
            // A cancel from now on finds the node in the roster.
            let late = parent.is_noticed().then(|| self.clone());
            self.stand_at(links.tasks.next_key());
            links.tasks.insert(self);
            late
        };
        if let Some(node) = late {
            node.refresh();
        }
        Ok(())
    }

    /// Puts the node below `parent` as a task, unless nobody waits for those any more. A limit, and
    /// that the owner of `parent` is gone, does not count.
    pub(crate) fn link_critical(self: &Arc<Self>, parent: &NodeRef) -> bool {
        {
            let mut links = parent.lock();
            if parent.has(CLOSED) && links.tasks.is_empty() {
                return false;
            }
            self.stand_at(links.tasks.insert(self.clone()));
        }
        self.linked(parent);
        true
    }

    /// Keeps the key that it has in its parent's roster.
    fn stand_at(&self, key: usize) {
        self.key.store(key, Ordering::Relaxed);
    }

    fn linked(self: &Arc<Self>, parent: &NodeRef) {
        self.keep_backend_number(parent.backend.load(Ordering::Relaxed));
        let delta = {
            let mut links = self.lock();
            links.parent = Some(parent.clone());
            self.share_changed(&mut links)
        };
        if delta != 0 {
            add_holds(Some(parent.clone()), delta);
        }
        self.catch_up(parent);
    }

    /// Hears of a cancel that came before the node stood in the parent's roster.
    fn catch_up(self: &Arc<Self>, parent: &NodeRef) {
        if self.is_noticed() || parent.is_noticed() {
            self.refresh();
        }
    }

    /// Takes the node out of its parent's roster of scopes, and its holds back.
    pub(crate) fn unlink(self: &Arc<Self>) {
        let Some((parent, key, passed)) = self.take_parent() else {
            return;
        };
        let former = parent.lock().scopes.remove(key);
        drop(former);
        if passed != 0 {
            add_holds(Some(parent), -passed);
        }
    }

    /// Takes the node out of its parent's roster of tasks, and passes on that it has ended:
    /// the last one wakes a draining owner or unlinks a parent whose owner is gone.
    pub(crate) fn unlink_task(self: &Arc<Self>) {
        let mut next = self.take_parent();
        while let Some((parent, key, _)) = next {
            let (former, last, wakeup) = {
                let mut links = parent.lock();
                let former = links.tasks.remove(key);
                let last = links.tasks.is_empty();
                let wakeup = (last && parent.has(DRAINING))
                    .then(|| parent.wakeup(&mut links))
                    .flatten();
                (former, last, wakeup)
            };
            drop(former);
            if let Some(wakeup) = wakeup {
                wakeup.make();
            }
            if let Some(root) = parent.payload.root().filter(|_| last) {
                root.note_empty();
            }
            if !(last && parent.has(ADOPTED)) {
                return;
            }
            next = parent.take_parent();
        }
    }

    fn take_parent(&self) -> Option<(NodeRef, usize, isize)> {
        let mut links = self.lock();
        let parent = links.parent.take()?;
        let key = self.key.load(Ordering::Relaxed);
        Some((parent, key, std::mem::take(&mut links.passed)))
    }

    /// Gives a closed group whose owner is gone to `root`, until its last task has ended. If that
    /// has returned, for the group was moved away, to the one around it.
    pub(crate) fn adopt(self: &Arc<Self>, root: &NodeRef) {
        let place = self.parent();
        self.unlink();
        super::note_change();
        if self.task_count() == 0 {
            return;
        }
        if !self.enter_root(root, CLOSED) {
            let around = root::still_open(place.as_ref());
            self.enter_root(around.as_ref().unwrap_or(root), 0);
        }
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

    /// Stands among the tasks of `root`, unless that has one of these flags.
    fn enter_root(self: &Arc<Self>, root: &NodeRef, unless: u32) -> bool {
        {
            let mut links = root.lock();
            if root.has(unless) {
                return false;
            }
            self.take_order(&mut links);
            self.stand_at(links.tasks.insert(self.clone()));
        }
        self.linked(root);
        true
    }

    /// The nearest group, this node or one above it.
    pub(crate) fn group(self: &Arc<Self>) -> Option<NodeRef> {
        let mut at = self.clone();
        while at.kind != Kind::Group {
            at = at.parent()?;
        }
        Some(at)
    }

    /// The topmost node above this one.
    pub(crate) fn top(self: &Arc<Self>) -> NodeRef {
        let mut at = self.clone();
        while let Some(parent) = at.parent() {
            at = parent;
        }
        at
    }
}
