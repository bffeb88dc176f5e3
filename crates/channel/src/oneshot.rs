//! One value from one sender to one receiver.

use std::fmt;
use std::future::{self, Future};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::{RecvError, SendError, TryRecvError};
use crate::flavor::sealed::Sealed;
use crate::flavor::{Flavor, Threads};
use crate::park;

/// A channel for a single value, such as the answer to a question.
///
/// # Examples
///
/// ```
/// use bowline_channel::oneshot;
///
/// # futures_lite::future::block_on(async {
/// let (sender, receiver) = oneshot();
/// std::thread::spawn(move || sender.send(42).unwrap());
/// assert_eq!(receiver.await, Ok(42));
/// # });
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    open()
}

pub(crate) fn open<T, F: Flavor>() -> (OneshotSender<T, F>, OneshotReceiver<T, F>) {
    let slot = F::share(Slot {
        state: F::guarded(State {
            value: None,
            receiving: None,
            watching: None,
            sender_gone: false,
            receiver_closed: false,
        }),
    });
    (
        OneshotSender { slot: slot.clone() },
        OneshotReceiver { slot },
    )
}

/// Wakers and values are woken and dropped only after the lock was released.
struct Slot<T, F: Flavor> {
    state: <F as Sealed>::Lock<State<T>>,
}

/// Invariants, true whenever the lock is free:
/// 1. `value` is set only together with `sender_gone` and only while
///    `receiver_closed` is not set; a later close leaves it in place.
/// 2. Both wakers are empty once `sender_gone` or `receiver_closed` is set.
struct State<T> {
    value: Option<T>,
    /// Wakes the receiver when the outcome is there.
    receiving: Option<Waker>,
    /// Wakes the sender when nobody wants its value any more.
    watching: Option<Waker>,
    sender_gone: bool,
    receiver_closed: bool,
}

impl<T, F: Flavor> Slot<T, F> {
    fn lock(&self) -> <F as Sealed>::Guard<'_, State<T>> {
        F::lock(&self.state)
    }

    /// The sender is gone, with or without leaving a value.
    fn finish(&self, value: Option<T>) -> Result<(), SendError<T>> {
        let mut state = self.lock();
        if let Some(value) = value {
            if state.receiver_closed {
                drop(state);
                return Err(SendError(value));
            }
            state.value = Some(value);
        }
        state.sender_gone = true;
        let receiving = state.receiving.take();
        let watching = state.watching.take();
        drop(state);
        if let Some(waker) = receiving {
            waker.wake();
        }
        // Last, for that is foreign code and may panic.
        drop(watching);
        Ok(())
    }

    /// The receiver wants no value any more. One that was sent is left to it.
    fn close(&self) {
        let mut state = self.lock();
        state.receiver_closed = true;
        let receiving = state.receiving.take();
        let watching = state.watching.take();
        drop(state);
        if let Some(waker) = watching {
            waker.wake();
        }
        drop(receiving);
    }
}

/// The sending end of [`oneshot`].
///
/// Dropping it without sending gives the receiver a [`RecvError`].
#[must_use = "dropping the sender tells the receiver that no value will come"]
pub struct OneshotSender<T, F: Flavor = Threads> {
    slot: <F as Sealed>::Pointer<Slot<T, F>>,
}

impl<T, F: Flavor> OneshotSender<T, F> {
    /// Sends the value; this never waits.
    ///
    /// `Ok` means that the receiver can have it, not that it has looked.
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if the receiver was closed or
    /// dropped.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        self.slot.finish(Some(value))
    }

    /// Whether the receiver was closed or dropped, so that sending is in vain.
    pub fn is_closed(&self) -> bool {
        self.slot.lock().receiver_closed
    }

    /// Ready once the receiver was closed or dropped; until then the task is
    /// woken when that happens.
    ///
    /// Only the task that polled last is woken.
    pub fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let mut state = self.slot.lock();
        if state.receiver_closed {
            drop(state);
            return Poll::Ready(());
        }
        let replaced = state.watching.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the receiver was closed or dropped.
    ///
    /// Useful beside the work that makes the value, to give it up when nobody
    /// waits for it any more.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*.
    pub async fn closed(&mut self) {
        future::poll_fn(|context| self.poll_closed(context)).await;
    }
}

impl<T, F: Flavor> Drop for OneshotSender<T, F> {
    fn drop(&mut self) {
        // Without a value there is none to be given back.
        let _ = self.slot.finish(None);
    }
}

impl<T, F: Flavor> fmt::Debug for OneshotSender<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The receiving end of [`oneshot`]: a future of the value.
///
/// It gives [`RecvError`] if the sender was dropped without sending, and also
/// when it is polled again after it gave the value. Dropping it gives a value
/// sent later back to the sender; one that was already sent is dropped.
///
/// # Cancel safety
///
/// *Nothing happened*: await `&mut receiver` where the wait may be given up,
/// and the value stays until the receiver is asked again.
#[must_use = "dropping the receiver tells the sender that nobody wants the value"]
pub struct OneshotReceiver<T, F: Flavor = Threads> {
    slot: <F as Sealed>::Pointer<Slot<T, F>>,
}

impl<T, F: Flavor> OneshotReceiver<T, F> {
    /// Takes the value if it was sent.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] while it may still come,
    /// [`TryRecvError::Closed`] when it will not.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = self.slot.lock();
        match state.value.take() {
            Some(value) => Ok(value),
            None if state.sender_gone || state.receiver_closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Receives the value, parking the thread until it is sent.
    ///
    /// For threads outside a runtime: in a task it would block the worker.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the sender was dropped without sending.
    pub fn recv_blocking(mut self) -> Result<T, RecvError> {
        match self.try_recv() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Closed) => Err(RecvError),
            Err(TryRecvError::Empty) => park::wait_for(self),
        }
    }

    /// Refuses the value if it was not sent yet. One that was sent can still be
    /// received. Closing again does nothing.
    pub fn close(&mut self) {
        self.slot.close();
    }

    /// Whether no value will be sent from now on, because the sender is gone or
    /// this end was closed. A value may be there.
    pub fn is_closed(&self) -> bool {
        let state = self.slot.lock();
        state.sender_gone || state.receiver_closed
    }
}

impl<T, F: Flavor> Future for OneshotReceiver<T, F> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.try_recv() {
            Ok(value) => return Poll::Ready(Ok(value)),
            Err(TryRecvError::Closed) => return Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => {}
        }
        let waker = context.waker().clone();
        let mut state = self.slot.lock();
        // The sender may have come in between.
        if let Some(value) = state.value.take() {
            drop(state);
            return Poll::Ready(Ok(value));
        }
        if state.sender_gone || state.receiver_closed {
            drop(state);
            return Poll::Ready(Err(RecvError));
        }
        let replaced = state.receiving.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl<T, F: Flavor> Drop for OneshotReceiver<T, F> {
    fn drop(&mut self) {
        self.slot.close();
        // Closed, it takes no further value; the one there is goes now, not
        // when the sender's handle does.
        let unreceived = self.slot.lock().value.take();
        drop(unreceived);
    }
}

impl<T, F: Flavor> fmt::Debug for OneshotReceiver<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotReceiver")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
