//! How far a server has come, of connections or of packets: whether it takes more, and who is there.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_concurrency::sync::Event;
use bowline_concurrency::{CancelHandle, timeout};

use crate::drain::DrainReport;

/// A server, and under a lock the table `T` of those who are there.
///
/// Invariants:
/// 1. It has ended once it was stopped, nobody takes more and the table is empty, and not before.
/// 2. Under the lock no event is set; nor do others do more there than look and note.
pub(crate) struct Serving<T> {
    stopping: Event,
    ended: Event,
    table: Mutex<Table<T>>,
}

/// What is under the lock.
#[derive(Default)]
pub(crate) struct Table<T> {
    who: T,
    taking: bool,
    stopped: bool,
    /// What became of those that a drain found.
    pub(crate) report: DrainReport,
}

/// A table of those who are there.
pub(crate) trait Present {
    /// How many they are.
    fn count(&self) -> usize;
}

impl<T: Present> Table<T> {
    /// Nobody is to enter any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether this was the last to leave; then the server is to [`end`](Serving::end).
    pub(crate) fn has_ended(&self) -> bool {
        self.stopped && !self.is_on()
    }

    fn is_on(&self) -> bool {
        self.taking || self.who.count() > 0
    }
}

impl<T> Deref for Table<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.who
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.who
    }
}

impl<T: Present + Default> Default for Serving<T> {
    fn default() -> Self {
        Serving {
            stopping: Event::new(),
            ended: Event::new(),
            table: Mutex::default(),
        }
    }
}

impl<T: Present> Serving<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table<T>> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Set when no more is to be taken.
    pub(crate) fn stopping(&self) -> &Event {
        &self.stopping
    }

    /// For the time that somebody takes more; afterwards the server is stopped.
    pub(crate) fn begin_taking(&self) -> Taking<'_, T> {
        self.lock().taking = true;
        Taking(self)
    }

    pub(crate) fn stop(&self) {
        let mut table = self.lock();
        table.stopped = true;
        let ended = table.has_ended();
        drop(table);
        self.stopping.set();
        if ended {
            self.end();
        }
    }

    /// Tells all who wait for the end, which is there.
    pub(crate) fn end(&self) {
        self.ended.set();
    }

    /// How many are there.
    pub(crate) fn count(&self) -> usize {
        self.lock().count()
    }

    /// Whether somebody takes more, or is there.
    pub(crate) fn is_on(&self) -> bool {
        self.lock().is_on()
    }

    /// Waits for the end; those who are late are cancelled after `most`, and dropped `grace` later.
    pub(crate) async fn end_within(
        &self,
        most: Duration,
        scopes: impl FnOnce() -> Vec<CancelHandle>,
        grace: Duration,
    ) -> DrainReport {
        if timeout(most, self.ended.wait()).await.is_err() {
            for scope in scopes() {
                scope.shutdown(grace);
            }
            self.ended.wait().await;
        }
        self.report()
    }

    pub(crate) fn report(&self) -> DrainReport {
        self.lock().report
    }

    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_set()
    }
}

/// Somebody takes what comes.
pub(crate) struct Taking<'a, T: Present>(&'a Serving<T>);

impl<T: Present> Drop for Taking<'_, T> {
    fn drop(&mut self) {
        self.0.lock().taking = false;
        self.0.stop();
    }
}
