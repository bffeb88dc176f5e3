//! Closing when a block ends.

use std::fmt;
use std::ops::Deref;

use crate::flavor::{Flavor, Threads};
use crate::sender::Sender;

/// A sender that closes the channel when it is dropped, for all its senders,
/// from [`Sender::guard`](crate::Sender::guard).
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// let (sender, receiver) = bowline_channel::unbounded();
/// {
///     let sending = sender.guard();
///     sending.send(1).await?;
/// }
/// assert!(sender.is_closed());
/// assert_eq!(receiver.recv().await, Ok(1));
/// # Ok::<(), bowline_channel::SendError<i32>>(())
/// # }).unwrap();
/// ```
#[must_use = "the channel is closed as soon as the guard is dropped"]
pub struct CloseGuard<'a, T, F: Flavor = Threads> {
    sender: &'a Sender<T, F>,
}

impl<'a, T, F: Flavor> CloseGuard<'a, T, F> {
    pub(crate) fn new(sender: &'a Sender<T, F>) -> Self {
        Self { sender }
    }
}

impl<T, F: Flavor> Deref for CloseGuard<'_, T, F> {
    type Target = Sender<T, F>;

    fn deref(&self) -> &Sender<T, F> {
        self.sender
    }
}

impl<T, F: Flavor> Drop for CloseGuard<'_, T, F> {
    fn drop(&mut self) {
        self.sender.close();
    }
}

impl<T, F: Flavor> fmt::Debug for CloseGuard<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CloseGuard").field(self.sender).finish()
    }
}
