//! Handles that do not keep a channel open.

use std::fmt;

use crate::exchange::Exchange;
use crate::flavor::sealed::Sealed;
use crate::flavor::{Flavor, Threads};
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Remembers a channel without being one of its senders, from
/// [`Sender::downgrade`](crate::Sender::downgrade).
///
/// It keeps the memory of the channel itself, but no value and nothing open.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = bowline_channel::bounded(1);
/// let weak = sender.downgrade();
/// weak.upgrade().expect("there is a sender").try_send(1).unwrap();
/// drop(sender);
/// assert!(weak.upgrade().is_none());
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub struct WeakSender<T, F: Flavor = Threads> {
    exchange: <F as Sealed>::Pointer<Exchange<T, F>>,
}

impl<T, F: Flavor> WeakSender<T, F> {
    pub(crate) fn new(exchange: <F as Sealed>::Pointer<Exchange<T, F>>) -> Self {
        Self { exchange }
    }

    /// Another sender, unless the channel is closed.
    pub fn upgrade(&self) -> Option<Sender<T, F>> {
        self.exchange
            .revive_sender()
            .then(|| Sender::new(self.exchange.clone()))
    }
}

impl<T, F: Flavor> Clone for WeakSender<T, F> {
    fn clone(&self) -> Self {
        Self::new(self.exchange.clone())
    }
}

impl<T, F: Flavor> fmt::Debug for WeakSender<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSender").finish_non_exhaustive()
    }
}

/// Remembers a channel without being one of its receivers, from
/// [`Receiver::downgrade`](crate::Receiver::downgrade).
///
/// It keeps the memory of the channel itself, but no value and nothing open.
pub struct WeakReceiver<T, F: Flavor = Threads> {
    exchange: <F as Sealed>::Pointer<Exchange<T, F>>,
}

impl<T, F: Flavor> WeakReceiver<T, F> {
    pub(crate) fn new(exchange: <F as Sealed>::Pointer<Exchange<T, F>>) -> Self {
        Self { exchange }
    }

    /// Another receiver, unless the last one is gone. A closed channel can
    /// still be drained by it.
    pub fn upgrade(&self) -> Option<Receiver<T, F>> {
        self.exchange
            .revive_receiver()
            .then(|| Receiver::new(self.exchange.clone()))
    }
}

impl<T, F: Flavor> Clone for WeakReceiver<T, F> {
    fn clone(&self) -> Self {
        Self::new(self.exchange.clone())
    }
}

impl<T, F: Flavor> fmt::Debug for WeakReceiver<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakReceiver").finish_non_exhaustive()
    }
}
