//! Cancelling a node, and who is told.

use super::{EFFECTIVE, HARD, MASK, NOTICED, Node, OWN, Payload, Wakeup};
use crate::caught::{guarded, keep_first};
use crate::cause::Cause;
use crate::per_thread::per_thread;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

/// How often, in this process, a node was cancelled, masked or moved.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// To be called behind whatever may change the cause that is seen from other nodes.
pub(crate) fn note_change() {
    CHANGES.fetch_add(1, Ordering::SeqCst);
}

per_thread! {
    /// The last cause that somebody looked for on this thread. Scopes that stand in each other are
    /// cut one after the other, the innermost first: with this the way up is gone once for all.
    static FOUND: RefCell<Option<Found>> = RefCell::new(None);
}

/// Invariant: while nothing has changed since `changes`, the cause is what `parent` sees.
struct Found {
    parent: Weak<Node<dyn Payload>>,
    cause: Cause,
    changes: u64,
}

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
            let bits = |(effective, noticed): (bool, bool)| {
                (u32::from(effective) * EFFECTIVE) | (u32::from(noticed) * NOTICED)
            };
            let (wanted_bits, former_bits) = (bits(wanted), bits(former));
            // One step for both flags, as most nodes go from neither to both.
            if wanted_bits & !former_bits != 0 {
                node.set(wanted_bits & !former_bits);
            }
            if former_bits & !wanted_bits != 0 {
                node.clear(former_bits & !wanted_bits);
            }
            let mut wakes_task = false;
            if wanted.0 != former.0 {
                match node.take_to_wake(&mut links) {
                    Some(waker) => {
                        node.note_wake();
                        wakeups.push(Wakeup::Owner(waker));
                    }
                    None => wakes_task = node.is_woken_as_task(),
                }
            }
            if let Some(watchers) = links.watchers.as_mut().filter(|_| wanted.1) {
                let woken = watchers.iter_mut().filter_map(|(_, waker)| waker.take());
                wakeups.extend(woken.map(Wakeup::Owner));
            }
            stack.extend(links.tasks.iter().cloned());
            stack.extend(links.scopes.iter().cloned());
            drop(links);
            if wakes_task {
                wakeups.push(Wakeup::Task(node));
            }
        }
        wake_all(wakeups);
    }

    /// The cause of the outermost cancel visible from here.
    pub(crate) fn visible_cause(self: &Arc<Self>) -> Option<Cause> {
        let changes = CHANGES.load(Ordering::SeqCst);
        if let Some(cause) = self.found_below(changes) {
            self.keep_for_parent(&cause, changes);
            return Some(cause);
        }
        let cause = self.find_cause()?;
        self.keep_for_parent(&cause, changes);
        Some(cause)
    }

    /// The cause, if it was looked for last from a node right below this one.
    fn found_below(self: &Arc<Self>, changes: u64) -> Option<Cause> {
        let of_this = |found: &Found| {
            found.changes == changes && std::ptr::addr_eq(found.parent.as_ptr(), Arc::as_ptr(self))
        };
        let cause = FOUND.try_with(|found| {
            let found = found.borrow();
            found
                .as_ref()
                .filter(|f| of_this(f))
                .map(|f| f.cause.clone())
        });
        cause.ok().flatten()
    }

    fn keep_for_parent(self: &Arc<Self>, cause: &Cause, changes: u64) {
        let is_own = self.cause.get().is_some_and(|own| own.is(cause));
        let parent = self.parent().filter(|_| !is_own && !self.has(MASK));
        let found = parent.map(|parent| Found {
            parent: Arc::downgrade(&parent),
            cause: cause.clone(),
            changes,
        });
        let former = FOUND.try_with(|place| place.replace(found));
        drop(former);
    }

    fn find_cause(self: &Arc<Self>) -> Option<Cause> {
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
