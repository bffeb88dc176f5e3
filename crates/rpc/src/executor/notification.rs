//! Calls that nobody waits for an answer of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::job::{CallRef, JobEnd, ReplySink};

/// Where the outcome of such a call goes: nowhere, but that `ends` sees it. Its place among those that have not
/// begun is given back when its handler starts, or when it is clear that it never will, which `give_back` is told.
pub(crate) struct Notification<F, E> {
    give_back: F,
    ends: E,
    given: AtomicBool,
}

impl<F: Fn(bool) + Send + Sync, E: Fn(&JobEnd) + Send + Sync> Notification<F, E> {
    pub(crate) fn new(give_back: F, ends: E) -> Arc<Self> {
        Arc::new(Self {
            give_back,
            ends,
            given: AtomicBool::new(false),
        })
    }

    fn begun_or(&self, dropped: bool) {
        if !self.given.swap(true, Ordering::Relaxed) {
            (self.give_back)(dropped);
        }
    }
}

impl<F: Fn(bool) + Send + Sync, E: Fn(&JobEnd) + Send + Sync> ReplySink for Notification<F, E> {
    fn begun(&self) {
        self.begun_or(false);
    }

    fn ends(&self, end: &JobEnd) {
        (self.ends)(end);
    }

    fn settle(&self, _: CallRef, _: JobEnd) {
        self.begun_or(true);
    }
}
