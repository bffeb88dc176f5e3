//! Deadlines: written at any node of a task, watched at its outermost one.

use super::{MASK, Node, NodeRef, Payload};
use crate::cause::Cause;
use bowline_backend::time::Instant;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<P: ?Sized> Node<P> {
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
}

impl Node<dyn Payload> {
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
