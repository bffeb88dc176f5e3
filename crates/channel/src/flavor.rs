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

/// A channel within one thread: no atomic operation, and no end can leave it.
#[derive(Debug)]
pub enum Local {}

impl Flavor for Threads {}
impl Flavor for Local {}

/// Keeps the flavours to the two there are, and their means to this crate.
pub(crate) mod sealed {
    use super::{Deref, Lock};

    pub trait Sealed: Sized + 'static {
        type Pointer<V>: Clone + Deref<Target = V> + Unpin;
        type Lock<S>: Lock<S>;

        fn share<V>(value: V) -> Self::Pointer<V>;

        fn is_same<V>(one: &Self::Pointer<V>, other: &Self::Pointer<V>) -> bool {
            std::ptr::eq(&raw const **one, &raw const **other)
        }
    }
}

/// Lets one user at a time at a state.
pub trait Lock<S> {
    /// Holds the lock while it lives.
    type Guard<'a>: DerefMut<Target = S>
    where
        Self: 'a;

    /// An unlocked `state`.
    fn new(state: S) -> Self;

    /// Waits for the lock.
    fn lock(&self) -> Self::Guard<'_>;

    /// The lock, if nobody has it.
    fn try_lock(&self) -> Option<Self::Guard<'_>>;
}

impl sealed::Sealed for Threads {
    type Pointer<V> = Arc<V>;
    #[cfg(not(loom))]
    type Lock<S> = spin_lock::SpinLock<S>;
    #[cfg(loom)]
    type Lock<S> = ModelLock<S>;

    fn share<V>(value: V) -> Arc<V> {
        Arc::new(value)
    }
}

impl sealed::Sealed for Local {
    type Pointer<V> = Rc<V>;
    type Lock<S> = RefCell<S>;

    fn share<V>(value: V) -> Rc<V> {
        Rc::new(value)
    }
}

impl<S> Lock<S> for RefCell<S> {
    type Guard<'a>
        = RefMut<'a, S>
    where
        S: 'a;

    fn new(state: S) -> Self {
        RefCell::new(state)
    }

    #[inline]
    fn lock(&self) -> RefMut<'_, S> {
        // Nothing foreign runs under the lock, so nobody can come back for it.
        self.borrow_mut()
    }

    #[inline]
    fn try_lock(&self) -> Option<RefMut<'_, S>> {
        self.try_borrow_mut().ok()
    }
}

/// The model checker knows no spinning, so its mutex stands in.
#[cfg(loom)]
#[derive(Debug)]
pub struct ModelLock<S>(loom::sync::Mutex<S>);

#[cfg(loom)]
impl<S> Lock<S> for ModelLock<S> {
    type Guard<'a>
        = loom::sync::MutexGuard<'a, S>
    where
        S: 'a;

    fn new(state: S) -> Self {
        Self(loom::sync::Mutex::new(state))
    }

    fn lock(&self) -> loom::sync::MutexGuard<'_, S> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn try_lock(&self) -> Option<loom::sync::MutexGuard<'_, S>> {
        // As a free one: a model has enough to do with the ways of the others.
        Some(self.lock())
    }
}
