//! Where a channel is used: between threads, or within one.

use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

#[cfg(not(loom))]
mod spin_lock;

/// Whether the ends of a channel may be in different threads: [`Threads`], which
/// every type of this crate assumes unless told otherwise, or [`Local`].
///
/// Code that is to work with both names it as a parameter:
///
/// ```
/// use bowline_channel::{Flavor, Receiver, local, unbounded};
///
/// fn sum<F: Flavor>(receiver: &Receiver<u32, F>) -> u32 {
///     std::iter::from_fn(|| receiver.try_recv().ok()).sum()
/// }
///
/// let (sender, receiver) = unbounded();
/// sender.try_send(1).unwrap();
/// assert_eq!(sum(&receiver), 1);
/// let (sender, receiver) = local::unbounded();
/// sender.try_send(2).unwrap();
/// assert_eq!(sum(&receiver), 2);
/// ```
pub trait Flavor: sealed::Sealed {}

/// A channel between threads.
#[derive(Debug)]
pub enum Threads {}

/// A channel within one thread: no locked instruction, and no end can leave it.
#[derive(Debug)]
pub enum Local {}

impl Flavor for Threads {}
impl Flavor for Local {}

/// Keeps the flavours to the two there are, and their means to this crate.
pub(crate) mod sealed {
    use super::{Deref, DerefMut};

    pub trait Sealed: Sized + 'static {
        type Pointer<V>: Clone + Deref<Target = V> + Unpin;

        /// Lets one user at a time at a state.
        type Lock<S>;

        /// Holds a lock while it lives.
        type Guard<'a, S: 'a>: DerefMut<Target = S>;

        fn share<V>(value: V) -> Self::Pointer<V>;

        fn is_same<V>(one: &Self::Pointer<V>, other: &Self::Pointer<V>) -> bool {
            std::ptr::eq(&raw const **one, &raw const **other)
        }

        /// Whether nothing of the channel can reach another thread.
        const IS_LOCAL: bool;

        /// An unlocked `state`.
        fn guarded<S>(state: S) -> Self::Lock<S>;

        /// Waits for the lock.
        fn lock<S>(lock: &Self::Lock<S>) -> Self::Guard<'_, S>;

        /// The lock, if nobody has it.
        fn try_lock<S>(lock: &Self::Lock<S>) -> Option<Self::Guard<'_, S>>;
    }
}

impl sealed::Sealed for Threads {
    type Pointer<V> = Arc<V>;
    #[cfg(not(loom))]
    type Lock<S> = spin_lock::SpinLock<S>;
    #[cfg(not(loom))]
    type Guard<'a, S: 'a> = spin_lock::SpinGuard<'a, S>;
    /// The model checker knows no spinning, so its mutex stands in.
    #[cfg(loom)]
    type Lock<S> = loom::sync::Mutex<S>;
    #[cfg(loom)]
    type Guard<'a, S: 'a> = loom::sync::MutexGuard<'a, S>;

    const IS_LOCAL: bool = false;

    fn share<V>(value: V) -> Arc<V> {
        Arc::new(value)
    }

    fn guarded<S>(state: S) -> Self::Lock<S> {
        Self::Lock::new(state)
    }

    #[cfg(not(loom))]
    #[inline]
    fn lock<S>(lock: &Self::Lock<S>) -> Self::Guard<'_, S> {
        lock.lock()
    }

    #[cfg(not(loom))]
    #[inline]
    fn try_lock<S>(lock: &Self::Lock<S>) -> Option<Self::Guard<'_, S>> {
        lock.try_lock()
    }

    #[cfg(loom)]
    fn lock<S>(lock: &Self::Lock<S>) -> Self::Guard<'_, S> {
        lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// As if it were free: the models have enough to do with the other ways.
    #[cfg(loom)]
    fn try_lock<S>(lock: &Self::Lock<S>) -> Option<Self::Guard<'_, S>> {
        Some(Self::lock(lock))
    }
}

impl sealed::Sealed for Local {
    type Pointer<V> = Rc<V>;
    type Lock<S> = RefCell<S>;
    type Guard<'a, S: 'a> = RefMut<'a, S>;

    const IS_LOCAL: bool = true;

    fn share<V>(value: V) -> Rc<V> {
        Rc::new(value)
    }

    fn guarded<S>(state: S) -> RefCell<S> {
        RefCell::new(state)
    }

    #[inline]
    fn lock<S>(lock: &RefCell<S>) -> RefMut<'_, S> {
        // Nothing foreign runs under the lock, so nobody can come back for it.
        lock.borrow_mut()
    }

    #[inline]
    fn try_lock<S>(lock: &RefCell<S>) -> Option<RefMut<'_, S>> {
        lock.try_borrow_mut().ok()
    }
}
