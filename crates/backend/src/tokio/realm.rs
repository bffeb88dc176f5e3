use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::runtime::{Builder, Handle, Id, Runtime};

use crate::Backend;
use crate::blocking::Job;
use crate::current;
use crate::running::{Entered, Running};
use crate::task::Threads;

/// What we keep beside a runtime that `block_on` made. Runtimes of others have none.
///
/// Invariants:
/// - TOK1 A task of a runtime with workers holds its `Alive` until its future was dropped, so when
///   the last is gone, no task is left.
/// - TOK2 A realm is registered before anything can be spawned on its runtime, and the ids of
///   runtimes never come again: what a thread found out about an id stays true.
/// - TOK3 Whoever entered `running` did so before it was closed, so a shutdown sees every thread
///   on which a job began.
#[derive(Debug)]
pub(super) struct Realm {
    tasks: Tasks,
    running: Running,
}

/// The tasks of a runtime, for the shutdown to know when the last was dropped.
#[derive(Debug)]
enum Tasks {
    /// Those of a runtime of one thread: its own shutdown drops them, on the thread of the
    /// `block_on`, before it returns.
    OfOneThread,
    /// Workers drop them, at a time of their own.
    Counted(Weak<Alive>),
}

/// Dropped with the last task, which hangs up on the shutdown that waits.
#[derive(Debug)]
struct Alive {
    _line: mpsc::Sender<Infallible>,
}

static REALMS: Mutex<Vec<(Id, Arc<Realm>)>> = Mutex::new(Vec::new());

fn realms() -> MutexGuard<'static, Vec<(Id, Arc<Realm>)>> {
    REALMS.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The last runtime that this thread spawned on, and its realm.
    static FOUND: RefCell<Option<(Id, Option<Arc<Realm>>)>> = const { RefCell::new(None) };
    /// Counts a thread of a runtime of ours until it ends.
    static THREAD: RefCell<Option<Entered>> = const { RefCell::new(None) };
}

impl Realm {
    /// What `ask` finds out about the realm of the runtime of `handle`.
    fn of<T>(handle: &Handle, ask: impl Fn(Option<&Realm>) -> T) -> T {
        let id = handle.id();
        let find = || {
            let found = realms().iter().find(|(other, _)| *other == id).cloned();
            found.map(|(_, realm)| realm)
        };
        let remembered = FOUND.try_with(|found| {
            let mut found = found.borrow_mut();
            let realm = match &mut *found {
                Some((known, realm)) if *known == id => realm,
                _ => &mut found.insert((id, find())).1,
            };
            ask(realm.as_deref())
        });
        // In the destructor of another thread-local.
        remembered.unwrap_or_else(|_| ask(find().as_deref()))
    }
}

/// Spawns `future` on the runtime of `handle`.
#[track_caller]
pub(super) fn spawn(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) {
    let counted = Realm::of(handle, |realm| match &realm?.tasks {
        Tasks::OfOneThread => None,
        Tasks::Counted(tasks) => Some(tasks.upgrade()),
    });
    match counted {
        None => drop(handle.spawn(future)),
        Some(Some(alive)) => drop(handle.spawn(Counted { future, alive })),
        // The shutdown is over: the task is dropped unpolled.
        Some(None) => drop(future),
    }
}

/// Runs `job` on the pool of the runtime of `handle`, unless its shutdown began before.
pub(super) fn spawn_blocking(handle: &Handle, job: Job) {
    let running = Realm::of(handle, |realm| realm.map(|realm| realm.running.clone()));
    drop(match running {
        Some(running) => handle.spawn_blocking(move || running.run(job)),
        None => handle.spawn_blocking(job),
    });
}

/// A runtime of ours while it runs.
pub(super) struct Run {
    runtime: Runtime,
    realm: Arc<Realm>,
    alive: Arc<Alive>,
    last_gone: mpsc::Receiver<Infallible>,
}

impl Run {
    /// Builds the runtime; its threads carry the mark of the backend.
    pub(super) fn new(mut builder: Builder, threads: Threads) -> io::Result<Run> {
        let running = Running::default();
        let started = running.clone();
        builder.on_thread_start(move || {
            current::mark_thread(Backend::Tokio);
            THREAD.set(started.enter());
        });
        let runtime = builder.build()?;
        let (line, last_gone) = mpsc::channel();
        let alive = Arc::new(Alive { _line: line });
        let tasks = match threads {
            Threads::One => Tasks::OfOneThread,
            _ => Tasks::Counted(Arc::downgrade(&alive)),
        };
        let realm = Arc::new(Realm { tasks, running });
        realms().push((runtime.handle().id(), realm.clone()));
        Ok(Run {
            runtime,
            realm,
            alive,
            last_gone,
        })
    }

    pub(super) fn drive<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Drops every task, however long that takes, then waits for jobs at most `grace`.
    pub(super) fn end(self, grace: Duration) {
        let id = self.runtime.handle().id();
        self.realm.running.close();
        // A plain drop would wait for jobs for ever; a timeout would be for tasks and jobs alike.
        // It drops the tasks of one thread before it returns.
        self.runtime.shutdown_background();
        drop(self.alive);
        // An error by design: nothing is ever sent.
        let _ = self.last_gone.recv();
        realms().retain(|(other, _)| *other != id);
        self.realm.running.wait(grace);
    }
}

pin_project! {
    /// A task that counts as alive until its future was dropped: fields are dropped in order.
    struct Counted<F> {
        #[pin]
        future: F,
        alive: Arc<Alive>,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}
