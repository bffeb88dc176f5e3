//! The children of one broker.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_backend::net::UnixStream;
use bowline_backend::time::{self, Instant};
use bowline_backend::{Backend, entropy};
use bowline_channel::{WatchReceiver, WatchSender, watch};
use bowline_concurrency::{Defer, TaskGroup, timeout_at};

use super::Options;
use super::backoff::Backoff;
use super::build::{build_id, methods_id, this_program};
use super::child::{Child, Socket};
use super::lease::{Lease, Worker, tend};
use super::relay::Relays;
use super::worker::{IDENTITY, Identity, between_processes};
use crate::executor::{AsyncExecutor, Attachment};
use crate::proto::Side;
use crate::{Broker, Caller, Error, ErrorKind, MethodTable, TcpBroker, brokers};

/// Calls of one child that are passed on at once, as many as it may make: an eighth of it at each level.
const RELAYED: usize = 1024;

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

#[derive(Default)]
struct State {
    workers: Vec<Entry>,
    /// Children that do not serve yet.
    starting: usize,
    /// Calls that wait for room.
    wanting: usize,
    backoff: Backoff,
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
            state: Mutex::default(),
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
        let mut wanting = None;
        loop {
            let (pause, starts) = {
                let mut state = self.state();
                if let Some(refuses) = state.refuses {
                    return Err(refuses.into());
                }
                if let Some(lease) = self.take(&mut state) {
                    return Ok(lease);
                }
                wanting.get_or_insert_with(|| Wanting::new(self, &mut state));
                let pause = state.backoff.until(time::now());
                if pause.is_some() && state.backoff.is_broken() {
                    let text = "the children of the pool die before they serve";
                    return Err(Error::new(ErrorKind::Transport, text));
                }
                // Invariant W3.
                let expected = match state.backoff.is_failing() {
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

    /// Starts a child that counts as starting.
    fn start(self: &Arc<Self>) {
        let starting = Starting {
            pool: self.clone(),
            ended: false,
        };
        // A closed group drops it; then the broker is over.
        drop(self.group.spawn_ok(async move {
            let started = starting.pool.start_one().await;
            starting.ended(started);
        }));
    }

    async fn start_one(&self) -> Result<(Worker, Defer<Child>), Error> {
        let until = time::now() + self.options.start_timeout;
        let failed = |error| Error::transport("no child was started", error);
        let ours: Identity = (
            this_program()
                .and_then(|program| build_id(&program))
                .map_err(failed)?,
            methods_id(&self.options.registry),
        );
        let (child, socket) = Child::start(&self.options).await.map_err(failed)?;
        let child = Defer::new(child, Child::kill);
        let late = |_| Error::new(ErrorKind::Transport, "the child did not serve in time");
        let served = timeout_at(until, self.meet(socket, ours)).await;
        match served.map_err(late).flatten() {
            Ok(broker) => Ok((Worker::new(broker, child.pid()), child)),
            Err(error) => {
                child.into_inner().kill().await;
                Err(error)
            }
        }
    }

    /// Asks a child who it is, over its socket.
    async fn meet(&self, socket: Socket, ours: Identity) -> Result<TcpBroker, Error> {
        let failed = |error| Error::transport("no child was started", error);
        let stream = UnixStream::from_std(socket).map_err(failed)?;
        let mut relays = Relays::new(self.origin, self.options.registry.project());
        let table = brokers::find(self.origin).map(|broker| broker.methods());
        let table = table.unwrap_or_else(|| MethodTable::fixed::<&str>([]));
        let executor = AsyncExecutor::new(relays.registry(&table), RELAYED);
        let broker = between_processes(TcpBroker::builder(executor))?
            .adopt(stream, Side::Dialer)
            .start(&self.group)
            .await?;
        drop(self.group.spawn_ok(relays.follow(table, broker.clone())));
        let broker = CloseOnDrop(Some(broker));
        let theirs = broker.get().call_named::<Identity>(IDENTITY, ());
        if theirs.fail_fast().await.map_err(Error::from)? == ours {
            Ok(broker.keep())
        } else {
            Err(Refuses::Mismatch.into())
        }
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
            state.backoff.lived(entry.since, time::now());
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
struct Wanting(Arc<Pool>);

impl Wanting {
    fn new(pool: &Arc<Pool>, state: &mut State) -> Self {
        state.wanting += 1;
        Self(pool.clone())
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        self.0.state().wanting -= 1;
    }
}

/// A child that counts as starting, until it serves or does not.
struct Starting {
    pool: Arc<Pool>,
    ended: bool,
}

impl Starting {
    fn ended(mut self, started: Result<(Worker, Defer<Child>), Error>) {
        self.ended = true;
        let pool = self.pool.clone();
        let now = time::now();
        let mut state = pool.state();
        let served = match started {
            Ok((worker, child)) => {
                let worker = Arc::new(worker);
                state.backoff.served();
                state.workers.push(Entry {
                    worker: worker.clone(),
                    calls: 0,
                    taken: 0,
                    leaving: false,
                    since: now,
                    idle_since: now,
                });
                Some((worker, child))
            }
            Err(error) => {
                if error.kind() == ErrorKind::WorkerMismatch {
                    state.refuses = Some(Refuses::Mismatch);
                }
                let State {
                    workers, backoff, ..
                } = &mut *state;
                for entry in workers {
                    backoff.lived(entry.since, now);
                }
                backoff.failed(now, pool.options.first_pause, full_jitter);
                None
            }
        };
        drop(state);
        if let Some((worker, child)) = served {
            drop(pool.group.spawn_ok(tend(pool.clone(), worker, child)));
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.starting -= 1;
        if !self.ended {
            state.refuses.get_or_insert(Refuses::Over);
        }
        drop(state);
        self.pool.changed();
    }
}

/// A broker to a child that is not known to fit yet.
struct CloseOnDrop(Option<TcpBroker>);

impl CloseOnDrop {
    fn get(&self) -> &TcpBroker {
        self.0.as_ref().expect("it is kept last")
    }

    fn keep(mut self) -> TcpBroker {
        self.0.take().expect("it is kept once")
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(broker) = &self.0 {
            broker.close();
        }
    }
}

fn full_jitter(longest: Duration) -> Duration {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(entropy::random_u64() % nanos.saturating_add(1).max(1))
}
