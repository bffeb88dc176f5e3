//! Makes buffered and rendezvous channels.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::CapacityError;
use crate::exchange::Exchange;
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Buffers above this many bytes are allocated once on trial by
/// [`try_bounded`]; smaller ones are taken to fit.
const TRIAL_BYTES: usize = 1 << 20;

/// A channel that buffers up to `capacity` values.
///
/// With room, a send completes at once; without, it waits until a receiver
/// has made room. `bounded(0)` is the same as [`rendezvous`]. The buffer is
/// allocated when it is first needed and grows on demand.
///
/// # Panics
///
/// If no buffer for `capacity` values can be allocated; the message names the
/// number. [`try_bounded`] returns an error instead.
///
/// # Examples
///
/// ```
/// use bowline_channel::{TrySendError, bounded};
///
/// let (sender, receiver) = bounded(1);
/// sender.try_send('a').unwrap();
/// assert_eq!(sender.try_send('b'), Err(TrySendError::Full('b')));
/// assert_eq!(receiver.try_recv(), Ok('a'));
/// ```
#[doc(alias = "make")]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    match try_bounded(capacity) {
        Ok(channel) => channel,
        Err(error) => panic!("{error}"),
    }
}

/// Like [`bounded`], for a capacity that may be too large.
///
/// # Errors
///
/// [`CapacityError`] if no buffer for `capacity` values can be allocated.
///
/// # Examples
///
/// ```
/// use bowline_channel::try_bounded;
///
/// assert!(try_bounded::<u64>(1_000).is_ok());
/// let error = try_bounded::<u64>(usize::MAX).unwrap_err();
/// assert_eq!(error.requested(), usize::MAX);
/// ```
pub fn try_bounded<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
    let error = CapacityError {
        requested: capacity,
    };
    // Also for values without a size, so that one number means one thing.
    if isize::try_from(capacity).is_err() {
        return Err(error);
    }
    let bytes = capacity.checked_mul(size_of::<T>()).ok_or(error)?;
    if bytes > TRIAL_BYTES {
        let mut trial = VecDeque::<T>::new();
        trial.try_reserve_exact(capacity).map_err(|_| error)?;
    }
    Ok(channel(capacity))
}

/// A channel without a buffer: each send completes when a receiver takes its
/// value, and not before.
///
/// "Takes" means that a receive was waiting for it. Should that receive be
/// dropped before it is polled again, the value becomes the first one for the
/// next receive; only then does `len()` of such a channel exceed 0.
///
/// # Examples
///
/// ```
/// use bowline_channel::{TrySendError, rendezvous};
///
/// let (sender, receiver) = rendezvous();
/// assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
///
/// let consumer = std::thread::spawn(move || receiver.recv_blocking());
/// sender.send_blocking(2).unwrap();
/// assert_eq!(consumer.join().unwrap(), Ok(2));
/// ```
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    channel(0)
}

fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let exchange = Arc::new(Exchange::new(capacity));
    (Sender::new(Arc::clone(&exchange)), Receiver::new(exchange))
}
