//! Calls that nobody waits for an answer of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::job::{CallRef, JobEnd, ReplySink};

/// Where the outcome of such a call goes: nowhere. Its place among those that have not begun is given back
/// when its handler starts, or when it is clear that it never will, which `give_back` is told.
pub(crate) struct Notification<F> {
    give_back: F,
    given: AtomicBool,
}

impl<F: Fn(bool) + Send + Sync> Notification<F> {
    pub(crate) fn new(give_back: F) -> Arc<Self> {
        Arc::new(Self {
            give_back,
            given: AtomicBool::new(false),
        })
    }

    fn begun_or(&self, dropped: bool) {
        if !self.given.swap(true, Ordering::Relaxed) {
            (self.give_back)(dropped);
        }
    }
}

impl<F: Fn(bool) + Send + Sync> ReplySink for Notification<F> {
    fn begun(&self) {
        self.begun_or(false);
    }

    fn settle(&self, _: CallRef, _: JobEnd) {
        self.begun_or(true);
    }
}
