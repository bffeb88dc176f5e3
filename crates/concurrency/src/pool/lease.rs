use super::item::Item;
use super::seat::Seat;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// An item of a [`Pool`](super::Pool) in use; dropped, it goes back.
///
/// Dropped by a panic it is not used again, as if [`discard`](Lease::discard)ed: nobody knows what
/// state it is in. Neither does anybody after a cancel in the middle of a request; discard it
/// there, or let the pool [`check`](super::PoolBuilder::check) its items. Where there is no clock,
/// such as that of a simulated world outside of it, the item is discarded if the pool has an
/// [`idle_timeout`](super::PoolBuilder::idle_timeout) or a [`max_age`](super::PoolBuilder::max_age).
#[must_use = "the item goes back when this is dropped"]
pub struct Lease<T> {
    /// Until it is dropped.
    held: Option<(Seat<T>, Item<T>)>,
}

const HELD: &str = "a lease has its item until it is dropped";

impl<T> Lease<T> {
    pub(super) fn new(seat: Seat<T>, item: Item<T>) -> Lease<T> {
        Lease {
            held: Some((seat, item)),
        }
    }

    /// Gives the place back without the item, which is not used again.
    ///
    /// The item is dropped, or closed, where the pool closes its items: by whoever has its place
    /// next, before a new item is made, or by [`close_retired`](super::Pool::close_retired).
    pub fn discard(mut self) {
        if let Some((mut seat, item)) = self.held.take() {
            seat.retire(item.value);
        }
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held.as_ref().expect(HELD).1.value
    }
}

impl<T> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held.as_mut().expect(HELD).1.value
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        let Some((mut seat, item)) = self.held.take() else {
            return;
        };
        match std::thread::panicking() {
            true => seat.retire(item.value),
            false => seat.give_back(item),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&**self).finish()
    }
}
