//! Makes channels between threads.

use std::collections::VecDeque;

use crate::error::CapacityError;
use crate::exchange::Exchange;
use crate::flavor::sealed::Sealed;
use crate::flavor::{Flavor, Threads};
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
    open_bounded(capacity)
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
    open(0)
}

/// A channel whose buffer has no bound, so that no send waits.
///
/// Where senders outrun receivers it grows until memory ends: there is no
/// back-pressure, which is why it has to be asked for by this name. A burst's
/// memory is given back when the channel is drained.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = bowline_channel::unbounded();
/// for n in 0..1_000 {
///     sender.try_send(n).unwrap();
/// }
/// assert_eq!(sender.capacity(), None);
/// assert_eq!(receiver.try_recv(), Ok(0));
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    open(usize::MAX)
}

/// A receiver to which nothing is ever sent, and which is never closed: what a
/// nil channel is in Go, for an arm of a select that is to be out of the game.
///
/// # Examples
///
/// ```
/// use bowline_channel::{TryRecvError, never};
///
/// assert_eq!(never::<u8>().try_recv(), Err(TryRecvError::Empty));
/// ```
#[doc(alias = "nil")]
pub fn never<T>() -> Receiver<T> {
    // It counts a sender that nobody has.
    Receiver::new(Threads::share(Exchange::new(0)))
}

/// Both ends of a channel.
type Ends<T, F> = (Sender<T, F>, Receiver<T, F>);

pub(crate) fn open_bounded<T, F: Flavor>(capacity: usize) -> Result<Ends<T, F>, CapacityError> {
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
    Ok(open(capacity))
}

pub(crate) fn open<T, F: Flavor>(capacity: usize) -> Ends<T, F> {
    let exchange = F::share(Exchange::new(capacity));
    (Sender::new(exchange.clone()), Receiver::new(exchange))
}
