//! The engine behind [`Sender`](crate::Sender) and
//! [`Receiver`](crate::Receiver): one lock around a buffer and two queues of
//! waiting operations.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::Waker;

use crate::error::{TryRecvError, TrySendError};
use crate::flavor::Flavor;
use crate::flavor::sealed::Sealed;
use crate::statistics::Statistics;
use crate::wait_list::Key;
use crate::wakes::Wakes;
use crate::work;

mod batch;
mod enlisting;
mod polling;
mod slots;
mod state;
mod ticket;

pub(crate) use enlisting::{RecvAttempt, SendAttempt};
pub(crate) use state::{Interest, Load};
use state::{RecvStep, SendStep, State};
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
    /// What will probably wait. No more than a guess.
    forecast: AtomicU8,
    state: <F as Sealed>::Lock<State<T>>,
}

/// Holds the lock of an exchange.
type Guard<'a, T, F> = <F as Sealed>::Guard<'a, State<T>>;

const SENDS_WAIT: u8 = 1;
const RECEIVES_WAIT: u8 = 2;

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
            forecast: AtomicU8::new(0),
            state: F::guarded(State::new(capacity)),
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
        wakes.wake();
    }

    /// One receiver less; the last one closes the channel and drops what is
    /// buffered, since nobody is left to receive it.
    pub(crate) fn remove_receiver(&self) {
        let mut state = self.lock();
        state.receiver_count -= 1;
        if state.receiver_count == 0 {
            let mut wakes = Wakes::default();
            let unreceived = state.abandon();
            state.close(&mut wakes);
            drop(state);
            wakes.wake();
            drop(unreceived);
        }
    }

    pub(crate) fn close(&self) {
        let mut wakes = Wakes::default();
        self.lock().close(&mut wakes);
        wakes.wake();
    }

    /// Closes and takes out the values that are promised to nobody, once everybody was woken: if
    /// a waker panics they are still there, as after a close.
    pub(crate) fn close_and_discard(&self) -> Vec<T> {
        self.close();
        self.lock().discard()
    }

    #[inline]
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut state = self.lock();
        if state.can_just_buffer() {
            state.just_try_buffer(value);
            return Ok(());
        }
        self.try_send_slowly(state, value)
    }

    #[inline(never)]
    fn try_send_slowly(&self, mut state: Guard<'_, T, F>, value: T) -> Result<(), TrySendError<T>> {
        let mut wakes = Wakes::default();
        let step = state.send_now(Load::Value(value), Claimant::ALONE, &mut wakes);
        drop(state);
        match step {
            SendStep::Sent => {
                wakes.wake();
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
        let mut state = self.lock();
        match state.just_try_unbuffer() {
            Some(value) => Ok(value),
            None => self.try_recv_slowly(state),
        }
    }

    #[inline(never)]
    fn try_recv_slowly(&self, mut state: Guard<'_, T, F>) -> Result<T, TryRecvError> {
        let mut wakes = Wakes::default();
        let step = state.recv_now(Claimant::ALONE, &mut wakes);
        drop(state);
        match step {
            RecvStep::Received(value) => Ok(self.hand_out(value, wakes)),
            RecvStep::Closed => Err(TryRecvError::Closed),
            RecvStep::Empty | RecvStep::Lost => Err(TryRecvError::Empty),
        }
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
        self.hand_out_after(value, || wakes.wake())
    }

    /// The same with one peer.
    #[inline]
    fn hand_out_to(&self, value: T, peer: Waker) -> T {
        self.hand_out_after(value, || peer.wake())
    }

    #[inline]
    fn hand_out_after(&self, value: T, wake: impl FnOnce()) -> T {
        let mut undelivered = Undelivered {
            exchange: self,
            value: Some(value),
        };
        wake();
        match undelivered.value.take() {
            Some(value) => value,
            None => unreachable!("it was put there"),
        }
    }

    #[inline]
    fn lock(&self) -> Guard<'_, T, F> {
        work::touch();
        F::lock(&self.state)
    }
}

impl<T, F: Flavor> fmt::Debug for Exchange<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// Returns a value to the head of the buffer if waking the peers panics.
struct Undelivered<'a, T, F: Flavor> {
    exchange: &'a Exchange<T, F>,
    value: Option<T>,
}

impl<T, F: Flavor> Drop for Undelivered<'_, T, F> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            let mut wakes = Wakes::default();
            self.exchange.lock().put_back(value, &mut wakes);
            // The panic that is on its way is the one to report.
            let _ = catch_unwind(AssertUnwindSafe(|| wakes.wake()));
        }
    }
}
