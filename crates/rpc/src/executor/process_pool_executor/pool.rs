//! The children of one broker.

mod starting;
#[cfg(test)]
mod tests;

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
/// - W2 an entry that is `leaving` gets no lease any more, and its child is told to go with the last. Those that
///   are idle leave while more than `min_workers` are not leaving, and nobody waits for room.
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
    /// Since when it is on trial, unless it has answered a call, or has ended: since it was started.
    trial: Option<Instant>,
    idle_since: Instant,
}

impl Entry {
    /// One that was started at `began`, serves from `now` on and has no call yet.
    fn new(worker: Arc<Worker>, began: Instant, now: Instant) -> Self {
        Self {
            worker,
            calls: 0,
            taken: 0,
            leaving: false,
            trial: Some(began),
            idle_since: now,
        }
    }

    /// By the very [`Worker`]: another process may have the pid of one that was reaped, of which there are leases.
    fn is_of(&self, worker: &Worker) -> bool {
        std::ptr::eq(&*self.worker, worker)
    }
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
                    let text = "the children of the pool die before they answer a call; their standard error may say why";
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

    /// Whether the child has been idle for long enough; it is told to leave then.
    pub(super) fn retires(&self, worker: &Worker) -> bool {
        let retires = self.state().retires(worker, time::now(), &self.options);
        if retires {
            worker.leave.set();
        }
        retires
    }

    /// A lease is over; whether the child is to leave now.
    pub(super) fn give_back(&self, worker: &Worker) -> bool {
        let mut state = self.state();
        let now = time::now();
        if let Some(entry) = state.entry(worker) {
            entry.calls -= 1;
            entry.idle_since = now;
        }
        let leaves = state.retires(worker, now, &self.options);
        let wanted = state.wanting > 0;
        drop(state);
        if wanted {
            self.changed();
        }
        leaves
    }

    pub(super) fn remove(&self, worker: &Worker) {
        let mut state = self.state();
        let place = state.workers.iter().position(|entry| entry.is_of(worker));
        let removed = place.map(|place| state.workers.swap_remove(place));
        drop(state);
        drop(removed);
    }

    pub(super) fn no_more(&self, worker: &Worker) {
        if let Some(entry) = self.state().entry(worker) {
            entry.leaving = true;
        }
    }

    /// The child has answered a call.
    pub(super) fn answered(&self, worker: &Worker) {
        let mut state = self.state();
        let tried = state.entry(worker).and_then(|entry| entry.trial.take());
        let goes_on = tried.is_some() && state.respawn.answered(time::now());
        drop(state);
        if goes_on {
            self.changed();
        }
    }

    /// The child ends, and gets no call any more. One that does so by itself and has answered none may be followed
    /// by others that do the same.
    pub(super) fn ended(&self, worker: &Worker) {
        let mut state = self.state();
        let Some(entry) = state.entry(worker) else {
            return;
        };
        entry.leaving = true;
        if let Some(began) = entry.trial.take()
            && !worker.was_told()
        {
            state.respawn.died(began, time::now());
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

    fn entry(&mut self, worker: &Worker) -> Option<&mut Entry> {
        self.workers.iter_mut().find(|entry| entry.is_of(worker))
    }

    /// Whether the child has nothing to do, and is leaving or has been idle for long enough; it is leaving then.
    fn retires(&mut self, worker: &Worker, now: Instant, options: &Options) -> bool {
        let stay = self.workers.iter().filter(|entry| !entry.leaving).count();
        // Who waits for room is about to look at this one: it may have been started for them.
        let spare = stay > options.min_workers && self.wanting == 0;
        let Some(entry) = self.entry(worker) else {
            return false;
        };
        let idle = now.saturating_duration_since(entry.idle_since);
        let retires = entry.calls == 0 && (entry.leaving || spare && idle >= options.idle_retire);
        entry.leaving |= retires;
        retires
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
