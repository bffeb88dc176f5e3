//! Where the caller of a job in this process waits for its outcome.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::executor::{CallRef, JobEnd, ReplySink, discard};

/// The outcome of one job in this process, to come, with room for a value that is not encoded.
///
/// Invariants:
/// - L1 `end` is set at most once, by whoever has the job; what [`leave`](Self::leave) left was
///   left before. Both are taken together.
/// - L2 no waker is cloned or woken, and nothing is dropped, under the lock.
pub(crate) struct LocalAnswer<T> {
    state: Mutex<State<T>>,
}

/// How a job ended, and the value that it left.
pub(crate) type Left<T> = (JobEnd, Option<T>);

struct State<T> {
    value: Option<T>,
    end: Option<JobEnd>,
    waker: Option<Waker>,
}

impl<T> LocalAnswer<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                value: None,
                end: None,
                waker: None,
            }),
        })
    }

    /// Leaves a value for who takes the end, which is still to come.
    pub(crate) fn leave(&self, value: T) {
        let former = self.state().value.replace(value);
        drop(former);
    }

    /// The outcome and what was left, if the job has ended.
    pub(crate) fn at_once(&self) -> Option<Left<T>> {
        self.state().take()
    }

    /// The outcome, if it is that the job was not begun.
    pub(crate) fn refused(&self) -> Option<JobEnd> {
        let mut state = self.state();
        let refused = state.end.as_ref().is_some_and(JobEnd::did_not_run);
        refused.then(|| state.end.take()).flatten()
    }

    /// Completes when the job has ended; for one task at a time.
    pub(crate) fn ended(&self) -> Ended<'_, T> {
        Ended { answer: self }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Left<T>> {
        let end = self.end.take()?;
        Some((end, self.value.take()))
    }
}

impl<T> Drop for LocalAnswer<T> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = state.value.take() {
            // Its caller did not wait for it.
            discard(value);
        }
    }
}

impl<T: Send> ReplySink for LocalAnswer<T> {
    fn settle(&self, _: CallRef, end: JobEnd) {
        let mut state = self.state();
        state.end = Some(end);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Future of [`LocalAnswer::ended`].
#[must_use = "it waits while it is polled"]
pub(crate) struct Ended<'a, T> {
    answer: &'a LocalAnswer<T>,
}

impl<T> Future for Ended<'_, T> {
    type Output = Left<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Left<T>> {
        let waker = cx.waker().clone();
        let mut state = self.answer.state();
        if let Some(left) = state.take() {
            drop(state);
            return Poll::Ready(left);
        }
        let former = state.waker.replace(waker);
        drop(state);
        drop(former);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Certainty, Code};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn failed() -> JobEnd {
        JobEnd::Failed {
            code: Code::Cancelled,
            certainty: Certainty::Refused,
            message: String::new(),
        }
    }

    #[test]
    fn the_end_wakes_the_last_task_that_asked() {
        let wakes = [0; 2].map(|_| Arc::new(Count(AtomicUsize::new(0))));
        let answer = LocalAnswer::<u8>::new();
        for count in &wakes {
            let waker = Waker::from(count.clone());
            let mut ended = answer.ended();
            let polled = Pin::new(&mut ended).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        answer.leave(7);
        assert_eq!(
            wakes.each_ref().map(|count| count.0.load(Ordering::SeqCst)),
            [0, 0]
        );
        answer.settle(CallRef::Local(1), failed());
        assert_eq!(
            wakes.each_ref().map(|count| count.0.load(Ordering::SeqCst)),
            [0, 1]
        );
        let mut ended = answer.ended();
        let polled = Pin::new(&mut ended).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(
            polled,
            Poll::Ready((JobEnd::Failed { .. }, Some(7)))
        ));
        assert!(answer.at_once().is_none());
    }
}
