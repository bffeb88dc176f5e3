//! Where tasks get their numbers.

use crate::task_id::TaskId;
use bowline_backend::Backend;
use bowline_backend::task::realm_slot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The numbers given in this process outside of simulated worlds.
static OF_PROCESS: Given = Given::up_to(0);

/// What a root's tasks are numbered from.
///
/// Invariant: the roots that a task can be moved between, or meet at one limiter or lock, take from
/// one source: all of a process, or all of a simulated host, which has its own so that runs under
/// one seed are equal.
pub(super) enum Numbers {
    OfProcess,
    /// Known once the world turns.
    OfHost(OnceLock<Arc<Given>>),
}

/// The last number that was given.
pub(super) struct Given(AtomicU64);

impl Given {
    const fn up_to(last: u64) -> Given {
        Given(AtomicU64::new(last))
    }

    fn next(&self) -> TaskId {
        TaskId::new(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Of the simulated host that runs now.
    fn of_host() -> Arc<Given> {
        realm_slot(|| Given::up_to(0))
    }
}

impl Numbers {
    /// For a root on `backend`, and the number of its own task.
    pub(super) fn of_root(backend: Backend) -> (Numbers, TaskId) {
        if !backend.capabilities().virtual_time {
            return (Numbers::OfProcess, OF_PROCESS.next());
        }
        if !backend.is_running() {
            // The first in a world that is yet to be made for it.
            return (Numbers::OfHost(OnceLock::new()), TaskId::new(1));
        }
        let given = Given::of_host();
        let id = given.next();
        (Numbers::OfHost(OnceLock::from(given)), id)
    }

    /// For the root of what is below none, which has no task of its own.
    pub(super) fn of_process_root(backend: Backend) -> Numbers {
        match backend.capabilities().virtual_time {
            true => Numbers::OfHost(OnceLock::from(Given::of_host())),
            false => Numbers::OfProcess,
        }
    }

    /// The root of the task `own` is polled, so its world turns.
    pub(super) fn enter(&self, own: TaskId) {
        if let Numbers::OfHost(given) = self {
            given.get_or_init(|| {
                let given = Given::of_host();
                given.0.fetch_max(own.as_u64(), Ordering::Relaxed);
                given
            });
        }
    }

    #[inline]
    pub(super) fn next(&self) -> TaskId {
        match self {
            Numbers::OfProcess => OF_PROCESS.next(),
            // Not entered yet, it has given its own number alone.
            Numbers::OfHost(given) => given.get_or_init(|| Arc::new(Given::up_to(1))).next(),
        }
    }
}
