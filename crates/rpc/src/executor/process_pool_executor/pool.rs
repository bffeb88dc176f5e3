//! The children of one broker.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::net::UnixStream;
use bowline_backend::time::{self, Instant};
use bowline_backend::{Backend, entropy};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{TaskGroup, sleep_until, timeout};

use super::Options;
use super::build::{build_id, methods_id, this_program};
use super::child::{Child, in_words};
use super::worker::{IDENTITY, Identity};
use crate::executor::Attachment;
use crate::proto::Side;
use crate::{Broker, Caller, Error, ErrorKind, TcpBroker};

/// Children in a row that die before they serve, after which calls are refused at once while the pool
/// pauses.
const BROKEN: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks whether a child has ended, or has been idle for long enough, at most.
const LOOK: Duration = Duration::from_secs(1);
/// What a child gets to end by itself once its socket has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// The children of one broker.
///
/// Invariants:
/// - W1 an entry stands in `workers` from the moment its child serves until it is reaped; `calls` of it
///   is the number of its [`Lease`]s, at most `calls_per_worker`.
/// - W2 an entry that is `leaving` gets no lease any more, and its child is told to go with the last.
/// - W3 children there are at most as many as leases and idle ones; leases are bounded by the places
///   of the executor.
pub(super) struct Pool {
    options: Arc<Options>,
    group: TaskGroup<Infallible>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    workers: Vec<Entry>,
    /// Children in a row that died before they served.
    failures: u32,
    /// No child is started before.
    retry_at: Option<Instant>,
    /// Children of another build: there is no use in starting more.
    mismatch: Option<&'static str>,
}

struct Entry {
    worker: Arc<Worker>,
    calls: usize,
    taken: u64,
    leaving: bool,
    idle_since: Instant,
}

/// A child that serves.
pub(super) struct Worker {
    pub(super) broker: TcpBroker,
    pid: u32,
    /// It is to end when it has nothing to do: now.
    leave: Event,
    /// It is to end whatever it does.
    kill: Event,
    /// It has been reaped, and `status` is set.
    over: Event,
    status: OnceLock<Option<ExitStatus>>,
}

impl Pool {
    /// That of the broker with this attachment.
    pub(super) fn of(attachment: &Attachment, options: &Arc<Options>) -> Arc<Self> {
        attachment.own(|| Self {
            options: options.clone(),
            group: attachment.group().clone(),
            state: Mutex::default(),
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
        match self.start().await {
            Err(error) if error.kind() == ErrorKind::WorkerMismatch => Err(error),
            Ok(lease) => {
                lease.unused();
                Ok(())
            }
            // Calls find out whether it lasts.
            Err(_) => Ok(()),
        }
    }

    /// Room for one call in a child, which is started if need be.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        loop {
            let pause = {
                let mut state = self.state();
                if let Some(mismatch) = state.mismatch {
                    return Err(Error::new(ErrorKind::WorkerMismatch, mismatch));
                }
                if let Some(entry) = self.with_room(&mut state) {
                    return Ok(Lease::new(self, entry));
                }
                let pause = state.retry_at.filter(|until| *until > time::now());
                if pause.is_some() && state.failures >= BROKEN {
                    let text = "the children of the pool die before they serve";
                    return Err(Error::new(ErrorKind::Transport, text));
                }
                pause
            };
            match pause {
                Some(until) => sleep_until(until).await,
                None => {
                    if let Ok(lease) = self.start().await {
                        return Ok(lease);
                    }
                }
            }
        }
    }

    fn with_room<'a>(&self, state: &'a mut State) -> Option<&'a mut Entry> {
        let most = self.options.calls_per_worker;
        let room = |entry: &&mut Entry| !entry.leaving && entry.calls < most;
        state.workers.iter_mut().find(room)
    }

    /// Starts a child, with a lease of it.
    async fn start(self: &Arc<Self>) -> Result<Lease, Error> {
        let started = timeout(self.options.start_timeout, self.start_one()).await;
        let late = |_| Error::new(ErrorKind::Transport, "the child did not serve in time");
        let started = started.map_err(late).flatten();
        let mut state = self.state();
        match started {
            Ok((worker, child)) => {
                (state.failures, state.retry_at) = (0, None);
                state.workers.push(Entry {
                    worker: worker.clone(),
                    calls: 0,
                    taken: 0,
                    leaving: false,
                    idle_since: time::now(),
                });
                let entry = state.workers.last_mut().expect("it was pushed");
                let lease = Lease::new(self, entry);
                drop(state);
                drop(self.group.spawn_ok(tend(self.clone(), worker, child)));
                Ok(lease)
            }
            Err(error) => {
                if error.kind() == ErrorKind::WorkerMismatch {
                    state.mismatch = Some(MISMATCH);
                }
                let doubled = 1_u32 << state.failures.min(16);
                state.failures = state.failures.saturating_add(1);
                let longest = self.options.first_pause.saturating_mul(doubled);
                state.retry_at = Some(time::now() + full_jitter(longest.min(LONGEST_PAUSE)));
                Err(error)
            }
        }
    }

    async fn start_one(&self) -> Result<(Arc<Worker>, Child), Error> {
        let failed = |error| Error::transport("no child was started", error);
        let ours: Identity = (
            this_program()
                .and_then(|program| build_id(&program))
                .map_err(failed)?,
            methods_id(&self.options.registry),
        );
        let (child, socket) = Child::start(&self.options).await.map_err(failed)?;
        let stream = UnixStream::from_std(socket).map_err(failed)?;
        let broker = TcpBroker::caller()
            .project(self.options.registry.project())
            .adopt(stream, Side::Dialer)
            .start(&self.group)
            .await?;
        let broker = CloseOnDrop(Some(broker));
        let theirs = broker.get().call_named::<Identity>(IDENTITY, ());
        let theirs = theirs.fail_fast().await.map_err(Error::from)?;
        if theirs != ours {
            return Err(Error::new(ErrorKind::WorkerMismatch, MISMATCH));
        }
        let worker = Worker {
            broker: broker.keep(),
            pid: child.pid(),
            leave: Event::new(),
            kill: Event::new(),
            over: Event::new(),
            status: OnceLock::new(),
        };
        Ok((Arc::new(worker), child))
    }

    /// Whether the child has been idle for long enough; it is leaving then.
    fn retires(&self, pid: u32) -> bool {
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

    fn remove(&self, pid: u32) {
        let mut state = self.state();
        let place = state
            .workers
            .iter()
            .position(|entry| entry.worker.pid == pid);
        let removed = place.map(|place| state.workers.swap_remove(place));
        drop(state);
        drop(removed);
    }

    fn no_more(&self, pid: u32) {
        if let Some(entry) = self.state().entry(pid) {
            entry.leaving = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MISMATCH: &str = "the child is of another build or has other methods than this program";

impl State {
    fn entry(&mut self, pid: u32) -> Option<&mut Entry> {
        let is_it = |entry: &&mut Entry| entry.worker.pid == pid;
        self.workers.iter_mut().find(is_it)
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

/// Room for one call in a child; given back by dropping it.
pub(super) struct Lease {
    pool: Arc<Pool>,
    pub(super) worker: Arc<Worker>,
    /// Which call of the child it is for.
    pub(super) number: u64,
}

impl Lease {
    fn new(pool: &Arc<Pool>, entry: &mut Entry) -> Self {
        entry.calls += 1;
        entry.taken += 1;
        let most = pool.options.max_tasks_per_child.unwrap_or(u64::MAX);
        entry.leaving |= entry.taken >= most;
        Self {
            pool: pool.clone(),
            worker: entry.worker.clone(),
            number: entry.taken,
        }
    }

    /// It was for no call.
    fn unused(self) {
        let mut state = self.pool.state();
        let most = self.pool.options.max_tasks_per_child.unwrap_or(u64::MAX);
        if let Some(entry) = state.entry(self.worker.pid) {
            entry.taken -= 1;
            entry.leaving &= entry.taken >= most;
        }
    }

    /// Ends the child whatever it does.
    pub(super) fn kill(&self) {
        self.pool.no_more(self.worker.pid);
        self.worker.kill.set();
    }

    /// How the child died, once it has.
    pub(super) async fn death(&self) -> String {
        self.pool.no_more(self.worker.pid);
        // Its end is near: the socket has ended.
        let _ = timeout(2 * FAREWELL, self.worker.over.wait()).await;
        let status = self.worker.status.get().copied().flatten();
        in_words(self.worker.pid, status)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        let last = state.entry(self.worker.pid).is_some_and(|entry| {
            entry.calls -= 1;
            entry.idle_since = time::now();
            entry.leaving && entry.calls == 0
        });
        drop(state);
        if last {
            self.worker.leave.set();
        }
    }
}

/// Sees a child to its end.
async fn tend(pool: Arc<Pool>, worker: Arc<Worker>, mut child: Child) {
    let pause = pool.options.idle_retire.min(LOOK);
    let killed = loop {
        match timeout(pause, what_ends(&worker)).await {
            Ok(killed) => break killed,
            // Somebody else may hold its socket open.
            Err(_) if child.has_ended() || pool.retires(worker.pid) => break false,
            Err(_) => {}
        }
    };
    pool.no_more(worker.pid);
    let grace = if killed { Duration::ZERO } else { FAREWELL };
    // Where its socket ends a child ends by itself.
    worker.broker.close();
    let status = child.end(grace).await;
    let _ = worker.status.set(status);
    pool.remove(worker.pid);
    worker.over.set();
}

/// Completes when the child is to end, or has; whether by force.
async fn what_ends(worker: &Worker) -> bool {
    let mut closed = pin!(worker.broker.closed());
    let mut leave = pin!(worker.leave.wait());
    let mut kill = pin!(worker.kill.wait());
    poll_fn(|cx| {
        if kill.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        if closed.as_mut().poll(cx).is_ready() || leave.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await
}

fn full_jitter(longest: Duration) -> Duration {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(entropy::random_u64() % nanos.saturating_add(1).max(1))
}
