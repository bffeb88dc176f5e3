//! Atomics and cells as the engine uses them, so that a model checker can stand in.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};

/// Waits a moment for another thread that is about to move on.
///
/// After some rounds the thread gives up its turn, since the other one may
/// share its core.
#[cfg(not(loom))]
pub(crate) fn pause(round: &mut u32) {
    const ROUNDS_BEFORE_YIELDING: u32 = 64;
    if *round < ROUNDS_BEFORE_YIELDING {
        *round += 1;
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(loom)]
pub(crate) fn pause(_round: &mut u32) {
    loom::thread::yield_now();
}

/// A cell whose users prove by other means that they are alone.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct LooseCell<V>(std::cell::UnsafeCell<V>);

#[cfg(not(loom))]
impl<V> LooseCell<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Lends the place to `act`, which may use it only while it is alone.
    pub(crate) fn with<R>(&self, act: impl FnOnce(*mut V) -> R) -> R {
        act(self.0.get())
    }
}

#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct LooseCell<V>(loom::cell::UnsafeCell<V>);

#[cfg(loom)]
impl<V> LooseCell<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(*mut V) -> R) -> R {
        self.0.with_mut(act)
    }
}
