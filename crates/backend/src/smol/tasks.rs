use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use slab::Slab;

use super::HERE;

/// The tasks of one executor, so that a shutdown can end each by one more poll.
///
/// Dropping the executor is not enough: a task that another thread wakes at that moment comes to
/// the queue after it was emptied, and is never dropped.
///
/// Invariants:
/// - TASKS1 A task is in `wakers` from the end of its first poll, where it has to wait, to its drop.
///   Until then it is on the executor and will be polled; a task that never waits is never there.
/// - TASKS2 `closing` is set before `wakers` is read, and read after a task was put there: each
///   task sees it or is woken, and then sees it.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    closing: AtomicBool,
    wakers: Mutex<Slab<Waker>>,
}

impl Tasks {
    /// Lends those of the executor that this thread runs.
    fn here<T>(lend: impl FnOnce(&Arc<Tasks>) -> T) -> T {
        HERE.with_borrow(|here| {
            let here = here.as_ref().expect("an executor runs in its realm");
            lend(&here.realm.tasks)
        })
    }

    /// Has every task polled once more, to end.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let live: Vec<Waker> = self.lock().iter().map(|(_, waker)| waker.clone()).collect();
        live.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// A task that ends at its next poll once [`close`](Tasks::close) was called on the tasks of the
    /// executor which polls it. Those are asked of the thread, so that a spawn shares nothing.
    pub(super) struct Registered<F> {
        #[pin]
        future: F,
        place: Option<(Arc<Tasks>, usize)>,
    }

    impl<F> PinnedDrop for Registered<F> {
        fn drop(this: Pin<&mut Self>) {
            let Some((tasks, key)) = this.project().place else {
                return;
            };
            let waker = tasks.lock().try_remove(*key);
            drop(waker);
        }
    }
}

impl<F> Registered<F> {
    pub(super) fn new(future: F) -> Registered<F> {
        Registered {
            future,
            place: None,
        }
    }
}

impl<F: Future<Output = ()>> Future for Registered<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let is_closing = |tasks: &Tasks| tasks.closing.load(Ordering::SeqCst);
        let ends = match &this.place {
            Some((tasks, _)) => is_closing(tasks),
            None => Tasks::here(|tasks| is_closing(tasks)),
        };
        if ends {
            return Poll::Ready(());
        }
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.place.is_some() {
            return Poll::Pending;
        }
        // The waker of a task is one and the same for its life.
        let waker = cx.waker().clone();
        let tasks = Tasks::here(Arc::clone);
        let key = tasks.lock().insert(waker);
        let (tasks, _) = this.place.insert((tasks, key));
        if is_closing(tasks) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
