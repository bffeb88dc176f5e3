//! A count that tasks and threads wait for, with nothing of a runtime in it.

use std::future::{Future, poll_fn};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Opens when it was counted down to zero. Clones are the same latch.
#[derive(Clone, Debug)]
pub struct Latch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    left: usize,
    waiting: Vec<Waker>,
}

impl Latch {
    /// Opens after `left` counts.
    pub fn new(left: usize) -> Latch {
        Latch(Arc::new(Mutex::new(State {
            left,
            waiting: Vec::new(),
        })))
    }

    /// Counts down once; more often than it was made for changes nothing.
    pub fn count_down(&self) {
        let mut state = self.lock();
        state.left = state.left.saturating_sub(1);
        if state.left > 0 {
            return;
        }
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// What is left to count.
    pub fn left(&self) -> usize {
        self.lock().left
    }

    /// Waits until it is open.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let latch = self.clone();
        poll_fn(move |cx| {
            let mut state = latch.lock();
            if state.left == 0 {
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

/// Counts a latch down when it is dropped.
#[derive(Debug)]
pub struct OnDrop(pub Latch);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.count_down();
    }
}
