//! Holds: what keeps the owners above from dropping their bodies.

use super::{Kind, MASK, Node, NodeRef, Payload};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Node<dyn Payload> {
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
}
