//! A lock for sections of some nanoseconds.

#![expect(
    unsafe_code,
    reason = "a mutex of the standard library pays two atomic read-modify-writes for each section, \
              this pays one; `docs/performance.md` has what that is worth"
)]

use std::cell::UnsafeCell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many pauses lie before the first look of a thread that found the lock taken; each later look
/// waits for twice as many, up to [`MOST_PAUSES`].
const FIRST_PAUSES: u32 = 128;
const MOST_PAUSES: u32 = 512;

/// How many looks find the lock taken before the thread gives its turn up, for the holder may share
/// its core. That is some tens of microseconds.
const LOOKS_BEFORE_YIELDING: u32 = 8;

/// Pauses without looking, then gives up the thread's turn, until the lock is free: where two threads
/// are at one lock all the time, each look would cost the other one the cache line.
///
/// It has no queue, so it fits only sections that run no foreign code and do not block: the
/// holder moves on within nanoseconds unless it was preempted, and then who waits gives its turn
/// up. It is not poisoned: a section leaves its state in order before it can panic.
///
/// Invariants:
/// 1. The state is touched only with exclusive access to the lock, or inside
///    [`with`](SpinLock::with) by the thread whose exchange set `locked`.
/// 2. That thread alone clears `locked`, once, when it no longer touches the state.
pub(crate) struct SpinLock<S> {
    locked: AtomicBool,
    state: UnsafeCell<S>,
}

// SAFETY: by invariants 1 and 2 one thread at a time reaches the state, and the acquiring
// exchange sees what the releasing store of the one before published.
unsafe impl<S: Send> Sync for SpinLock<S> {}

// A section that panics leaves the state as it was, or in order.
impl<S> UnwindSafe for SpinLock<S> {}
impl<S> RefUnwindSafe for SpinLock<S> {}

impl<S> SpinLock<S> {
    pub(crate) const fn new(state: S) -> Self {
        SpinLock {
            locked: AtomicBool::new(false),
            state: UnsafeCell::new(state),
        }
    }

    /// Runs `section`, which neither blocks nor comes back for the same lock.
    #[inline]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&mut S) -> R) -> R {
        if self.locked.swap(true, Ordering::Acquire) {
            self.contend();
        }
        // Also when the section panics.
        let _unlock = Unlock(&self.locked);
        // SAFETY: by invariant 1 nobody else touches the state now.
        section(unsafe { &mut *self.state.get() })
    }

    pub(crate) fn into_inner(self) -> S {
        self.state.into_inner()
    }

    #[cold]
    #[inline(never)]
    fn contend(&self) {
        let mut pauses = FIRST_PAUSES;
        let mut looks = 0;
        loop {
            if looks < LOOKS_BEFORE_YIELDING {
                looks += 1;
                (0..pauses).for_each(|_| std::hint::spin_loop());
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

/// Clears the flag when it goes.
struct Unlock<'a>(&'a AtomicBool);

impl Drop for Unlock<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::SpinLock;
    use std::panic::catch_unwind;
    use std::sync::Arc;
    use std::thread;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "no backend is about")]
    fn sections_of_threads_never_overlap() {
        let lock = Arc::new(SpinLock::new((0_u64, 0_u64)));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || {
                    for _ in 0..20_000 {
                        lock.with(|pair| {
                            pair.0 += 1;
                            pair.1 = pair.0;
                        });
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no section panics");
        }
        assert_eq!(lock.with(|pair| *pair), (60_000, 60_000));
    }

    #[test]
    fn a_section_that_panics_leaves_the_lock_open() {
        static LOCK: SpinLock<u32> = SpinLock::new(0);
        let panicked = catch_unwind(|| {
            LOCK.with(|count| {
                *count += 1;
                panic!("on purpose");
            });
        });
        assert!(panicked.is_err());
        assert_eq!(LOCK.with(|count| *count), 1);
    }
}
