//! Wakers collected under a lock, woken after it was released.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Who is to be woken, and which replaced wakers are to be dropped, once the
/// lock is free. Waking and dropping a waker both run foreign code.
///
/// The first waker lies in place, since most operations wake at most one peer.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Wakes {
    /// Adds one to be woken.
    pub(crate) fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.rest.push(waker);
        }
    }

    /// Adds one to be woken, if there is one.
    pub(crate) fn extend(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.push(waker);
        }
    }

    /// Whether nobody is to be woken.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Wakes everybody, in order, even if one of the wakers panics; the first
    /// panic is returned for the caller to resume when its state is in order.
    pub(crate) fn wake(self) -> Result<(), Box<dyn Any + Send>> {
        let mut outcome = Ok(());
        for waker in self.first.into_iter().chain(self.rest) {
            let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            if outcome.is_ok() {
                outcome = woken;
            }
        }
        outcome
    }
}
