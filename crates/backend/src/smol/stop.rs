use std::future::{Future, poll_fn};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Tells the workers of an executor to end.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    waiting: Vec<Waker>,
}

impl Stop {
    pub(super) fn new() -> Stop {
        Stop(Arc::default())
    }

    /// Ends every wait.
    pub(super) fn now(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting {
            waker.wake();
        }
    }

    /// Waits for [`now`](Stop::now). Each worker waits once, on one thread, so its waker is kept
    /// at most twice.
    pub(super) fn wait(self) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            let mut state = self.lock();
            if state.stopped {
                return Poll::Ready(());
            }
            if !state
                .waiting
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
