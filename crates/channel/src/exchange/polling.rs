//! Advancing what tasks wait for.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::state::{State, Step};
use super::{Exchange, Guard, Interest, Load, RECEIVES_WAIT, SENDS_WAIT, SendProgress};
use crate::error::{RecvError, SendError};
use crate::flavor::Flavor;
use crate::wait_list::Key;
use crate::wakes::Wakes;

impl<T, F: Flavor> Exchange<T, F> {
    /// Advances a send or a reservation; `Err` says that the channel is closed.
    /// `state` is locked already.
    ///
    /// # Panics
    ///
    /// If it was finished before.
    #[inline(never)]
    pub(super) fn poll_load<'a>(
        &'a self,
        mut state: Guard<'a, T, F>,
        mut waker: Option<Waker>,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Load<T>>> {
        loop {
            let mut wakes = Wakes::default();
            let step = state.advance_send(progress, &mut waker, context.waker(), &mut wakes);
            self.predict(&state);
            drop(state);
            match step {
                Step::Finished(outcome) => {
                    wakes.wake();
                    return Poll::Ready(outcome);
                }
                Step::Parked => return Poll::Pending,
                Step::NeedsWaker => waker = Some(context.waker().clone()),
                Step::Yield => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Misused => panic!("a send was polled after it had finished"),
            }
            state = self.lock();
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
        let waker = match progress {
            SendProgress::Unsent(_) => self.foresee(SENDS_WAIT, context),
            _ => None,
        };
        let mut state = self.lock();
        if let SendProgress::Unsent(_) = progress
            && state.has_send_budget()
            && state.can_just_buffer()
        {
            if let SendProgress::Unsent(Load::Value(value)) =
                std::mem::replace(progress, SendProgress::Finished)
            {
                state.just_buffer(value);
            }
            return Poll::Ready(Ok(()));
        }
        self.poll_load(state, waker, progress, context)
            .map_err(|load| SendError(load.into_value()))
    }

    /// Ends a send or a reservation whose future is dropped. A value that
    /// nobody took goes with it.
    #[inline(never)]
    pub(crate) fn forget_send(&self, key: Key) {
        let mut wakes = Wakes::default();
        let waiting = self.lock().forget_send(key, &mut wakes);
        drop(waiting);
        wakes.wake();
    }

    /// Advances a receive; `parked` names its place in the queue, if any.
    #[inline]
    pub(crate) fn poll_recv(
        &self,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let waker = match parked {
            None => self.foresee(RECEIVES_WAIT, context),
            Some(_) => None,
        };
        let mut state = self.lock();
        if parked.is_none()
            && let Some(value) = state.just_unbuffer()
        {
            return Poll::Ready(Ok(value));
        }
        self.poll_recv_slowly(state, waker, parked, interest, context)
    }

    #[inline(never)]
    fn poll_recv_slowly<'a>(
        &'a self,
        mut state: Guard<'a, T, F>,
        mut waker: Option<Waker>,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        loop {
            let mut wakes = Wakes::default();
            let step =
                state.advance_recv(parked, interest, &mut waker, context.waker(), &mut wakes);
            self.predict(&state);
            drop(state);
            match step {
                Step::Finished(Ok(value)) => return Poll::Ready(Ok(self.hand_out(value, wakes))),
                Step::Finished(Err(error)) => return Poll::Ready(Err(error)),
                Step::Parked => {
                    wakes.wake();
                    return Poll::Pending;
                }
                Step::NeedsWaker => waker = Some(context.waker().clone()),
                Step::Yield => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Misused => unreachable!("the future checks it"),
            }
            state = self.lock();
        }
    }

    /// Notes, on a rendezvous channel, which operations would have to wait.
    #[inline]
    fn predict(&self, state: &State<T>) {
        if state.capacity() == 0 {
            let sends = if state.sends_wait() { SENDS_WAIT } else { 0 };
            let receives = if state.receives_wait() {
                RECEIVES_WAIT
            } else {
                0
            };
            self.forecast.store(sends | receives, Ordering::Relaxed);
        }
    }

    /// A clone of the waker if the operation will probably have to wait, so
    /// that the lock need not be given up to get one. No more than a guess.
    #[inline]
    fn foresee(&self, which: u8, context: &Context<'_>) -> Option<Waker> {
        let waits = self.forecast.load(Ordering::Relaxed) & which != 0;
        waits.then(|| context.waker().clone())
    }

    /// Ends a parked receive whose future is dropped. A promised value goes to
    /// the next receiver, or stays at the head of the buffer.
    #[inline(never)]
    pub(crate) fn forget_recv(&self, key: Key) {
        let mut wakes = Wakes::default();
        let waiting = self.lock().forget_recv(key, &mut wakes);
        drop(waiting);
        wakes.wake();
    }
}
