use super::Lock;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The value of a [`Lock`], until it is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
    /// `None` only inside `drop`.
    value: Option<T>,
}

/// The value of a [`Lock`] that this keeps alive, until it is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct OwnedLockGuard<T> {
    lock: Arc<Lock<T>>,
    /// `None` only inside `drop`.
    value: Option<T>,
}

impl<'a, T> LockGuard<'a, T> {
    pub(super) fn new(lock: &'a Lock<T>, value: T) -> Self {
        let value = Some(value);
        LockGuard { lock, value }
    }

    pub(in crate::sync) fn lock(&self) -> &'a Lock<T> {
        self.lock
    }
}

impl<T> OwnedLockGuard<T> {
    pub(super) fn new(lock: Arc<Lock<T>>, value: T) -> Self {
        let value = Some(value);
        OwnedLockGuard { lock, value }
    }
}

macro_rules! guard {
    ($name:ident[$($generics:tt)*]) => {
        impl<$($generics)*> Deref for $name<$($generics)*> {
            type Target = T;

            fn deref(&self) -> &T {
                self.value.as_ref().expect("a guard has the value until it is dropped")
            }
        }

        impl<$($generics)*> DerefMut for $name<$($generics)*> {
            fn deref_mut(&mut self) -> &mut T {
                self.value.as_mut().expect("a guard has the value until it is dropped")
            }
        }

        impl<$($generics)*> Drop for $name<$($generics)*> {
            fn drop(&mut self) {
                if let Some(value) = self.value.take() {
                    self.lock.release(value);
                }
            }
        }
    };
}

guard!(LockGuard['a, T]);
guard!(OwnedLockGuard[T]);

impl<T: fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&**self).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for OwnedLockGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedLockGuard").field(&**self).finish()
    }
}
