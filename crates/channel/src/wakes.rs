//! Wakers collected under a lock, woken after it was released.

use std::task::Waker;

use crate::first_panic::FirstPanic;

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
    #[inline]
    pub(crate) fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.rest.push(waker);
        }
    }

    /// Adds one to be woken, if there is one.
    #[inline]
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

    /// Wakes everybody, in order, even if one of the wakers panics; then the
    /// first panic goes on.
    #[inline]
    pub(crate) fn wake(self) {
        let Some(first) = self.first else {
            return;
        };
        if self.rest.is_empty() {
            first.wake();
        } else {
            wake_all(first, self.rest);
        }
    }
}

#[cold]
fn wake_all(first: Waker, rest: Vec<Waker>) {
    let mut panic = FirstPanic::default();
    for waker in std::iter::once(first).chain(rest) {
        panic.catch(|| waker.wake());
    }
    panic.resume();
}
