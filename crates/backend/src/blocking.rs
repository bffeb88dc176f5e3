//! Work that blocks its thread, away from the threads that poll tasks.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Backend;
use crate::current;
use crate::runtime::{AnyContext, Runtime, Variant};

/// What an adapter runs on its pool. Dropped unrun, it reports [`BlockingError::Stopped`].
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Runs `job` on a thread that may block, of the current backend.
///
/// It is handed over when this is called, not when the future is polled. Dropping the future never
/// stops the job; its value is then dropped on the thread that ran it. At least 64 jobs can be
/// blocked at once. In a simulated world the job runs on the world's thread at a drawn time and
/// must not park it.
///
/// # Errors
///
/// The future gives [`BlockingError::Panicked`] where the job panicked and
/// [`BlockingError::Stopped`] where the backend shut down before it ran.
///
/// # Panics
///
/// Where the current backend does not run on this thread.
///
/// # Cancel safety
///
/// *Value lost*: the job goes on, its value is dropped.
#[track_caller]
pub fn spawn_blocking<F, T>(job: F) -> BlockingTask<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn_on(Backend::required(), job)
}

#[track_caller]
pub(crate) fn spawn_on<F, T>(backend: Backend, job: F) -> BlockingTask<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    backend.running();
    let context = dispatch!(backend, R => R::any_context(R::context()));
    let slot = Arc::new(Slot(Mutex::new(Stage::Running(None))));
    let pending = Pending {
        slot: slot.clone(),
        backend,
        context,
        job: Some(job),
    };
    let job: Job = Box::new(move || pending.run());
    dispatch!(backend, R => R::spawn_blocking(job));
    BlockingTask { slot }
}

/// Future of [`spawn_blocking`].
#[must_use = "the job runs anyway; await it for its value"]
pub struct BlockingTask<T> {
    slot: Arc<Slot<T>>,
}

impl<T> Future for BlockingTask<T> {
    type Output = Result<T, BlockingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Made before the lock is taken, and the former one dropped after: both are foreign code.
        let waker = cx.waker().clone();
        let mut stage = self.slot.lock();
        match mem::replace(&mut *stage, Stage::Taken) {
            Stage::Done(Err(BlockingError::Stopped)) => {
                // A task that tries again and again must come to where a shutdown can drop it.
                *stage = Stage::Stopped;
                drop(stage);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Stage::Done(outcome) => Poll::Ready(outcome),
            Stage::Stopped => Poll::Ready(Err(BlockingError::Stopped)),
            Stage::Running(former) => {
                *stage = Stage::Running(Some(waker));
                drop(stage);
                drop(former);
                Poll::Pending
            }
            Stage::Taken => panic!("BlockingTask polled after it gave its value"),
        }
    }
}

impl<T> Drop for BlockingTask<T> {
    fn drop(&mut self) {
        let left = mem::replace(&mut *self.slot.lock(), Stage::Taken);
        drop(left);
    }
}

impl<T> fmt::Debug for BlockingTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingTask").finish_non_exhaustive()
    }
}

/// Why a blocking job gave no value.
#[non_exhaustive]
pub enum BlockingError {
    /// It panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
    /// The backend shut down before it ran.
    Stopped,
}

impl fmt::Debug for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockingError::Panicked(_) => f.write_str("Panicked(..)"),
            BlockingError::Stopped => f.write_str("Stopped"),
        }
    }
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockingError::Panicked(payload) => {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                write!(
                    f,
                    "a blocking job panicked: {}",
                    text.unwrap_or("no message")
                )
            }
            BlockingError::Stopped => {
                f.write_str("the backend shut down before a blocking job ran")
            }
        }
    }
}

impl Error for BlockingError {}

/// Where a job leaves its outcome. `Taken` also stands for a future that was dropped.
struct Slot<T>(Mutex<Stage<T>>);

enum Stage<T> {
    Running(Option<Waker>),
    Done(Result<T, BlockingError>),
    /// The future yielded once over it.
    Stopped,
    Taken,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Stage<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves `outcome` for the future, or drops it here where nobody waits.
    fn complete(&self, outcome: Result<T, BlockingError>) {
        let mut stage = self.lock();
        let Stage::Running(waker) = &mut *stage else {
            drop(stage);
            drop(outcome);
            return;
        };
        let waker = waker.take();
        *stage = Stage::Done(outcome);
        drop(stage);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A job not yet run.
struct Pending<F, T> {
    slot: Arc<Slot<T>>,
    backend: Backend,
    context: AnyContext,
    job: Option<F>,
}

impl<F: FnOnce() -> T, T> Pending<F, T> {
    fn run(mut self) {
        let Some(job) = self.job.take() else { return };
        let slot = self.slot.clone();
        current::inside(self.backend, &self.context, || {
            let outcome = catch_unwind(AssertUnwindSafe(job)).map_err(BlockingError::Panicked);
            // The value of a dropped future may panic in its destructor; the pool goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| slot.complete(outcome)));
        });
    }
}

impl<F, T> Drop for Pending<F, T> {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        current::inside(self.backend, &self.context, || {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(job)));
            self.slot.complete(Err(BlockingError::Stopped));
        });
    }
}
