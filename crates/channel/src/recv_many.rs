//! Receiving many values at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::RecvError;
use crate::exchange::Exchange;
use crate::flavor::{Flavor, Threads};
use crate::wait_list::Key;

/// The future of [`Receiver::recv_many`](crate::Receiver::recv_many).
#[must_use = "a receive does nothing unless it is awaited"]
pub struct RecvManyFuture<'a, T, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
    into: &'a mut Vec<T>,
    most: usize,
    parked: Option<Key>,
}

impl<'a, T, F: Flavor> RecvManyFuture<'a, T, F> {
    pub(crate) fn new(exchange: &'a Exchange<T, F>, into: &'a mut Vec<T>, most: usize) -> Self {
        Self {
            exchange,
            into,
            most,
            parked: None,
        }
    }
}

impl<T, F: Flavor> Future for RecvManyFuture<'_, T, F> {
    type Output = Result<usize, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.exchange
            .poll_recv_many(&mut this.parked, this.into, this.most, context)
    }
}

impl<T, F: Flavor> Drop for RecvManyFuture<'_, T, F> {
    fn drop(&mut self) {
        if let Some(key) = self.parked.take() {
            self.exchange.forget_recv(key);
        }
    }
}

impl<T, F: Flavor> fmt::Debug for RecvManyFuture<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvManyFuture")
            .field("most", &self.most)
            .field("parked", &self.parked.is_some())
            .finish_non_exhaustive()
    }
}
