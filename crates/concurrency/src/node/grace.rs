//! A cancel in two phases: noticed at once, in force when its grace is over.

use super::{HARD, MASK, Node, OWN, Payload, STARTED};
use crate::ambient;
use crate::cause::{Cause, clock_of};
use bowline_backend::time::Instant;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl<P: ?Sized> Node<P> {
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_nanos(self.grace.load(Ordering::Acquire))
    }

    /// Before the node is cancelled.
    pub(crate) fn set_grace(&self, grace: Duration) {
        let nanos = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        self.grace.store(nanos, Ordering::Release);
    }

    /// Whether the node itself was cancelled and has no grace left.
    pub(super) fn is_hard(&self) -> bool {
        self.has(HARD)
    }

    pub(super) fn hard_at(&self) -> Instant {
        Instant::from_nanos(self.hard_at.load(Ordering::Acquire))
    }

    /// For a node whose owner starts: lets the grace of an earlier cancel begin.
    pub(crate) fn start_grace(&self, clock: impl FnOnce() -> Instant) {
        if self.has(OWN) && !self.has(HARD) && self.hard_at().is_never() {
            let end = clock().saturating_add(self.grace());
            let _links = self.lock();
            self.hard_at.fetch_min(end.as_nanos(), Ordering::AcqRel);
        }
    }

    /// When something happens to the node by itself: its deadline, or the end of its grace.
    pub(crate) fn due(&self) -> Instant {
        if !self.has(OWN) {
            self.deadline()
        } else if self.has(HARD) {
            Instant::NEVER
        } else {
            self.hard_at()
        }
    }
}

impl Node<dyn Payload> {
    /// Cancels the node. A further call can only bring the end of the grace nearer.
    pub(crate) fn cancel_within(
        self: &Arc<Self>,
        grace: Duration,
        cause: impl FnOnce() -> Cause,
    ) -> bool {
        if self.is_hard() {
            return false;
        }
        let cause = (!self.cancel_called()).then(cause);
        // The first cancel has the time already.
        let now = match &cause {
            Some(cause) => cause.when(),
            None => clock_of(self),
        };
        let (first, waits) = {
            let links = self.lock();
            let first = !self.cancel_called();
            if let Some(cause) = cause.filter(|_| first) {
                let _ = self.cause.set(cause);
            }
            let started = links.parent.is_some() || self.has(STARTED);
            if grace.is_zero() {
                if !first {
                    self.hard_at.fetch_min(now.as_nanos(), Ordering::AcqRel);
                }
                self.set(OWN | HARD);
            } else {
                if started {
                    let end = now.saturating_add(grace);
                    self.hard_at.fetch_min(end.as_nanos(), Ordering::AcqRel);
                } else if first || grace < self.grace() {
                    self.set_grace(grace);
                }
                self.set(OWN);
            }
            (first, started && !grace.is_zero())
        };
        if first {
            super::note_change();
        }
        self.refresh();
        if waits {
            self.tell_host(self.hard_at());
        }
        first
    }

    /// The grace is over.
    pub(super) fn harden(self: &Arc<Self>) {
        {
            let _links = self.lock();
            self.set(HARD);
        }
        self.refresh();
    }

    /// Tells the node's task of a deadline, from anywhere.
    pub(super) fn tell_host(self: &Arc<Self>, deadline: Instant) {
        if deadline.is_never() {
            return;
        }
        let host = self.host();
        host.expect(self, deadline);
        // The running task arms its timer at the end of its poll.
        if !ambient::task().is_some_and(|task| Arc::ptr_eq(&task, &host)) {
            host.wake_owner();
        }
    }

    /// Since when leaves are frozen here.
    pub(crate) fn frozen_since(self: &Arc<Self>) -> Option<Instant> {
        let mut found: Option<Instant> = None;
        let mut at = Some(self.clone());
        while let Some(node) = at {
            if node.is_hard() {
                let since = match (node.hard_at(), node.own_cause()) {
                    (hard_at, Some(cause)) if hard_at.is_never() => cause.when(),
                    (hard_at, _) => hard_at,
                };
                found = Some(found.map_or(since, |found| found.min(since)));
            }
            if node.has(MASK) {
                break;
            }
            at = node.parent();
        }
        found
    }
}
