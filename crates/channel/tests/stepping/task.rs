//! A future that a test drives one poll at a time, watching who wakes it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct Task<'a, R> {
    future: Pin<Box<dyn Future<Output = R> + 'a>>,
    woken: Arc<Flag>,
    waker: Waker,
}

impl<'a, R> Task<'a, R> {
    pub(crate) fn new(future: impl Future<Output = R> + 'a) -> Self {
        let woken = Arc::new(Flag(AtomicBool::new(false)));
        Self {
            future: Box::pin(future),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }

    /// A task polled once, which must find that it has to wait.
    #[allow(dead_code, reason = "each test file uses a part of this module")]
    pub(crate) fn parked(future: impl Future<Output = R> + 'a) -> Self {
        let mut task = Self::new(future);
        assert!(task.poll().is_pending(), "the operation did not wait");
        task
    }

    pub(crate) fn poll(&mut self) -> Poll<R> {
        self.woken.0.store(false, Ordering::SeqCst);
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }

    /// Whether the task was woken since it was last polled.
    #[allow(dead_code, reason = "each test file uses a part of this module")]
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }

    /// The outcome of a task that must have been woken to find it.
    #[allow(dead_code, reason = "each test file uses a part of this module")]
    pub(crate) fn finish(mut self) -> R {
        assert!(self.is_woken(), "nobody woke the task");
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the task was woken for nothing"),
        }
    }
}
