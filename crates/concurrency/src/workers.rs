mod state;

use crate::caught::{Caught, discard};
use crate::checkpoint::checkpoint_if_cancelled;
use crate::invalid_value::InvalidValue;
use crate::sync::{QueueJoin, QueueSend, QueueTrySendError};
use crate::task_group::{KeptFailure, Policy, TaskGroup};
use state::{Present, Shared};
use std::fmt;
use std::sync::Arc;

/// A fixed number of tasks that work off a bounded queue of jobs.
///
/// The workers are children of a group and end with it. Each takes the oldest job, runs it to its
/// end and takes the next; a job that fails or panics is counted and harms nobody, unless a
/// [`Policy`] says otherwise ([`start_with`](Workers::start_with)).
///
/// [`close`](Workers::close) lets the workers do what was sent and then end. So does dropping the
/// last handle; a job that keeps one of its own workers keeps them from ending. If the workers are
/// cancelled, jobs that wait are dropped, and senders get theirs back.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{GroupError, Root, Workers, checkpoint, task_group};
///
/// let result: Result<_, GroupError<String>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         let workers = Workers::start(&group, 3, 8, |job: u32| async move {
///             checkpoint().await;
///             if job == 13 { Err("unlucky".to_owned()) } else { Ok(()) }
///         });
///         let workers = workers.expect("neither number is zero");
///         for job in 0..20 {
///             workers.send(job).await.expect("they are open");
///         }
///         workers.close().await;
///         Ok(workers.statistics())
///     }));
/// let statistics = result.unwrap();
/// assert_eq!((statistics.done, statistics.failed), (19, 1));
/// # }
/// ```
#[doc(alias = "WorkerPool")]
pub struct Workers<J> {
    handle: Arc<Handle<J>>,
}

/// Invariant: when the last one is gone the queue is closed, so workers that nobody can send to
/// end.
struct Handle<J> {
    shared: Arc<Shared<J>>,
}

/// A snapshot of [`Workers`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkersStatistics {
    /// Workers that have not ended.
    pub workers: usize,
    /// Jobs that wait for a worker.
    pub waiting: usize,
    /// Jobs that a worker runs.
    pub running: usize,
    /// Jobs that returned well.
    pub done: usize,
    /// Jobs that returned an error.
    pub failed: usize,
    /// Jobs that panicked.
    pub panicked: usize,
    /// Jobs that were dropped before they ended, or before they began.
    pub dropped: usize,
    /// Whether no job is taken any more.
    pub closed: bool,
}

impl<J: Send + 'static> Workers<J> {
    /// Starts `count` workers in a group, with a queue of at most `capacity` jobs that wait.
    ///
    /// What `f` makes of a job is run by one of them. An error or panic of it is counted only. A
    /// group that has ended takes no worker, and a full one no more than it has room for; with
    /// none at all the queue is closed from the beginning.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if either number is zero; nothing is started.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn start<E, F, Fut>(
        group: &TaskGroup<E>,
        count: usize,
        capacity: usize,
        f: F,
    ) -> Result<Workers<J>, InvalidValue>
    where
        E: Send + 'static,
        F: Fn(J) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        Workers::start_with(group, Policy::Isolate, count, capacity, f)
    }

    /// As [`start`](Workers::start), where `policy` says what a failed job means.
    ///
    /// - [`Policy::Isolate`]: it is counted only.
    /// - [`Policy::FailFast`]: the first one ends the workers. Jobs that run are cancelled, those
    ///   that wait are dropped, senders get theirs back; the worker's child fails with the error
    ///   or panics with the panic, which means to the group what its own policy says.
    /// - [`Policy::CollectAll`]: nothing ends early. A worker that had failed jobs fails, when it
    ///   ends, with the first of them, also if it is cancelled. The later ones are counted in the
    ///   [`statistics`](Workers::statistics) alone, for there may be any number of them: where each
    ///   error has to be kept, let jobs be children of a [`TaskGroup`] that collects all.
    ///
    /// # Errors
    ///
    /// As [`start`](Workers::start); also for a [`Policy::Quorum`] other than zero, since jobs have
    /// no number that could be missed.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn start_with<E, F, Fut>(
        group: &TaskGroup<E>,
        policy: Policy,
        count: usize,
        capacity: usize,
        f: F,
    ) -> Result<Workers<J>, InvalidValue>
    where
        E: Send + 'static,
        F: Fn(J) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        if let Policy::Quorum(wanted) = policy
            && wanted > 0
        {
            let what = "the quorum of jobs, which have no number,";
            return Err(InvalidValue::new(what, wanted, 0, 0));
        }
        if count == 0 {
            let what = "the number of workers";
            return Err(InvalidValue::new(what, count, 1, usize::MAX));
        }
        let shared = Arc::new(Shared::new(capacity)?);
        let starting = Present::new(&shared);
        let f = Arc::new(f);
        let mut crew = Vec::new();
        for number in 0..count {
            let present = Present::new(&shared);
            let work = |kept| work(present, policy, f.clone(), kept);
            match group.spawn_keeping(format!("worker {number}"), work) {
                Some(worker) => crew.push(worker),
                None => break,
            }
        }
        shared.keep(crew);
        drop(starting);
        let handle = Arc::new(Handle { shared });
        Ok(Workers { handle })
    }

    /// Waits until there is room in the queue, and sends a job.
    ///
    /// # Errors
    ///
    /// [`QueueSendError`](crate::sync::QueueSendError) with the job, if the workers were closed or
    /// have ended, or do so meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The job is dropped and was not sent, unless there was room for it already: then it was.
    pub fn send(&self, job: J) -> QueueSend<'_, J> {
        self.shared().queue.send(job)
    }

    /// Sends a job if there is room in the queue.
    ///
    /// # Errors
    ///
    /// [`QueueTrySendError`] with the job, if the queue is full, or the workers were closed or have
    /// ended.
    pub fn try_send(&self, job: J) -> Result<(), QueueTrySendError<J>> {
        self.shared().queue.try_send(job)
    }

    /// Waits until every job sent so far has ended; more may be sent.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened.
    pub fn join(&self) -> QueueJoin<'_, J> {
        self.shared().queue.join()
    }

    /// Takes no more jobs, and waits until the workers have done those that were sent and have
    /// ended. In a job of these workers it waits for ever.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened, or the workers are closed: they do what was sent all the same.
    pub async fn close(&self) {
        checkpoint_if_cancelled().await;
        let shared = self.shared();
        shared.queue.close();
        for worker in shared.crew() {
            worker.wait().await;
        }
    }

    /// What they do, and what became of the jobs.
    pub fn statistics(&self) -> WorkersStatistics {
        self.shared().statistics()
    }

    fn shared(&self) -> &Shared<J> {
        &self.handle.shared
    }
}

impl<J> Clone for Workers<J> {
    fn clone(&self) -> Self {
        Workers {
            handle: self.handle.clone(),
        }
    }
}

impl<J: Send + 'static> fmt::Debug for Workers<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl<J> Drop for Handle<J> {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

/// One worker: does jobs until there will be none.
async fn work<J, E, F, Fut>(
    present: Present<J>,
    policy: Policy,
    f: Arc<F>,
    kept: Arc<KeptFailure<E>>,
) -> Result<(), E>
where
    J: Send + 'static,
    F: Fn(J) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let shared = &present.0;
    while let Ok(job) = shared.queue.recv().await {
        let begun = shared.begin();
        // In the body, so that a panic of `f` itself is one of the job.
        let failure = match Caught::new(async { f(job).await }).await {
            Ok(Ok(())) => {
                begun.end(&shared.done);
                continue;
            }
            Ok(Err(error)) => {
                begun.end(&shared.failed);
                Ok(error)
            }
            Err(panic) => {
                begun.end(&shared.panicked);
                Err(panic)
            }
        };
        match policy {
            Policy::FailFast => {
                kept.keep(failure);
                shared.stop();
                break;
            }
            Policy::CollectAll => kept.keep(failure),
            _ => discard(failure),
        }
    }
    Ok(())
}
