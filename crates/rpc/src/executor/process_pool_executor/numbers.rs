//! Which calls of its parent run in a child.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::note::Note;
use crate::executor::Job;
use crate::executor::async_executor::InTasks;
use crate::executor::places::{Begin, Place};

/// The numbers of the calls that run: each from its beginning until its function has returned, whoever
/// still waits for it.
#[derive(Clone, Default)]
pub(super) struct Numbers(Arc<Mutex<BTreeSet<u64>>>);

impl Numbers {
    pub(super) fn contain(&self, number: u64) -> bool {
        self.numbers().contains(&number)
    }

    fn enter(&self, job: &mut Job, place: &mut Place) {
        if let Some(note) = Note::read(job.metadata(Note::KEY)) {
            self.numbers().insert(note.number);
            place.hold(Runs(self.clone(), note.number));
            let call = note.call;
            job.is_of(note.caller(), call);
        }
    }

    fn numbers(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        // Nothing that can panic runs under the lock, so a poisoned set is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begin for Numbers {
    fn begin(&self, mut job: Job, mut place: Place) {
        self.enter(&mut job, &mut place);
        InTasks.begin(job, place);
    }

    fn begin_later(&self, mut job: Job, mut place: Place) {
        self.enter(&mut job, &mut place);
        InTasks.begin_later(job, place);
    }
}

/// A call that runs.
struct Runs(Numbers, u64);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.numbers().remove(&self.1);
    }
}
