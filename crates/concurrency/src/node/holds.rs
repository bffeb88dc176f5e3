//! Holds: what keeps the owners above from dropping their bodies; and masks, which end them.

use super::{HELD, HOLD, Kind, LOOSE, Links, MASK, Node, NodeRef, Payload, RESTING};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What of its holds a node shows to its parent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
    /// None.
    Apart,
    /// Its own alone, of whatever is behind it.
    Shields,
    /// Its own, and those below it.
    Holds,
    /// Those below it.
    Passes,
}

impl<P: ?Sized> Node<P> {
    /// From now on the owners above hold, while the node is linked.
    pub(crate) fn set_hold(&self) {
        self.set(HOLD);
    }

    /// Before the node is linked: hides outer cancels from it, and holds.
    pub(crate) fn set_mask(&self) {
        self.set(MASK);
    }

    /// Before the node is linked: hides outer cancels from it; for a body that is kept when the
    /// owners above are dropped.
    pub(crate) fn set_loose_mask(&self) {
        self.set(MASK | LOOSE);
    }

    /// Whether the owners above hold for this node, be there something below it or not.
    pub(crate) fn is_holder(&self) -> bool {
        self.has(HOLD) || (self.has(MASK) && !self.has(LOOSE))
    }

    /// True at the first call.
    pub(crate) fn first_held(&self) -> bool {
        !self.has(HELD) && self.flags.fetch_or(HELD, Ordering::AcqRel) & HELD == 0
    }

    /// What the node means to the owners above: for the task tree, which counts every hold.
    pub(crate) fn stance(&self) -> Stance {
        if matches!(self.kind, Kind::Task | Kind::Root) || self.has(RESTING) {
            Stance::Apart
        } else if self.has(MASK) && !self.has(LOOSE) {
            Stance::Shields
        } else if self.has(HOLD) {
            Stance::Holds
        } else {
            Stance::Passes
        }
    }

    /// What the parent has to count for this node: one, however much holds in it, so that what
    /// begins or ends below a hold changes nothing above. It stops at tasks: their group's own hold
    /// protects what lies above. The body of a root is never dropped.
    fn share(&self, links: &Links) -> isize {
        if links.parent.as_ref().is_none_or(|p| p.kind == Kind::Root) {
            return 0;
        }
        isize::from(match self.stance() {
            Stance::Apart => false,
            Stance::Shields | Stance::Holds => true,
            Stance::Passes => self.holds.load(Ordering::Relaxed) > 0,
        })
    }

    /// Brings `passed` up to date; answers by how much the parent's count changes.
    pub(super) fn share_changed(&self, links: &mut Links) -> isize {
        let share = self.share(links);
        share - std::mem::replace(&mut links.passed, share)
    }
}

impl Node<dyn Payload> {
    /// Hides outer cancels from the node and all below it, and holds the owners above.
    pub(crate) fn raise_mask(self: &Arc<Self>) {
        self.change_mask(|node| node.set(MASK));
    }

    /// Takes that back: an outer cancel arrives at once.
    pub(crate) fn lower_mask(self: &Arc<Self>) {
        self.change_mask(|node| node.clear(MASK));
    }

    /// Makes a loose mask one that holds.
    pub(crate) fn fasten_mask(self: &Arc<Self>) {
        self.change_mask(|node| node.clear(LOOSE));
    }

    /// For who stops to poll what is below the node: it passes no hold on until it is taken up.
    pub(crate) fn rest_holds(self: &Arc<Self>) {
        self.change_rest(|node| node.set(RESTING));
    }

    /// Takes that back, before what is below is polled again.
    pub(crate) fn take_up_holds(self: &Arc<Self>) {
        if self.has(RESTING) {
            self.change_rest(|node| node.clear(RESTING));
        }
    }

    fn change_rest(self: &Arc<Self>, change: impl FnOnce(&Self)) {
        let (parent, delta) = {
            let mut links = self.lock();
            change(self);
            (links.parent.clone(), self.share_changed(&mut links))
        };
        add_holds(parent, delta);
    }

    fn change_mask(self: &Arc<Self>, change: impl FnOnce(&Self)) {
        let (parent, delta) = {
            let mut links = self.lock();
            change(self);
            (links.parent.clone(), self.share_changed(&mut links))
        };
        super::note_change();
        // The hold comes before its reason can act, and goes after it.
        if delta > 0 {
            add_holds(parent, delta);
            self.refresh();
        } else {
            self.refresh();
            add_holds(parent, delta);
        }
    }
}

/// Adds to the count of `node` and passes on what that changes above. An owner that could now
/// drop its body is woken.
pub(super) fn add_holds(node: Option<NodeRef>, delta: isize) {
    let mut change = delta;
    let mut freed = Vec::new();
    let mut at = node;
    while let Some(node) = at.take().filter(|_| change != 0) {
        {
            let mut links = node.lock();
            let before = node.holds.load(Ordering::Relaxed);
            let after = before + change;
            node.holds.store(after, Ordering::Release);
            change = node.share_changed(&mut links);
            at = links.parent.clone();
            if before > 0 && after <= 0 && node.is_cancelled() {
                freed.extend(node.wakeup(&mut links));
            }
        }
    }
    super::cancel::wake_all(freed);
}
