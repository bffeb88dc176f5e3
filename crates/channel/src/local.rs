//! The same channels within one thread, without locked instructions; a select has some if a channel
//! between threads is among its arms, too.
//!
//! Ends, futures and errors are those of the crate's root with another
//! [`Flavor`](crate::Flavor), so everything said there holds here. No end can
//! be sent to another thread:
//!
//! ```compile_fail
//! let (sender, receiver) = bowline_channel::local::bounded(1);
//! std::thread::spawn(move || sender.try_send(1));
//! # let _: bowline_channel::local::Receiver<i32> = receiver;
//! ```

use crate::error::CapacityError;
use crate::flavor::Local;
use crate::opening::{open, open_bounded};

/// The sending end of a local channel.
pub type Sender<T> = crate::sender::Sender<T, Local>;

/// The receiving end of a local channel.
pub type Receiver<T> = crate::receiver::Receiver<T, Local>;

/// The sending end of a local [`oneshot`].
pub type OneshotSender<T> = crate::oneshot::OneshotSender<T, Local>;

/// The receiving end of a local [`oneshot`].
pub type OneshotReceiver<T> = crate::oneshot::OneshotReceiver<T, Local>;

/// Like [`bounded`](crate::bounded).
///
/// # Panics
///
/// If no buffer for `capacity` values can be allocated; the message names the
/// number. [`try_bounded`] returns an error instead.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = bowline_channel::local::bounded(1);
/// sender.try_send(std::rc::Rc::new(1)).unwrap();
/// assert_eq!(*receiver.try_recv().unwrap(), 1);
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    match try_bounded(capacity) {
        Ok(channel) => channel,
        Err(error) => panic!("{error}"),
    }
}

/// Like [`try_bounded`](crate::try_bounded).
///
/// # Errors
///
/// [`CapacityError`] if no buffer for `capacity` values can be allocated.
pub fn try_bounded<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
    open_bounded(capacity)
}

/// Like [`rendezvous`](crate::rendezvous).
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    open(0)
}

/// Like [`unbounded`](crate::unbounded).
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    open(usize::MAX)
}

/// Like [`oneshot`](crate::oneshot).
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    crate::oneshot::open()
}
