use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use slab::Slab;

/// The tasks of one executor, so that a shutdown can end each by one more poll.
///
/// Dropping the executor is not enough: a task that another thread wakes at that moment comes to
/// the queue after it was emptied, and is never dropped.
///
/// Invariants:
/// - TASKS1 A task is in `wakers` from before its first poll of the future to its drop.
/// - TASKS2 `closing` is set before `wakers` is read, and read after a task was put there: each
///   task sees it or is woken, and then sees it.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    closing: AtomicBool,
    wakers: Mutex<Slab<Waker>>,
}

impl Tasks {
    /// Makes `future` a task that ends at its next poll once [`close`](Tasks::close) was called.
    pub(super) fn register<F>(self: &Arc<Self>, future: F) -> Registered<F> {
        Registered {
            future,
            key: None,
            tasks: self.clone(),
        }
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
    pub(super) struct Registered<F> {
        #[pin]
        future: F,
        key: Option<usize>,
        tasks: Arc<Tasks>,
    }

    impl<F> PinnedDrop for Registered<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let Some(key) = *this.key else { return };
            let waker = this.tasks.lock().try_remove(key);
            drop(waker);
        }
    }
}

impl<F: Future<Output = ()>> Future for Registered<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // The waker of a task is one and the same for its life.
        let wakers = || this.tasks.lock();
        this.key
            .get_or_insert_with(|| wakers().insert(cx.waker().clone()));
        if this.tasks.closing.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        this.future.poll(cx)
    }
}
