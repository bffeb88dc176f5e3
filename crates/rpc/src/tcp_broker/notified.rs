//! Notifications of peers that have not begun: the window of a connection bounds them while it is up, and the
//! broker those that outlive theirs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::executor::JobHandle;
use crate::proto::CallId;

/// Notifications that have not begun, of all connections that are over.
pub(super) struct LeftBehind {
    most: usize,
    now: AtomicUsize,
}

impl LeftBehind {
    /// At most `most` at once.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            now: AtomicUsize::new(0),
        })
    }

    /// Room for some of `wanted` more: for how many.
    fn take(&self, wanted: usize) -> usize {
        let more = |now: usize| Some(now + wanted.min(self.most.saturating_sub(now)));
        let now = self
            .now
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let now = now.unwrap_or(self.most);
        wanted.min(self.most.saturating_sub(now))
    }

    fn give_back(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The notifications of one connection that have not begun.
///
/// Invariants:
/// - N1 `waiting` has a notification from its arrival until it begins, or never will.
/// - N2 once the connection is `over`, each of them has a place in `left`: the others were dropped.
pub(super) struct Notified {
    left: Arc<LeftBehind>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<CallId, Option<JobHandle>>,
    over: bool,
}

impl Notified {
    pub(super) fn new(left: &Arc<LeftBehind>) -> Arc<Self> {
        Arc::new(Self {
            left: left.clone(),
            state: Mutex::default(),
        })
    }

    /// One has come.
    pub(super) fn came(&self, call: CallId) {
        let mut state = self.state();
        if !state.over {
            state.waiting.insert(call, None);
        }
    }

    /// An executor has it, as `job`; it may have begun by now.
    pub(super) fn given(&self, call: CallId, job: JobHandle) {
        if let Some(waits) = self.state().waiting.get_mut(&call) {
            *waits = Some(job);
        }
    }

    /// It begins, or never will.
    pub(super) fn done(&self, call: CallId) {
        let mut state = self.state();
        let job = state.waiting.remove(&call);
        let left = state.over && job.is_some();
        drop(state);
        if left {
            self.left.give_back();
        }
    }

    /// The connection is over: the first ones stay, as many as there is room for. How many were dropped;
    /// again is fine.
    pub(super) fn end(&self) -> u64 {
        let mut state = self.state();
        if std::mem::replace(&mut state.over, true) {
            return 0;
        }
        let stay = self.left.take(state.waiting.len());
        let first = state.waiting.keys().nth(stay).copied();
        let rest = first.map(|first| state.waiting.split_off(&first));
        drop(state);
        let rest = rest.into_iter().flat_map(BTreeMap::into_values).flatten();
        rest.filter(JobHandle::withdraw).count() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
