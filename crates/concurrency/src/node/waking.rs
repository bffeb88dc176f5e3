//! How an owner is woken: by the waker of its last poll or, a task, by that of its pulse.

use super::{Links, Node, NodeRef, Payload, Pulse};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

/// Whom to wake, once no lock is held.
pub(crate) enum Wakeup {
    /// The owner, by the waker of its last poll.
    Owner(Waker),
    /// A task, by the waker that its pulse has.
    Task(NodeRef),
}

impl Wakeup {
    pub(crate) fn make(self) {
        match self {
            Wakeup::Owner(waker) => waker.wake(),
            Wakeup::Task(node) => node.wake_task(),
        }
    }
}

impl<P: ?Sized> Node<P> {
    /// True if somebody wanted to wake the owner since it was polled last.
    pub(crate) fn store_waker(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let (former, missed) = {
            let mut links = self.lock();
            self.armed.store(true, Ordering::Release);
            let missed = std::mem::take(&mut links.missed);
            (links.waker.replace(waker), missed)
        };
        drop(former);
        missed
    }

    /// Whether nobody has taken the owner's waker since it was stored.
    pub(crate) fn has_waker(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    /// Gives up the waker, which may own the node: of an owner that has ended, or has another one.
    pub(crate) fn forget_waker(&self) {
        if self.has_waker() {
            let waker = self.take_stored(&mut self.lock());
            drop(waker);
        }
    }

    fn take_stored(&self, links: &mut Links) -> Option<Waker> {
        let waker = links.waker.take()?;
        self.armed.store(false, Ordering::Release);
        Some(waker)
    }
}

impl<P: Payload + ?Sized> Node<P> {
    pub(crate) fn wake_owner(&self) {
        let waker = self.take_to_wake(&mut self.lock());
        match waker {
            Some(waker) => {
                self.note_wake();
                waker.wake();
            }
            None => self.wake_task(),
        }
    }

    /// The stored waker, or a note that there was none.
    pub(super) fn take_to_wake(&self, links: &mut Links) -> Option<Waker> {
        let waker = self.take_stored(links);
        links.missed |= waker.is_none();
        waker
    }

    fn wake_task(&self) {
        if let Some(pulse) = self.payload.pulse() {
            pulse.wake();
        }
    }
}

impl Node<dyn Payload> {
    /// How the owner is woken, if it waits; for who holds the lock.
    pub(super) fn wakeup(self: &Arc<Self>, links: &mut Links) -> Option<Wakeup> {
        if let Some(waker) = self.take_to_wake(links) {
            self.note_wake();
            return Some(Wakeup::Owner(waker));
        }
        self.is_woken_as_task().then(|| Wakeup::Task(self.clone()))
    }

    /// Whether it is a task whose runtime's waker is known.
    pub(super) fn is_woken_as_task(&self) -> bool {
        self.payload.pulse().is_some_and(Pulse::is_polled)
    }
}
