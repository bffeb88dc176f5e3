//! The adapter of smol, from its parts: an executor per `block_on`, timers and sockets on the
//! reactor of async-io, jobs on the pool of `blocking`.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock, Once, PoisonError, RwLock};
use std::thread;

use async_executor::Executor;
use async_io::Async;

use crate::Backend;
use crate::async_io_socket::{self, ReactorTimer};
use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::current;
use crate::running::Running;
use crate::runtime::{Runtime, Types};
use crate::signal::Signal;
use crate::smol::stop::Stop;
use crate::smol::tasks::{Registered, Tasks};
use crate::socket::Kernel;
use crate::system::System;
use crate::task::{Detached, RunOptions, Threads};

mod stop;
mod tasks;

#[derive(Debug)]
pub(crate) struct Smol;

/// An executor with what belongs to it.
///
/// Invariants:
/// - SMOL1 Remaining tasks are dropped by the thread of the `block_on`, after its workers ended,
///   with that thread marked as stopping: a task that spawns in its destructor there is dropped,
///   and never reaches the executor of the process.
/// - SMOL2 The executor is taken out before its tasks are ended, and a spawn holds the lock until
///   its task is on the executor, or is made by a thread that runs it: late spawns are dropped,
///   earlier ones ended.
/// - SMOL3 A thread that ends may have lost its `HERE`, while destructors of its other thread-local
///   values run: then it stands in the realm of the process, whichever it enters.
#[derive(Debug)]
pub(crate) struct Realm {
    executor: RwLock<Option<Arc<Executor<'static>>>>,
    tasks: Arc<Tasks>,
    jobs: Running,
    /// Of the realm of the process: done once its threads were started.
    started: Option<Once>,
}

thread_local! {
    /// That of this thread: of its `block_on`, its worker, its job or its attached future.
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// The realm that a thread stands in.
#[derive(Debug)]
struct Here {
    realm: Arc<Realm>,
    /// While this thread runs its tasks, for then it is not taken out (SMOL1).
    executor: Option<Arc<Executor<'static>>>,
}

impl Here {
    /// Runs `act` there.
    fn enter<R>(self, act: impl FnOnce() -> R) -> R {
        struct Restore(Option<Here>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let former = self.0.take();
                drop(HERE.replace(former));
            }
        }
        let mut here = Some(self);
        // SMOL3.
        let former = HERE.try_with(|place| place.replace(here.take()));
        let _restore = former.ok().map(Restore);
        act()
    }
}

impl Realm {
    fn new(started: Option<Once>) -> Arc<Realm> {
        Arc::new(Realm {
            executor: RwLock::new(Some(Arc::new(Executor::new()))),
            tasks: Arc::default(),
            jobs: Running::default(),
            started,
        })
    }

    /// The realm of this thread, or that of the process.
    fn current() -> Arc<Realm> {
        let here = HERE.try_with(|here| Some(here.borrow().as_ref()?.realm.clone()));
        // SMOL3.
        let here = here.ok().flatten();
        here.unwrap_or_else(|| Realm::of_process().clone())
    }

    /// For foreign executors on which we are used: never ended.
    fn of_process() -> &'static Arc<Realm> {
        static PROCESS: LazyLock<Arc<Realm>> = LazyLock::new(|| Realm::new(Some(Once::new())));
        &PROCESS
    }

    /// Starts the threads of the realm of the process, which its first task needs.
    fn start(&self) {
        let Some(started) = &self.started else { return };
        // Where a thread could not be started the next spawn tries again.
        started.call_once_force(|_| {
            for index in 0..Threads::Auto.count() {
                let work = || Realm::of_process().work(std::future::pending::<()>());
                start_thread(format!("bowline-smol-{index}"), work)
                    .expect("the system started no thread");
            }
        });
    }

    /// Spawns `task`, or gives it back where the executor is gone.
    fn spawn<F>(&self, task: Detached<F>) -> Option<Detached<F>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start();
        let executor = self.executor.read().unwrap_or_else(PoisonError::into_inner);
        let Some(executor) = &*executor else {
            return Some(task);
        };
        executor.spawn(Registered::new(task)).detach();
        None
    }

    /// Runs tasks on this thread until `until` is done. Blocks in the reactor, for else timers
    /// would fire on the reactor's own thread.
    fn work<F: Future>(self: &Arc<Self>, until: F) -> F::Output {
        let executor = self
            .executor
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let executor = executor.expect("workers end before their executor");
        let here = Here {
            realm: self.clone(),
            executor: Some(executor.clone()),
        };
        here.enter(|| async_io::block_on(executor.run(until)))
    }

    /// Drops the tasks, here.
    fn close(&self) {
        let executor = self
            .executor
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(executor) = executor else { return };
        self.tasks.close();
        // Each task is in the queue, or a thread that woke it is about to put it there.
        async_io::block_on(async {
            while !executor.is_empty() {
                executor.tick().await;
            }
        });
    }
}

fn start_thread(
    name: String,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(move || {
        current::mark_thread(Backend::Smol);
        work();
    })
}

impl Types for Smol {
    type Context = Arc<Realm>;
    type Timer = ReactorTimer;
    type Signals = async_signal::Signals;
}

impl System for Smol {}

impl Runtime for Smol {
    const CAPABILITIES: Capabilities = Capabilities::REAL;

    fn is_running() -> bool {
        true
    }

    fn context() -> Arc<Realm> {
        Realm::current()
    }

    fn within<R>(context: &Arc<Realm>, act: impl FnOnce() -> R) -> R {
        let here = Here {
            realm: context.clone(),
            executor: None,
        };
        here.enter(act)
    }

    fn block_on<F: Future>(options: RunOptions, future: F) -> F::Output {
        let realm = Realm::new(None);
        let stop = Stop::new();
        let mut workers = Vec::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // Where a thread cannot be started, those before it end as after any panic.
            workers.extend((1..options.threads.count()).map(|index| {
                let (realm, stop) = (realm.clone(), stop.clone());
                let work = move || realm.work(stop.wait());
                start_thread(format!("{}-{index}", options.name), work)
                    .expect("the system started no thread")
            }));
            realm.work(future)
        }));
        realm.jobs.close();
        stop.now();
        for worker in workers {
            // A worker has nothing to panic with: tasks keep their panics in.
            let _ = worker.join();
        }
        // SMOL1: the realm stays that of this thread while its tasks are dropped.
        Smol::within(&realm, || realm.close());
        realm.jobs.wait(options.blocking_grace);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        let mut task = Some(Detached::new(Backend::Smol, future));
        let refused = HERE.try_with(|here| match &*here.borrow() {
            Some(Here {
                executor: Some(executor),
                ..
            }) => {
                executor.spawn(Registered::new(task.take()?)).detach();
                None
            }
            Some(here) => here.realm.spawn(task.take()?),
            None => Realm::of_process().spawn(task.take()?),
        });
        // SMOL3.
        let refused = refused.unwrap_or_else(|_| Realm::of_process().spawn(task.take()?));
        // SMOL2: dropped unpolled, and not before the borrow ended, for its destructor may spawn.
        drop(refused);
    }

    fn spawn_blocking(job: Job) {
        let realm = Realm::current();
        // Detached, for dropping the task would cancel a queued job.
        blocking::unblock(move || realm.jobs.run(job)).detach();
    }

    fn listen_signal(signal: Signal) -> io::Result<Self::Signals> {
        async_io_socket::listen_signal(signal)
    }
}

impl Kernel for Smol {
    type Socket = Async<Arc<OwnedFd>>;
}
