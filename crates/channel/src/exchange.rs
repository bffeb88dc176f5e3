//! The engine behind [`Sender`](crate::Sender) and
//! [`Receiver`](crate::Receiver): one lock around a buffer and two queues of
//! waiting operations.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use crate::error::{RecvError, SendError, TryRecvError, TrySendError};
use crate::flavor::sealed::Sealed;
use crate::flavor::{Flavor, Lock};
use crate::statistics::Statistics;
use crate::wait_list::Key;
use crate::wakes::Wakes;

mod batch;
mod enlisting;
mod slots;
mod state;
mod ticket;

pub(crate) use enlisting::{RecvAttempt, SendAttempt};
pub(crate) use state::{Interest, Load};
use state::{RecvStep, SendStep, State, Step};
pub(crate) use ticket::{Claimant, Ticket, TicketRef};

/// Where values change hands.
///
/// Foreign code (wakers, destructors of values) never runs while the lock is
/// held: methods collect what is to be woken or dropped and do it afterwards.
/// Hence no panic leaves the state half changed, and a waker may re-enter the
/// channel.
pub(crate) struct Exchange<T, F: Flavor> {
    /// Draws for the selects whose first arm is here. Not under the lock: two
    /// threads that draw at once may see one number, which harms nobody.
    dice: AtomicU32,
    state: <F as Sealed>::Lock<State<T>>,
}

/// How far a send or a reservation has come.
#[derive(Debug)]
pub(crate) enum SendProgress<T> {
    Unsent(Load<T>),
    Parked(Key),
    Finished,
}

impl<T> SendProgress<T> {
    /// A send that was not polled yet; it owns its value until it is parked.
    pub(crate) fn send(value: T) -> Self {
        Self::Unsent(Load::Value(value))
    }

    /// For `Debug`.
    pub(crate) fn stage(&self) -> &'static str {
        match self {
            Self::Unsent(_) => "unsent",
            Self::Parked(_) => "parked",
            Self::Finished => "finished",
        }
    }

    /// A reservation that was not polled yet.
    pub(crate) fn reserve() -> Self {
        Self::Unsent(Load::Slot)
    }
}

impl<T, F: Flavor> Exchange<T, F> {
    /// An empty, open channel with one handle on each end. `usize::MAX` is no
    /// bound.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            dice: AtomicU32::new(1),
            state: Lock::new(State::new(capacity)),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lock().capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.lock().statistics()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn sender_count(&self) -> usize {
        self.lock().sender_count as usize
    }

    pub(crate) fn receiver_count(&self) -> usize {
        self.lock().receiver_count as usize
    }

    pub(crate) fn add_sender(&self) {
        self.lock().sender_count += 1;
    }

    pub(crate) fn add_receiver(&self) {
        self.lock().receiver_count += 1;
    }

    /// One sender more, unless the channel is closed.
    pub(crate) fn revive_sender(&self) -> bool {
        let mut state = self.lock();
        let open = !state.closed;
        state.sender_count += u32::from(open);
        open
    }

    /// One receiver more, unless the last one has gone: what was buffered has
    /// gone with it.
    pub(crate) fn revive_receiver(&self) -> bool {
        let mut state = self.lock();
        let there = state.receiver_count > 0;
        state.receiver_count += u32::from(there);
        there
    }

    /// One sender less; the last one closes the channel.
    pub(crate) fn remove_sender(&self) {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        state.sender_count -= 1;
        if state.sender_count == 0 {
            state.close(&mut wakes);
        }
        drop(state);
        wake(wakes);
    }

    /// One receiver less; the last one closes the channel and drops what is
    /// buffered, since nobody is left to receive it.
    pub(crate) fn remove_receiver(&self) {
        let mut state = self.lock();
        state.receiver_count -= 1;
        if state.receiver_count == 0 {
            let mut wakes = Wakes::default();
            state.close(&mut wakes);
            let unreceived = state.abandon();
            drop(state);
            wake(wakes);
            drop(unreceived);
        }
    }

    pub(crate) fn close(&self) {
        let mut wakes = Wakes::default();
        self.lock().close(&mut wakes);
        wake(wakes);
    }

    /// Closes and takes out the values that are promised to nobody.
    pub(crate) fn close_and_discard(&self) -> Vec<T> {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        state.close(&mut wakes);
        let discarded = state.discard();
        drop(state);
        wake(wakes);
        discarded
    }

    #[inline]
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        let step = state.send_now(Load::Value(value), Claimant::ALONE, &mut wakes);
        drop(state);
        match step {
            SendStep::Sent => {
                wake(wakes);
                Ok(())
            }
            SendStep::Closed(load) => Err(TrySendError::Closed(load.into_value())),
            SendStep::Full(load) | SendStep::Lost(load) => {
                Err(TrySendError::Full(load.into_value()))
            }
        }
    }

    #[inline]
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut wakes = Wakes::default();
        let step = self.lock().recv_now(Claimant::ALONE, &mut wakes);
        match step {
            RecvStep::Received(value) => Ok(self.hand_out(value, wakes)),
            RecvStep::Closed => Err(TryRecvError::Closed),
            RecvStep::Empty | RecvStep::Lost => Err(TryRecvError::Empty),
        }
    }

    /// Advances a send or a reservation; `Err` says that the channel is closed.
    ///
    /// # Panics
    ///
    /// If it was finished before.
    #[inline]
    fn poll_load(
        &self,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Load<T>>> {
        assert!(
            !matches!(progress, SendProgress::Finished),
            "a send was polled after it had finished"
        );
        let mut waker = None;
        loop {
            let mut wakes = Wakes::default();
            let mut state = self.lock();
            let step = state.advance_send(progress, &mut waker, context.waker(), &mut wakes);
            drop(state);
            match step {
                Step::Finished(outcome) => {
                    wake(wakes);
                    return Poll::Ready(outcome);
                }
                Step::Parked => return Poll::Pending,
                Step::NeedsWaker => waker = Some(context.waker().clone()),
                Step::Yield => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Advances a send.
    ///
    /// # Panics
    ///
    /// If the send was finished before.
    #[inline]
    pub(crate) fn poll_send(
        &self,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_load(progress, context)
            .map_err(|load| SendError(load.into_value()))
    }

    /// Ends a send or a reservation whose future is dropped. A value that
    /// nobody took goes with it.
    pub(crate) fn forget_send(&self, key: Key) {
        let mut wakes = Wakes::default();
        let waiting = self.lock().forget_send(key, &mut wakes);
        drop(waiting);
        wake(wakes);
    }

    /// Advances a receive; `parked` names its place in the queue, if any.
    #[inline]
    pub(crate) fn poll_recv(
        &self,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let mut waker = None;
        loop {
            let mut wakes = Wakes::default();
            let mut state = self.lock();
            let step =
                state.advance_recv(parked, interest, &mut waker, context.waker(), &mut wakes);
            drop(state);
            match step {
                Step::Finished(Ok(value)) => return Poll::Ready(Ok(self.hand_out(value, wakes))),
                Step::Finished(Err(error)) => return Poll::Ready(Err(error)),
                Step::Parked => {
                    wake(wakes);
                    return Poll::Pending;
                }
                Step::NeedsWaker => waker = Some(context.waker().clone()),
                Step::Yield => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Ends a parked receive whose future is dropped. A promised value goes to
    /// the next receiver, or stays at the head of the buffer.
    pub(crate) fn forget_recv(&self, key: Key) {
        let mut wakes = Wakes::default();
        let waiting = self.lock().forget_recv(key, &mut wakes);
        drop(waiting);
        wake(wakes);
    }

    /// A random number, the same ones in the same order for the same history.
    pub(crate) fn draw(&self) -> u32 {
        // Xorshift (Marsaglia 2003), which never gets to 0 from elsewhere.
        let mut state = self.dice.load(Ordering::Relaxed);
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        self.dice.store(state, Ordering::Relaxed);
        // Its low bits are weaker than the high ones of a product.
        state.wrapping_mul(0x9E37_79BB).rotate_right(16)
    }

    /// Wakes the peers and returns the value; if a waker panics, the value
    /// returns to the head of the buffer before the panic goes on.
    #[inline]
    fn hand_out(&self, value: T, wakes: Wakes) -> T {
        if wakes.is_empty() {
            return value;
        }
        let Err(panic) = wakes.wake() else {
            return value;
        };
        let mut wakes = Wakes::default();
        self.lock().put_back(value, &mut wakes);
        // The first panic is the one to report.
        let _ = wakes.wake();
        resume_unwind(panic)
    }

    #[inline]
    fn lock(&self) -> <<F as Sealed>::Lock<State<T>> as Lock<State<T>>>::Guard<'_> {
        self.state.lock()
    }
}

impl<T, F: Flavor> fmt::Debug for Exchange<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

#[inline]
fn wake(wakes: Wakes) {
    if !wakes.is_empty()
        && let Err(panic) = wakes.wake()
    {
        resume_unwind(panic);
    }
}
