//! Places for closures on other threads, and what a root knows of those that nobody waits for.

use crate::cause::{Cause, CauseKind};
use crate::node::NodeRef;
use crate::sync::CapacityLimiter;
use slab::Slab;
use std::borrow::Cow;
use std::fmt::Write;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places for threads, unless told otherwise.
pub(super) const PLACES: usize = 40;

/// Those of one root.
///
/// Invariant: `over` is set before the tasks in `visits` are cancelled, and none comes after: a
/// thread that nobody waits for cannot keep the root.
pub(crate) struct Threads {
    places: Arc<CapacityLimiter>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Threads that run and were abandoned.
    abandoned: Slab<Abandoned>,
    /// What such threads block on.
    visits: Slab<NodeRef>,
    over: bool,
}

struct Abandoned {
    name: Cow<'static, str>,
    location: &'static Location<'static>,
}

impl Threads {
    pub(super) fn new(places: usize) -> Threads {
        Threads {
            places: Arc::new(CapacityLimiter::new(places)),
            known: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limiter of calls that have none of their own.
    pub(crate) fn places(&self) -> Arc<CapacityLimiter> {
        self.places.clone()
    }

    /// Keeps the name of an abandoned thread until it ends.
    pub(crate) fn note_abandoned(&self, place: &NodeRef) -> usize {
        let (name, location) = (place.name().clone(), place.location);
        self.lock().abandoned.insert(Abandoned { name, location })
    }

    pub(crate) fn forget_abandoned(&self, key: usize) {
        let former = self.lock().abandoned.try_remove(key);
        drop(former);
    }

    /// Makes a task that an abandoned thread blocks on one of the root's own; not at its end.
    pub(crate) fn visit(&self, root: &NodeRef, task: &NodeRef) -> Option<usize> {
        let key = {
            let mut known = self.lock();
            if known.over {
                return None;
            }
            known.visits.insert(task.clone())
        };
        if task.link_task(root, |_| true).is_err() {
            self.end_visit(key);
            return None;
        }
        Some(key)
    }

    pub(crate) fn end_visit(&self, key: usize) {
        let former = self.lock().visits.try_remove(key);
        drop(former);
    }

    /// The root's body has ended: cancels what abandoned threads block on.
    pub(super) fn shut_down(&self) {
        let visits: Vec<NodeRef> = {
            let mut known = self.lock();
            known.over = true;
            known.visits.iter().map(|(_, task)| task.clone()).collect()
        };
        for task in visits {
            let (at, reason) = (task.location, Cow::Borrowed("the root has ended"));
            task.cancel(|| Cause::here(CauseKind::Shutdown, reason, at, &task));
        }
    }

    /// One line for each abandoned thread that has not ended.
    pub(super) fn name_abandoned(&self) -> String {
        let mut lines = String::new();
        for (_, thread) in &self.lock().abandoned {
            let Abandoned { name, location } = thread;
            let _ = writeln!(
                lines,
                "bowline: an abandoned thread \"{name}\" started at {location} still runs"
            );
        }
        lines
    }
}
