//! A lock for sections of some nanoseconds.

#![expect(
    unsafe_code,
    reason = "a mutex of the standard library pays two atomic read-modify-writes for each section, \
              this pays one, and that is half the cost of a message"
)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many pauses lie before the first look of a thread that found the lock
/// taken; each later look waits for twice as many, up to [`MOST_PAUSES`].
const FIRST_PAUSES: u32 = 128;
const MOST_PAUSES: u32 = 512;

/// How many looks find the lock taken before the thread gives its turn up, for
/// the holder may share its core. That is some tens of microseconds.
const LOOKS_BEFORE_YIELDING: u32 = 8;

/// Pauses without looking, then gives up the thread's turn, until the lock is
/// free.
///
/// It has no queue, so it fits only sections that run no foreign code and do
/// not block: the holder moves on within nanoseconds unless it was preempted,
/// and then who waits gives its turn up.
///
/// Who finds it taken stays away for some microseconds, as long as hundreds of
/// sections take. Where two threads are at one lock all the time, each look at
/// it costs the other one the cache line with the lock and all that it
/// protects, which is ten times a section; in turns of hundreds both go as fast
/// as one alone. Rejected: to look again and again until it is free, which
/// makes them take turns of one.
///
/// Invariants:
/// 1. A [`SpinGuard`] exists only while `locked` is set, and only one: it is
///    made by the thread whose exchange set it, and clears it when it goes.
/// 2. `state` is touched only through a guard or with exclusive access.
pub struct SpinLock<S> {
    locked: AtomicBool,
    state: UnsafeCell<S>,
}

// SAFETY: by invariants 1 and 2 one thread at a time reaches the state, and the
// acquiring exchange sees what the releasing store of the one before published.
unsafe impl<S: Send> Sync for SpinLock<S> {}

// No foreign code runs in a section, so a panic cannot leave one half done.
impl<S> UnwindSafe for SpinLock<S> {}
impl<S> RefUnwindSafe for SpinLock<S> {}

impl<S> SpinLock<S> {
    /// An unlocked `state`.
    pub(super) fn new(state: S) -> Self {
        Self {
            locked: AtomicBool::new(false),
            state: UnsafeCell::new(state),
        }
    }

    /// Waits for the lock.
    #[inline]
    pub(super) fn lock(&self) -> SpinGuard<'_, S> {
        if self.locked.swap(true, Ordering::Acquire) {
            self.contend();
        }
        self.guard()
    }

    /// The lock, if nobody has it.
    #[inline]
    pub(super) fn try_lock(&self) -> Option<SpinGuard<'_, S>> {
        (!self.locked.swap(true, Ordering::Acquire)).then(|| self.guard())
    }

    /// For the thread whose exchange has set `locked` (invariant 1).
    #[inline]
    fn guard(&self) -> SpinGuard<'_, S> {
        SpinGuard {
            lock: self,
            stays: PhantomData,
        }
    }

    #[cold]
    #[inline(never)]
    fn contend(&self) {
        let mut pauses = FIRST_PAUSES;
        let mut looks = 0;
        loop {
            if looks < LOOKS_BEFORE_YIELDING {
                looks += 1;
                for _ in 0..pauses {
                    std::hint::spin_loop();
                }
                pauses = (pauses * 2).min(MOST_PAUSES);
            } else {
                std::thread::yield_now();
            }
            if !self.locked.load(Ordering::Relaxed) && !self.locked.swap(true, Ordering::Acquire) {
                return;
            }
        }
    }
}

impl<S> fmt::Debug for SpinLock<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinLock").finish_non_exhaustive()
    }
}

/// Holds a [`SpinLock`], in the thread that took it.
pub struct SpinGuard<'a, S> {
    lock: &'a SpinLock<S>,
    /// Neither sent nor shared, for the state need not be `Sync`.
    stays: PhantomData<*const ()>,
}

impl<S> Deref for SpinGuard<'_, S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        // SAFETY: by invariant 1 this is the only guard.
        unsafe { &*self.lock.state.get() }
    }
}

impl<S> DerefMut for SpinGuard<'_, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        // SAFETY: by invariant 1 this is the only guard, and it is borrowed
        // exclusively.
        unsafe { &mut *self.lock.state.get() }
    }
}

impl<S> Drop for SpinGuard<'_, S> {
    #[inline]
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
    }
}

impl<S> fmt::Debug for SpinGuard<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinGuard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::SpinLock;

    #[test]
    fn sections_of_threads_never_overlap() {
        let lock = Arc::new(SpinLock::new((0_u64, 0_u64)));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || {
                    for _ in 0..50_000 {
                        let mut pair = lock.lock();
                        pair.0 += 1;
                        pair.1 = pair.0;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*lock.lock(), (150_000, 150_000));
    }
}
