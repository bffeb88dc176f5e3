//! Cancelling a node, and who is told.

use super::{EFFECTIVE, HARD, MASK, NOTICED, Node, OWN, Payload, Wakeup};
use crate::caught::{guarded, keep_first};
use crate::cause::Cause;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::Waker;

impl<P: ?Sized> Node<P> {
    /// Registers a waker that the next cancel wakes, or says that it has come already.
    pub(crate) fn watch(&self, waker: &Waker, key: &mut Option<usize>) -> bool {
        let mut waker = Some(waker.clone());
        let mut links = self.lock();
        if self.is_noticed() {
            drop(links);
            return true;
        }
        let watchers = links.watchers.get_or_insert_default();
        match key.and_then(|key| watchers.get_mut(key)) {
            Some(place) => std::mem::swap(place, &mut waker),
            None => *key = Some(watchers.insert(waker.take())),
        }
        drop(links);
        false
    }

    pub(crate) fn unwatch(&self, key: usize) {
        let mut links = self.lock();
        let former = links.watchers.as_mut().and_then(|w| w.try_remove(key));
        drop(links);
        drop(former);
    }
}

impl Node<dyn Payload> {
    /// Cancels the node, with the grace it has. True if it was not before: the first cause stays.
    pub(crate) fn cancel(self: &Arc<Self>, cause: impl FnOnce() -> Cause) -> bool {
        self.cancel_within(self.grace(), cause)
    }

    /// Brings `EFFECTIVE` and `NOTICED` of this node and all below it up to date and wakes who is concerned.
    pub(crate) fn refresh(self: &Arc<Self>) {
        let mut stack = vec![self.clone()];
        let mut wakeups = Vec::new();
        while let Some(node) = stack.pop() {
            let mut links = node.lock();
            let from = |flag| {
                !node.has(MASK) && links.parent.as_ref().is_some_and(|parent| parent.has(flag))
            };
            let wanted = (
                from(EFFECTIVE) || node.has(HARD),
                from(NOTICED) || node.has(OWN),
            );
            let former = (node.has(EFFECTIVE), node.has(NOTICED));
            if wanted == former {
                continue;
            }
            for (flag, wanted) in [(EFFECTIVE, wanted.0), (NOTICED, wanted.1)] {
                if wanted {
                    node.set(flag);
                } else {
                    node.clear(flag);
                }
            }
            if wanted.0 != former.0 {
                wakeups.extend(node.wakeup(&mut links));
            }
            if let Some(watchers) = links.watchers.as_mut().filter(|_| wanted.1) {
                let woken = watchers.iter_mut().filter_map(|(_, waker)| waker.take());
                wakeups.extend(woken.map(Wakeup::Owner));
            }
            stack.extend(links.tasks.iter().cloned());
            stack.extend(links.scopes.iter().cloned());
        }
        wake_all(wakeups);
    }

    /// The cause of the outermost cancel visible from here.
    pub(crate) fn visible_cause(self: &Arc<Self>) -> Option<Cause> {
        let mut found = None;
        let mut at = Some(self.clone());
        while let Some(node) = at {
            // Read first: who takes a place out of the tree under running code cancels it before.
            let parent = node.parent();
            if node.has(OWN) {
                found = node.own_cause().or(found);
            }
            if node.has(MASK) {
                break;
            }
            at = parent;
        }
        found
    }
}

/// Wakes every one of them, also behind one that panics; the first panic goes on afterwards.
pub(crate) fn wake_all(wakeups: Vec<Wakeup>) {
    let mut first = None;
    for wakeup in wakeups {
        if let Err(panic) = guarded(|| wakeup.make()) {
            keep_first(&mut first, panic);
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}
