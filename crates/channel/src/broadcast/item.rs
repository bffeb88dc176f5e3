//! A value on its way out of a broadcast.

use std::sync::Arc;

/// Where a value lies, so that a receiver can clone it while the lock is free;
/// empty only while it is kept for the next value.
pub(super) type Shared<T> = Arc<Option<T>>;

/// A value outside the state.
pub(super) enum Item<T> {
    /// Nobody else wants it.
    Own(T),
    /// Others have yet to have it, or are cloning it.
    Shared(Shared<T>),
}

/// A value that a receiver was given and has not returned yet: should a waker or
/// its `clone` panic before that, it is left for the next receive.
pub(super) struct Undelivered<'a, T> {
    item: Option<Item<T>>,
    left: &'a mut Option<Shared<T>>,
}

impl<'a, T> Undelivered<'a, T> {
    pub(super) fn new(item: Item<T>, left: &'a mut Option<Shared<T>>) -> Self {
        Self {
            item: Some(item),
            left,
        }
    }

    /// What was left by the receive before, if that panicked.
    pub(super) fn left(left: &'a mut Option<Shared<T>>) -> Option<Self> {
        let item = Item::Shared(left.take()?);
        Some(Self::new(item, left))
    }
}

impl<T: Clone> Undelivered<'_, T> {
    /// The value, or a clone of it if others want it too.
    pub(super) fn deliver(mut self) -> T {
        let cloned = match &mut self.item {
            Some(Item::Shared(shared)) => match Arc::get_mut(shared) {
                Some(value) => value.take(),
                None => Option::clone(shared),
            },
            _ => None,
        };
        let own = match self.item.take() {
            Some(Item::Own(value)) => Some(value),
            _ => cloned,
        };
        own.expect("an item has a value until it is delivered")
    }
}

impl<T> Drop for Undelivered<'_, T> {
    fn drop(&mut self) {
        *self.left = match self.item.take() {
            None => return,
            Some(Item::Own(value)) => Some(Arc::new(Some(value))),
            Some(Item::Shared(shared)) => Some(shared),
        };
    }
}
