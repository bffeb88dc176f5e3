//! Every receiver sees every value.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::{BroadcastRecvError, SendError, TryBroadcastRecvError, TrySendError};
use crate::flavor::Threads;
use crate::flavor::sealed::Sealed;
use crate::park;
use crate::wait_list::Key;
use crate::wakes::Wakes;

mod state;

use state::{Found, Sending, State};

/// What happens when a receiver is so far behind that there is no room for
/// another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lag {
    /// Senders wait for the slowest receiver; nothing is lost.
    #[default]
    Block,
    /// The oldest value goes, and receivers that had not had it are told how
    /// many they missed.
    DropOldest,
    /// Receivers that had not had the oldest value are told how many they
    /// missed, and get nothing more.
    Close,
}

/// A channel in which every receiver gets every value that is sent after it
/// joined; `capacity` values are kept for those that are behind, at least one.
///
/// # Examples
///
/// ```
/// use bowline_channel::{BroadcastRecvError, Lag, broadcast};
///
/// # futures_lite::future::block_on(async {
/// let (sender, mut slow) = broadcast(2, Lag::DropOldest);
/// let mut quick = sender.subscribe();
/// for n in 1..=3 {
///     sender.send(n).await.unwrap();
///     assert_eq!(quick.recv().await, Ok(n));
/// }
/// assert_eq!(slow.recv().await, Err(BroadcastRecvError::Lagged(1)));
/// assert_eq!(slow.recv().await, Ok(2));
/// # });
/// ```
pub fn broadcast<T: Clone>(
    capacity: usize,
    lag: Lag,
) -> (BroadcastSender<T>, BroadcastReceiver<T>) {
    let mut state = State::new(capacity.max(1), lag);
    let place = state.join(None);
    let air = Arc::new(Air {
        state: Threads::guarded(state),
    });
    let sender = BroadcastSender {
        air: Arc::clone(&air),
    };
    (sender, BroadcastReceiver { air, place })
}

/// Wakers are woken and values dropped only after the lock was released.
struct Air<T> {
    state: <Threads as Sealed>::Lock<State<T>>,
}

impl<T> Air<T> {
    fn lock(&self) -> <Threads as Sealed>::Guard<'_, State<T>> {
        Threads::lock(&self.state)
    }

    fn close(&self) {
        let mut wakes = Wakes::default();
        self.lock().close(&mut wakes);
        wakes.wake();
    }

    fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        if state.closed || state.receivers == 0 {
            drop(state);
            return Err(TrySendError::Closed(value));
        }
        if !state.has_room() {
            drop(state);
            return Err(TrySendError::Full(value));
        }
        let dropped = state.accept(value, &mut wakes);
        drop(state);
        wakes.wake();
        drop(dropped);
        Ok(())
    }
}

/// The sending end of [`broadcast`]; a clone of it is another sender. When the
/// last one is dropped the channel is closed.
pub struct BroadcastSender<T> {
    air: Arc<Air<T>>,
}

impl<T: Clone> BroadcastSender<T> {
    /// Sends a value to every receiver there is; waits only under
    /// [`Lag::Block`].
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if the channel is closed or there is
    /// no receiver.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, or the value was sent; *place in queue lost*. A value
    /// that was not sent is dropped with the future.
    pub fn send(&self, value: T) -> BroadcastSendFuture<'_, T> {
        BroadcastSendFuture {
            air: &self.air,
            value: Some(value),
            parked: None,
        }
    }

    /// Sends a value if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] gives the value back: `Full` while a receiver lags under
    /// [`Lag::Block`], `Closed` if the channel is closed or nobody receives.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.air.try_send(value)
    }

    /// Sends a value to every receiver there is, parking the thread while one
    /// lags under [`Lag::Block`].
    ///
    /// For threads outside a runtime: in a task it would block the worker. It
    /// waits in the same queue as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if the channel is closed or there is
    /// no receiver, also if that happens while the send waits.
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendError(value)),
            Err(TrySendError::Full(value)) => park::wait_for(self.send(value)),
        }
    }

    /// A receiver of all values sent from now on.
    pub fn subscribe(&self) -> BroadcastReceiver<T> {
        let place = self.air.lock().join(None);
        BroadcastReceiver {
            air: Arc::clone(&self.air),
            place,
        }
    }

    /// Closes the channel: senders that wait get their values back, receivers
    /// get what is there and then an error.
    pub fn close(&self) {
        self.air.close();
    }

    /// Whether the channel was closed.
    pub fn is_closed(&self) -> bool {
        self.air.lock().closed
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.air.lock().receivers
    }

    /// How many values are kept for receivers that have not had them.
    pub fn len(&self) -> usize {
        self.air.lock().len()
    }

    /// Whether every receiver has had everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for BroadcastSender<T> {
    fn clone(&self) -> Self {
        self.air.lock().senders += 1;
        Self {
            air: Arc::clone(&self.air),
        }
    }
}

impl<T> Drop for BroadcastSender<T> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        let mut state = self.air.lock();
        state.senders -= 1;
        if state.senders == 0 {
            state.close(&mut wakes);
        }
        drop(state);
        wakes.wake();
    }
}

impl<T> fmt::Debug for BroadcastSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSender").finish_non_exhaustive()
    }
}

/// The future of [`BroadcastSender::send`].
///
/// # Panics
///
/// If it is polled again after it has finished.
#[must_use = "a send does nothing unless it is awaited, and the value is dropped with it"]
pub struct BroadcastSendFuture<'a, T> {
    air: &'a Air<T>,
    value: Option<T>,
    parked: Option<Key>,
}

/// The value is owned, never pinned.
impl<T> Unpin for BroadcastSendFuture<'_, T> {}

impl<T> Future for BroadcastSendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let waker = context.waker().clone();
        if let Some(key) = this.parked {
            let mut state = this.air.lock();
            let renewed = state.renew_send(key, waker);
            let outcome = match renewed {
                Ok(_) => None,
                Err(_) => state.remove_send(key),
            };
            drop(state);
            drop(renewed);
            return match outcome {
                None => Poll::Pending,
                Some(Sending::Returned(value)) => {
                    this.parked = None;
                    Poll::Ready(Err(SendError(value)))
                }
                Some(_) => {
                    this.parked = None;
                    Poll::Ready(Ok(()))
                }
            };
        }
        let value = this
            .value
            .take()
            .expect("a send was polled after it had finished");
        let value = match this.air.try_send(value) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(TrySendError::Closed(value)) => return Poll::Ready(Err(SendError(value))),
            Err(TrySendError::Full(value)) => value,
        };
        let mut state = this.air.lock();
        if !state.closed && state.receivers > 0 && !state.has_room() {
            this.parked = Some(state.park_send(value, waker));
            return Poll::Pending;
        }
        drop(state);
        // Something changed in between.
        this.value = Some(value);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for BroadcastSendFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.parked.take() {
            let sending = self.air.lock().remove_send(key);
            drop(sending);
        }
    }
}

impl<T> fmt::Debug for BroadcastSendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSendFuture")
            .field("parked", &self.parked.is_some())
            .finish_non_exhaustive()
    }
}

/// A receiving end of [`broadcast`]; a clone of it goes on where it is.
pub struct BroadcastReceiver<T> {
    air: Arc<Air<T>>,
    place: usize,
}

impl<T: Clone> BroadcastReceiver<T> {
    /// Receives the next value, waiting for one to be sent.
    ///
    /// # Errors
    ///
    /// [`BroadcastRecvError::Lagged`] says how many values were missed since the
    /// last one; under [`Lag::DropOldest`] the next receive goes on after them.
    /// [`BroadcastRecvError::Closed`] comes at the end.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*.
    pub fn recv(&mut self) -> BroadcastRecvFuture<'_, T> {
        BroadcastRecvFuture {
            receiver: self,
            parked: None,
        }
    }

    /// Receives the next value if that needs no waiting.
    ///
    /// # Errors
    ///
    /// Like [`recv`](Self::recv), and [`TryBroadcastRecvError::Empty`].
    pub fn try_recv(&mut self) -> Result<T, TryBroadcastRecvError> {
        let mut wakes = Wakes::default();
        let mut state = self.air.lock();
        let (found, dropped) = state.take(self.place, &mut wakes);
        drop(state);
        // Before a waker may panic: a value that was taken is cloned from ours.
        drop(dropped);
        wakes.wake();
        match found {
            Found::Value(value) => Ok(Arc::unwrap_or_clone(value)),
            Found::Missed(count) => Err(TryBroadcastRecvError::Lagged(count)),
            Found::Nothing => Err(TryBroadcastRecvError::Empty),
            Found::End => Err(TryBroadcastRecvError::Closed),
        }
    }

    /// Receives the next value, parking the thread until one is sent.
    ///
    /// For threads outside a runtime: in a task it would block the worker.
    ///
    /// # Errors
    ///
    /// Like [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_channel::{BroadcastRecvError, Lag, broadcast};
    ///
    /// let (sender, mut receiver) = broadcast(1, Lag::Block);
    /// let reader = std::thread::spawn(move || {
    ///     assert_eq!(receiver.recv_blocking(), Ok('a'));
    ///     assert_eq!(receiver.recv_blocking(), Ok('b'));
    ///     receiver.recv_blocking()
    /// });
    /// sender.send_blocking('a').unwrap();
    /// sender.send_blocking('b').unwrap();
    /// drop(sender);
    /// assert_eq!(reader.join().unwrap(), Err(BroadcastRecvError::Closed));
    /// ```
    pub fn recv_blocking(&mut self) -> Result<T, BroadcastRecvError> {
        park::wait_for(self.recv())
    }
}

impl<T> Clone for BroadcastReceiver<T> {
    fn clone(&self) -> Self {
        let place = self.air.lock().join(Some(self.place));
        Self {
            air: Arc::clone(&self.air),
            place,
        }
    }
}

impl<T> Drop for BroadcastReceiver<T> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        let dropped = self.air.lock().leave(self.place, &mut wakes);
        wakes.wake();
        drop(dropped);
    }
}

impl<T> fmt::Debug for BroadcastReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceiver").finish_non_exhaustive()
    }
}

/// The future of [`BroadcastReceiver::recv`].
#[must_use = "a receive does nothing unless it is awaited"]
pub struct BroadcastRecvFuture<'a, T> {
    receiver: &'a mut BroadcastReceiver<T>,
    parked: Option<Key>,
}

impl<T: Clone> Future for BroadcastRecvFuture<'_, T> {
    type Output = Result<T, BroadcastRecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let waker = context.waker().clone();
        let mut wakes = Wakes::default();
        let air = &this.receiver.air;
        let mut state = air.lock();
        let known = this.parked.take().and_then(|key| state.remove_recv(key));
        let (found, dropped) = state.take(this.receiver.place, &mut wakes);
        if let Found::Nothing = found {
            // All are woken at once, so the place in the queue means nothing.
            this.parked = Some(state.park_recv(waker));
        }
        drop(state);
        drop((known, dropped));
        wakes.wake();
        Poll::Ready(match found {
            Found::Value(value) => Ok(Arc::unwrap_or_clone(value)),
            Found::Missed(count) => Err(BroadcastRecvError::Lagged(count)),
            Found::End => Err(BroadcastRecvError::Closed),
            Found::Nothing => return Poll::Pending,
        })
    }
}

impl<T> Drop for BroadcastRecvFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.parked.take() {
            let waker = self.receiver.air.lock().remove_recv(key);
            drop(waker);
        }
    }
}

impl<T> fmt::Debug for BroadcastRecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastRecvFuture")
            .field("parked", &self.parked.is_some())
            .finish_non_exhaustive()
    }
}
