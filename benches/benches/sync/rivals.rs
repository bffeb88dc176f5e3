//! The same work with each library. All run in bowline's root on tokio's one-thread runtime: what
//! differs is the primitive alone.

use super::Case;
use bowline::backend::Backend;
use bowline::backend::task::{RunOptions, Threads};
use bowline::concurrency::{Root, sync, task_group, yield_now};
use std::sync::Arc;

pub(crate) trait Rival {
    /// Does `operations` in each of `tasks`.
    fn run(case: Case, tasks: usize, operations: usize);
}

/// Runs `body` in each of `tasks` and waits for all.
fn in_tasks<F>(tasks: usize, body: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let options = RunOptions::default().threads(Threads::One);
    let root = Root::new().backend(Backend::Tokio).options(options);
    let bodies: Vec<F> = (0..tasks).map(body).collect();
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        for body in bodies {
            group.spawn_ok(body);
        }
        Ok(())
    }));
    assert!(result.is_ok());
}

/// Bodies that hold the thing across a yield where several want it, so that they do wait.
macro_rules! repeat {
    ($tasks:ident, $operations:ident, $shared:ident, $acquire:expr) => {
        in_tasks($tasks, |_| {
            let $shared = $shared.clone();
            async move {
                for _ in 0..$operations {
                    let held = $acquire;
                    if $tasks > 1 {
                        yield_now().await;
                    }
                    drop(held);
                }
            }
        })
    };
}

pub(crate) struct Tokio;

impl Rival for Tokio {
    fn run(case: Case, tasks: usize, operations: usize) {
        match case {
            Case::LockFree | Case::LockContended | Case::BargingFree | Case::BargingContended => {
                let lock = Arc::new(tokio::sync::Mutex::new(0_u64));
                repeat!(tasks, operations, lock, lock.lock().await);
            }
            Case::SemaphoreFree | Case::SemaphoreContended => {
                let semaphore = Arc::new(tokio::sync::Semaphore::new(2));
                repeat!(tasks, operations, semaphore, {
                    semaphore.acquire().await.expect("it is open")
                });
            }
            Case::Event => {
                let pair = Arc::new([tokio::sync::Notify::new(), tokio::sync::Notify::new()]);
                pair[0].notify_one();
                in_tasks(tasks, |me| {
                    let pair = pair.clone();
                    async move {
                        for _ in 0..operations {
                            pair[me].notified().await;
                            pair[1 - me].notify_one();
                        }
                    }
                });
            }
        }
    }
}

pub(crate) struct AsyncLock;

impl Rival for AsyncLock {
    fn run(case: Case, tasks: usize, operations: usize) {
        match case {
            Case::LockFree | Case::LockContended | Case::BargingFree | Case::BargingContended => {
                let lock = Arc::new(async_lock::Mutex::new(0_u64));
                repeat!(tasks, operations, lock, lock.lock().await);
            }
            Case::SemaphoreFree | Case::SemaphoreContended => {
                let semaphore = Arc::new(async_lock::Semaphore::new(2));
                repeat!(tasks, operations, semaphore, semaphore.acquire().await);
            }
            Case::Event => {
                // It has no event; a semaphore without permits is the nearest.
                let pair = Arc::new([1, 0].map(async_lock::Semaphore::new));
                in_tasks(tasks, |me| {
                    let pair = pair.clone();
                    async move {
                        for _ in 0..operations {
                            pair[me].acquire().await.forget();
                            pair[1 - me].add_permits(1);
                        }
                    }
                });
            }
        }
    }
}

pub(crate) struct Bowline;

impl Rival for Bowline {
    fn run(case: Case, tasks: usize, operations: usize) {
        match case {
            Case::LockFree | Case::LockContended => {
                let lock = Arc::new(sync::Lock::new(0_u64));
                repeat!(tasks, operations, lock, lock.lock().await);
            }
            Case::BargingFree | Case::BargingContended => {
                let lock = Arc::new(sync::Lock::barging(0_u64));
                repeat!(tasks, operations, lock, lock.lock().await);
            }
            Case::SemaphoreFree | Case::SemaphoreContended => {
                let semaphore = Arc::new(sync::Semaphore::new(2));
                repeat!(tasks, operations, semaphore, semaphore.acquire().await);
            }
            Case::Event => {
                let pair = Arc::new([sync::Event::new(), sync::Event::new()]);
                pair[0].set();
                in_tasks(tasks, |me| {
                    let pair = pair.clone();
                    async move {
                        for _ in 0..operations {
                            pair[me].wait().await;
                            pair[me].reset();
                            pair[1 - me].set();
                        }
                    }
                });
            }
        }
    }
}
