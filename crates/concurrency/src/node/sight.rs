//! What the task tree keeps and reads of a node.

use super::activity::Waiting;
use super::pulse::is_timed;
use super::{ADOPTED, CLOSED, DRAINING, FINALISING, Kind, Links, MEASURED, Node, NodeRef, Payload};
use bowline_backend::time::Instant;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A node's children at one moment.
pub(crate) struct Sight {
    /// In the order in which they came.
    pub(crate) children: Vec<NodeRef>,
    /// There are more.
    pub(crate) truncated: bool,
    /// How many tasks are among all of them.
    pub(crate) tasks: usize,
}

impl<P: Payload + ?Sized> Node<P> {
    pub(super) fn note_wake(&self) {
        if let Some(pulse) = self.payload.pulse() {
            pulse.note_wake();
        }
    }

    /// Keeps when a task or root began.
    pub(crate) fn note_born(&self, now: Instant) {
        if let Some(pulse) = self.payload.pulse() {
            pulse.note_born(now);
        }
    }

    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        let born = self.payload.pulse()?.born();
        (!born.is_never()).then(|| now.saturating_duration_since(born))
    }

    /// From now on polls are timed; the node was made at `now`.
    pub(crate) fn measure_from(&self, now: Instant) {
        self.note_born(now);
        self.set(MEASURED);
    }

    /// The clock of the body's poll or drop that begins, if that is to be timed.
    pub(crate) fn timed_since(&self) -> Option<Instant> {
        if !self.has(MEASURED) || !is_timed(self.activity.polls()) {
            return None;
        }
        self.backend().map(|backend| backend.now())
    }

    pub(crate) fn add_busy_since(&self, start: Instant) {
        if let (Some(backend), Some(pulse)) = (self.backend(), self.payload.pulse()) {
            pulse.add_busy(backend.now().saturating_duration_since(start));
        }
    }

    pub(crate) fn busy(&self) -> Duration {
        let pulse = self.payload.pulse();
        pulse.map_or(Duration::ZERO, |pulse| pulse.busy(self.polls()))
    }

    /// Zero for what is no task of its own.
    pub(crate) fn wakes(&self) -> u64 {
        self.payload.pulse().map_or(0, super::Pulse::wakes)
    }
}

impl<P: ?Sized> Node<P> {
    /// Takes the next place among those that the parent, whose links these are, was given.
    pub(super) fn take_order(&self, parent: &mut Links) {
        self.order.store(parent.linked, Ordering::Relaxed);
        parent.linked += 1;
    }

    /// Code of the body begins to run.
    #[inline]
    pub(crate) fn begin_poll(&self) {
        self.activity.begin_poll();
    }

    /// It waits. A node whose body ended in the poll leaves the tree or says that it is done.
    #[inline]
    pub(crate) fn end_poll(&self) {
        self.activity.end_poll();
    }

    /// What the code of the node waits for, until its next poll.
    pub(crate) fn wait_for(&self, what: Waiting) {
        self.activity.wait_for(what);
    }

    pub(crate) fn set_finalising(&self) {
        self.set(FINALISING);
        // The body that waited is gone.
        self.wait_for(Waiting::Nothing);
    }

    pub(crate) fn clear_finalising(&self) {
        self.clear(FINALISING);
    }

    pub(crate) fn polls(&self) -> u64 {
        self.activity.polls()
    }

    pub(crate) fn waiting_on(&self) -> Option<&'static str> {
        self.activity.waiting_on()
    }

    /// Whether code of the body runs now.
    pub(crate) fn is_running(&self) -> bool {
        self.activity.is_running()
    }

    pub(crate) fn is_finalising(&self) -> bool {
        self.has(FINALISING)
    }

    /// Whether the node is there for what is below it alone.
    pub(crate) fn is_body_over(&self) -> bool {
        let process = self.kind == Kind::Root && self.id.is_outside();
        process || self.has(DRAINING | ADOPTED | CLOSED)
    }

    pub(crate) fn holds(&self) -> usize {
        usize::try_from(self.holds.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// At most `most` children, under the node's lock alone.
    pub(crate) fn look(&self, most: usize) -> Sight {
        // A place kept for a child to come is none.
        let real = |node: &&NodeRef| node.kind != Kind::Task || !node.id.is_outside();
        let links = self.lock();
        let all = links.scopes.iter().chain(links.tasks.iter());
        let mut children: Vec<NodeRef> = all.filter(real).take(most + 1).cloned().collect();
        let tasks = links.tasks.iter().filter(real).count();
        drop(links);
        let truncated = children.len() > most;
        children.truncate(most);
        children.sort_by_key(|node| node.order.load(Ordering::Relaxed));
        Sight {
            children,
            truncated,
            tasks,
        }
    }
}
