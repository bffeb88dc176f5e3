//! Room for one value, had before the value.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::SendError;
use crate::exchange::{Exchange, SendProgress};
use crate::flavor::{Flavor, Threads};

/// The future of [`Sender::reserve`](crate::Sender::reserve).
///
/// # Panics
///
/// If it is polled again after it has finished.
#[must_use = "a reservation does nothing unless it is awaited"]
pub struct ReserveFuture<'a, T, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
    progress: SendProgress<T>,
}

/// It never holds a value.
impl<T, F: Flavor> Unpin for ReserveFuture<'_, T, F> {}

impl<'a, T, F: Flavor> ReserveFuture<'a, T, F> {
    pub(crate) fn new(exchange: &'a Exchange<T, F>) -> Self {
        Self {
            exchange,
            progress: SendProgress::reserve(),
        }
    }
}

impl<'a, T, F: Flavor> Future for ReserveFuture<'a, T, F> {
    type Output = Result<Permit<'a, T, F>, SendError<()>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.exchange
            .poll_reserve(&mut this.progress, context)
            .map_ok(|()| Permit::new(this.exchange))
    }
}

impl<T, F: Flavor> Drop for ReserveFuture<'_, T, F> {
    fn drop(&mut self) {
        if let SendProgress::Parked(key) = self.progress {
            self.exchange.forget_send(key);
        }
    }
}

impl<T, F: Flavor> fmt::Debug for ReserveFuture<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReserveFuture")
            .field(&self.progress.stage())
            .finish()
    }
}

/// Room for one value, from [`Sender::reserve`](crate::Sender::reserve).
///
/// Dropping it unused gives the room to the next sender. While there is one, a
/// channel that was closed may still get its value, so receivers wait for it.
#[must_use = "an unused permit keeps a place in the channel occupied until it is dropped"]
pub struct Permit<'a, T, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
}

impl<'a, T, F: Flavor> Permit<'a, T, F> {
    /// Takes over a slot that was reserved.
    pub(crate) fn new(exchange: &'a Exchange<T, F>) -> Self {
        Self { exchange }
    }

    /// Sends a value, which neither waits nor fails.
    ///
    /// If the last receiver is gone, the value is dropped, as one that was
    /// buffered would have been.
    pub fn send(self, value: T) {
        let exchange = self.exchange;
        // The slot goes with the value.
        std::mem::forget(self);
        exchange.fill_slot(value);
    }
}

impl<T, F: Flavor> Drop for Permit<'_, T, F> {
    fn drop(&mut self) {
        self.exchange.release_slots(1);
    }
}

impl<T, F: Flavor> fmt::Debug for Permit<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
