//! The latest value, for many readers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::{RecvError, SendError};
use crate::flavor::Threads;
use crate::flavor::sealed::Sealed;
use crate::park;
use crate::wait_list::{Key, WaitList};
use crate::wakes::Wakes;

/// A channel that holds one value, the latest: a reader that was busy sees what
/// is true now and not what was true in between.
///
/// The last value is never missed: it can still be received after the sender
/// is gone.
///
/// # Examples
///
/// ```
/// use bowline_channel::{RecvError, watch};
///
/// # futures_lite::future::block_on(async {
/// let (sender, mut receiver) = watch("starting");
/// assert_eq!(*receiver.latest(), "starting");
/// sender.send("ready").unwrap();
/// sender.send("stopping").unwrap();
/// assert_eq!(*receiver.changed().await.unwrap(), "stopping");
/// drop(sender);
/// assert_eq!(receiver.changed().await, Err(RecvError));
/// # });
/// ```
pub fn watch<T>(initial: T) -> (WatchSender<T>, WatchReceiver<T>) {
    let board = Arc::new(Board {
        state: Threads::guarded(State {
            value: Arc::new(initial),
            version: 0,
            closed: false,
            receivers: 1,
            waiting: WaitList::new(),
        }),
    });
    let sender = WatchSender {
        board: Arc::clone(&board),
    };
    (sender, WatchReceiver { board, seen: 0 })
}

/// Wakers are woken and values dropped only after the lock was released.
struct Board<T> {
    state: <Threads as Sealed>::Lock<State<T>>,
}

/// Invariants, true whenever the lock is free:
/// 1. `version` counts the values sent; a reader has a change to see exactly
///    while its own count is lower.
/// 2. Who is queued in `waiting` has seen the latest version, and the sender is
///    there.
struct State<T> {
    value: Arc<T>,
    version: u64,
    closed: bool,
    receivers: usize,
    waiting: WaitList<Option<Waker>>,
}

impl<T> State<T> {
    /// Takes everybody out of the queue.
    fn notify(&mut self, wakes: &mut Wakes) {
        while let Some(key) = self.waiting.front() {
            if let Some(waker) = self.waiting.settle(key) {
                wakes.extend(waker.take());
            }
        }
    }
}

impl<T> Board<T> {
    fn lock(&self) -> <Threads as Sealed>::Guard<'_, State<T>> {
        Threads::lock(&self.state)
    }

    fn leave(&self, key: Key) {
        let waker = self.lock().waiting.remove(key);
        drop(waker);
    }
}

/// The end of [`watch`] that sets the value. Dropping it ends the watch.
pub struct WatchSender<T> {
    board: Arc<Board<T>>,
}

impl<T> WatchSender<T> {
    /// Sets the value, which never waits.
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if there is no receiver; the latest
    /// value stays what it was, also for those that [subscribe](Self::subscribe)
    /// later.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut wakes = Wakes::default();
        let mut state = self.board.lock();
        if state.receivers == 0 {
            drop(state);
            return Err(SendError(value));
        }
        let replaced = std::mem::replace(&mut state.value, Arc::new(value));
        state.version += 1;
        state.notify(&mut wakes);
        drop(state);
        wakes.wake();
        drop(replaced);
        Ok(())
    }

    /// The latest value.
    pub fn latest(&self) -> Arc<T> {
        Arc::clone(&self.board.lock().value)
    }

    /// A receiver that has seen the latest value.
    pub fn subscribe(&self) -> WatchReceiver<T> {
        let mut state = self.board.lock();
        state.receivers += 1;
        let seen = state.version;
        drop(state);
        WatchReceiver {
            board: Arc::clone(&self.board),
            seen,
        }
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.board.lock().receivers
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        let mut state = self.board.lock();
        state.closed = true;
        state.notify(&mut wakes);
        drop(state);
        wakes.wake();
    }
}

impl<T> fmt::Debug for WatchSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchSender")
            .field("receivers", &self.receiver_count())
            .finish_non_exhaustive()
    }
}

/// An end of [`watch`] that sees the latest value; a clone has seen as much.
pub struct WatchReceiver<T> {
    board: Arc<Board<T>>,
    seen: u64,
}

impl<T> WatchReceiver<T> {
    /// The latest value, without noting that it was seen.
    pub fn latest(&self) -> Arc<T> {
        Arc::clone(&self.board.lock().value)
    }

    /// Whether there is a value that [`changed`](Self::changed) has not given.
    pub fn has_changed(&self) -> bool {
        self.board.lock().version > self.seen
    }

    /// Whether the sender is gone.
    pub fn is_closed(&self) -> bool {
        self.board.lock().closed
    }

    /// Waits for a value this receiver has not seen, and gives the latest one.
    ///
    /// Values that were replaced before it looked are passed over.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the sender is gone and the last value was seen.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a value counts as seen only when it was given.
    pub fn changed(&mut self) -> ChangedFuture<'_, T> {
        ChangedFuture {
            receiver: self,
            parked: None,
        }
    }

    /// Like [`changed`](Self::changed), parking the thread until there is a value
    /// this receiver has not seen.
    ///
    /// For threads outside a runtime: in a task it would block the worker.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the sender is gone and the last value was seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_channel::watch;
    ///
    /// let (sender, mut receiver) = watch(0);
    /// let reader = std::thread::spawn(move || {
    ///     let mut last = 0;
    ///     while let Ok(value) = receiver.changed_blocking() {
    ///         last = *value;
    ///     }
    ///     last
    /// });
    /// for n in 1..=3 {
    ///     sender.send(n).unwrap();
    /// }
    /// drop(sender);
    /// assert_eq!(reader.join().unwrap(), 3);
    /// ```
    pub fn changed_blocking(&mut self) -> Result<Arc<T>, RecvError> {
        park::wait_for(self.changed())
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        self.board.lock().receivers += 1;
        Self {
            board: Arc::clone(&self.board),
            seen: self.seen,
        }
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        self.board.lock().receivers -= 1;
    }
}

impl<T> fmt::Debug for WatchReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchReceiver")
            .field("changed", &self.has_changed())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The future of [`WatchReceiver::changed`].
#[must_use = "a receive does nothing unless it is awaited"]
pub struct ChangedFuture<'a, T> {
    receiver: &'a mut WatchReceiver<T>,
    parked: Option<Key>,
}

impl<T> Future for ChangedFuture<'_, T> {
    type Output = Result<Arc<T>, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let waker = context.waker().clone();
        let mut state = this.receiver.board.lock();
        let known = this.parked.take().and_then(|key| state.waiting.remove(key));
        let outcome = if state.version > this.receiver.seen {
            this.receiver.seen = state.version;
            Poll::Ready(Ok(Arc::clone(&state.value)))
        } else if state.closed {
            Poll::Ready(Err(RecvError))
        } else {
            // All are woken at once, so the place in the queue means nothing.
            this.parked = Some(state.waiting.push_back(Some(waker)));
            Poll::Pending
        };
        drop(state);
        drop(known);
        outcome
    }
}

impl<T> Drop for ChangedFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.parked.take() {
            self.receiver.board.leave(key);
        }
    }
}

impl<T> fmt::Debug for ChangedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangedFuture")
            .field("parked", &self.parked.is_some())
            .finish_non_exhaustive()
    }
}
