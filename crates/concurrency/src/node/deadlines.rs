//! Deadlines: written at any node of a task, watched at its outermost one.

use super::{Kind, MASK, Node, NodeRef, Payload, RESCHEDULED, STARTED};
use crate::cause::{Cause, clock_of};
use bowline_backend::time::Instant;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<P: ?Sized> Node<P> {
    /// The node's own deadline.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::from_nanos(self.deadline.load(Ordering::Acquire))
    }

    /// Sets the deadline that the owner was made with, unless somebody set another.
    pub(crate) fn start_deadline(&self, deadline: Instant) {
        let _links = self.lock();
        self.set(STARTED);
        if !self.is_rescheduled() {
            self.deadline.store(deadline.as_nanos(), Ordering::Release);
        }
    }

    /// Of a node that has started and stands below nothing: a deadline set from now on is to be told.
    pub(crate) fn note_started(&self) {
        let _links = self.lock();
        self.set(STARTED);
    }

    /// As [`start_deadline`](Node::start_deadline), of a node that nobody else has yet, below a
    /// parent.
    pub(crate) fn begin_deadline(&self, deadline: Instant) {
        self.deadline.store(deadline.as_nanos(), Ordering::Release);
    }

    pub(crate) fn is_rescheduled(&self) -> bool {
        self.has(RESCHEDULED)
    }

    /// Tells the outermost node of a task that one of its nodes has this deadline, from anywhere.
    pub(crate) fn expect_deadline(&self, deadline: Instant) {
        self.soonest
            .fetch_min(deadline.as_nanos(), Ordering::AcqRel);
    }

    pub(crate) fn soonest(&self) -> Instant {
        Instant::from_nanos(self.soonest.load(Ordering::Acquire))
    }
}

impl Node<dyn Payload> {
    /// Gives the node another deadline, from anywhere.
    pub(crate) fn reschedule(self: &Arc<Self>, deadline: Instant) {
        let linked = {
            let links = self.lock();
            self.set(RESCHEDULED);
            self.deadline.store(deadline.as_nanos(), Ordering::Release);
            links.parent.is_some() || self.has(STARTED)
        };
        if deadline.is_never() || !linked {
            // An owner that is not in the tree yet brings the deadline with it.
            return;
        }
        let now = clock_of(self);
        if deadline <= now {
            self.cancel(|| Cause::deadline(self, now));
            return;
        }
        self.tell_host(deadline);
    }

    /// The outermost node of the task that the node belongs to.
    pub(crate) fn host(self: &Arc<Self>) -> NodeRef {
        let mut at = self.clone();
        while !matches!(at.kind, Kind::Task | Kind::Root) {
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        at
    }

    /// The smallest deadline of this node and its ancestors up to the first mask.
    pub(crate) fn effective_deadline(self: &Arc<Self>) -> Instant {
        let above = |node: &Node<dyn Payload>| match node.has(MASK) {
            true => None,
            false => node.parent(),
        };
        let mut found = self.due();
        let mut next = above(self);
        while let Some(node) = next {
            found = found.min(node.due());
            next = above(&node);
        }
        found
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
        for node in self.take_due(now) {
            if node.cancel_called() {
                node.harden();
            } else {
                node.cancel(|| Cause::deadline(&node, now));
            }
        }
    }
}
