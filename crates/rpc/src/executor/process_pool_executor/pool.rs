//! The children of one broker.

mod starting;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_backend::Backend;
use bowline_backend::time::{self, Instant};
use bowline_channel::{WatchReceiver, WatchSender, watch};
use bowline_concurrency::{TaskGroup, timeout_at};

use super::Options;
use super::lease::{Lease, Worker};
use super::respawn::Respawn;
use super::worker::check_entered;
use crate::executor::Attachment;
use crate::{Error, ErrorKind};

/// The children of one broker.
///
/// A child is started in a task of the broker's, whoever asked for it: a caller that cannot wait until
/// it serves leaves it to the next.
///
/// Invariants:
/// - W1 an entry stands in `workers` from the moment its child serves until it is reaped; `calls` of it
///   is the number of its [`Lease`]s, at most `calls_per_worker`.
/// - W2 an entry that is `leaving` gets no lease any more, and its child is told to go with the last.
/// - W3 a child is started only where more calls wait than those that start have room for, and one by
///   one where the last has failed. So beside those that leave there are no more children than the
///   places of the executor need.
/// - W4 who waits for room looks again after each of `changes`: a child serves or failed, or room was
///   given back.
pub(super) struct Pool {
    options: Arc<Options>,
    /// The number of the broker.
    origin: u64,
    group: TaskGroup<Infallible>,
    state: Mutex<State>,
    changes: (WatchSender<()>, WatchReceiver<()>),
}

struct State {
    workers: Vec<Entry>,
    /// Children that do not serve yet.
    starting: usize,
    /// Calls that wait for room.
    wanting: usize,
    respawn: Respawn,
    /// There is no use in starting more.
    refuses: Option<Refuses>,
}

/// Why no child is started any more.
#[derive(Clone, Copy)]
enum Refuses {
    /// They are of another build.
    Mismatch,
    /// The broker has ended.
    Over,
}

struct Entry {
    worker: Arc<Worker>,
    calls: usize,
    taken: u64,
    leaving: bool,
    since: Instant,
    idle_since: Instant,
}

impl Pool {
    /// That of the broker with this attachment.
    pub(super) fn of(attachment: &Attachment, options: &Arc<Options>) -> Arc<Self> {
        attachment.own(|| Self {
            options: options.clone(),
            origin: attachment.origin(),
            group: attachment.group().clone(),
            state: Mutex::new(State::new(options)),
            changes: watch(()),
        })
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Starts the first child, to see whether it fits.
    pub(super) async fn prepare(self: &Arc<Self>) -> Result<(), Error> {
        if Backend::current().is_ok_and(|backend| backend.name() == "sim") {
            let text = "a simulated world has no child processes";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        check_entered()?;
        let mut changes = self.changes.0.subscribe();
        self.state().starting += 1;
        self.start();
        loop {
            let (refuses, starting) = {
                let state = self.state();
                (state.refuses, state.starting)
            };
            match refuses {
                Some(refuses) => return Err(refuses.into()),
                // If it failed, calls find out whether that lasts.
                None if starting == 0 => return Ok(()),
                None => drop(changes.changed().await),
            }
        }
    }

    /// Room for one call in a child, which is started if need be.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        let mut changes = self.changes.0.subscribe();
        let mut wanting: Option<Wanting> = None;
        loop {
            let (pause, starts) = {
                let mut state = self.state();
                if let Some(refuses) = state.refuses {
                    return Err(refuses.into());
                }
                if let Some(lease) = self.take(&mut state) {
                    // At once: one who looks next would count this call twice.
                    if let Some(wanting) = wanting.take() {
                        wanting.end(&mut state);
                    }
                    return Ok(lease);
                }
                wanting.get_or_insert_with(|| Wanting::new(self, &mut state));
                let pause = state.respawn.until(time::now());
                if pause.is_some() && state.respawn.is_broken() {
                    let text = "the children of the pool die before they serve; their standard error may say why";
                    return Err(Error::new(ErrorKind::Transport, text));
                }
                // Invariant W3.
                let expected = match state.respawn.is_failing() {
                    true if state.starting > 0 => usize::MAX,
                    _ => state.starting * self.options.calls_per_worker,
                };
                let starts = pause.is_none() && state.wanting > expected;
                state.starting += usize::from(starts);
                (pause, starts)
            };
            if starts {
                self.start();
            }
            let changed = changes.changed();
            match pause {
                Some(until) => drop(timeout_at(until, changed).await),
                None => drop(changed.await),
            }
        }
    }

    fn take(self: &Arc<Self>, state: &mut State) -> Option<Lease> {
        let most = self.options.calls_per_worker;
        let room = |entry: &&mut Entry| !entry.leaving && entry.calls < most;
        let entry = state.workers.iter_mut().find(room)?;
        entry.calls += 1;
        entry.taken += 1;
        let most = self.options.max_tasks_per_child.unwrap_or(u64::MAX);
        entry.leaving |= entry.taken >= most;
        Some(Lease::new(self.clone(), entry.worker.clone(), entry.taken))
    }

    /// Whether the child has been idle for long enough; it is leaving then.
    pub(super) fn retires(&self, pid: u32) -> bool {
        let mut state = self.state();
        let more = state.workers.len() > self.options.min_workers;
        let Some(entry) = state.entry(pid) else {
            return false;
        };
        let idle = time::now().saturating_duration_since(entry.idle_since);
        let retires = more && entry.calls == 0 && idle >= self.options.idle_retire;
        entry.leaving |= retires;
        retires
    }

    /// A lease is over; whether the child is to leave now.
    pub(super) fn give_back(&self, pid: u32) -> bool {
        let mut state = self.state();
        let leaves = state.entry(pid).is_some_and(|entry| {
            entry.calls -= 1;
            entry.idle_since = time::now();
            entry.leaving && entry.calls == 0
        });
        let wanted = state.wanting > 0;
        drop(state);
        if wanted {
            self.changed();
        }
        leaves
    }

    pub(super) fn remove(&self, pid: u32) {
        let mut state = self.state();
        let place = state
            .workers
            .iter()
            .position(|entry| entry.worker.pid == pid);
        let removed = place.map(|place| state.workers.swap_remove(place));
        if let Some(entry) = &removed {
            state.respawn.lived(entry.since, time::now());
        }
        drop(state);
        drop(removed);
    }

    pub(super) fn no_more(&self, pid: u32) {
        if let Some(entry) = self.state().entry(pid) {
            entry.leaving = true;
        }
    }

    fn changed(&self) {
        // There is a receiver: ours.
        let _ = self.changes.0.send(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(options: &Options) -> Self {
        Self {
            workers: Vec::new(),
            starting: 0,
            wanting: 0,
            respawn: Respawn::new(options.first_pause),
            refuses: None,
        }
    }

    fn entry(&mut self, pid: u32) -> Option<&mut Entry> {
        let is_it = |entry: &&mut Entry| entry.worker.pid == pid;
        self.workers.iter_mut().find(is_it)
    }
}

impl From<Refuses> for Error {
    fn from(refuses: Refuses) -> Self {
        match refuses {
            Refuses::Mismatch => Error::new(
                ErrorKind::WorkerMismatch,
                "the child is of another build or has other methods than this program",
            ),
            Refuses::Over => Error::cancelled(),
        }
    }
}

/// A call that waits for room.
struct Wanting(Option<Arc<Pool>>);

impl Wanting {
    fn new(pool: &Arc<Pool>, state: &mut State) -> Self {
        state.wanting += 1;
        Self(Some(pool.clone()))
    }

    /// It has room, or waits no longer.
    fn end(mut self, state: &mut State) {
        state.wanting -= 1;
        self.0 = None;
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.state().wanting -= 1;
        }
    }
}
