//! Advancing what tasks wait for.
//!
//! Where an operation only moves a value in or out of the buffer it does so in
//! line. Where a peer waits, or has to be waited for, there is a straight way
//! for what that usually means, each a function of its own, so that none pays
//! for the registers and the cases of another. All else takes the general
//! steps, which cover every case.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::state::{State, Step};
use super::{Exchange, Guard, Interest, Load, RECEIVES_WAIT, SENDS_WAIT, SendProgress};
use crate::error::{RecvError, SendError};
use crate::flavor::Flavor;
use crate::wait_list::Key;
use crate::wakes::Wakes;

impl<T, F: Flavor> Exchange<T, F> {
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
        if let SendProgress::Parked(key) = *progress {
            return self.poll_send_resumed(key, progress, context);
        }
        if self.foresees(SENDS_WAIT) {
            return self.poll_send_parking(progress, context);
        }
        let Some(mut state) = F::try_lock(&self.state) else {
            return self.poll_send_contended(progress, context);
        };
        if self.send_into_buffer(&mut state, progress) {
            return Poll::Ready(Ok(()));
        }
        self.poll_send_handing_over(state, progress, context)
    }

    /// Sends if that is no more than to put the value into the buffer.
    #[inline(always)]
    fn send_into_buffer(&self, state: &mut State<T>, progress: &mut SendProgress<T>) -> bool {
        let sends = state.has_send_budget()
            && state.can_just_buffer()
            && matches!(progress, SendProgress::Unsent(Load::Value(_)));
        if sends
            && let SendProgress::Unsent(Load::Value(value)) =
                std::mem::replace(progress, SendProgress::Finished)
            && state.just_buffer(value)
        {
            self.forecast.store(SENDS_WAIT, Ordering::Relaxed);
        }
        sends
    }

    /// Advances a send once the lock is free.
    #[inline(never)]
    fn poll_send_contended(
        &self,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let mut state = self.lock();
        if self.send_into_buffer(&mut state, progress) {
            return Poll::Ready(Ok(()));
        }
        self.poll_send_handing_over(state, progress, context)
    }

    /// Advances a send that probably meets a receiver that waits.
    #[inline(never)]
    fn poll_send_handing_over<'a>(
        &'a self,
        mut state: Guard<'a, T, F>,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        if state.has_send_budget()
            && let Some(peer) = state.hand_over(progress)
        {
            state.count_send();
            let sends = u8::from(state.next_send_waits()) * SENDS_WAIT;
            self.forecast
                .store(RECEIVES_WAIT | sends, Ordering::Relaxed);
            drop(state);
            if let Some(peer) = peer {
                peer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        self.poll_send_generally(state, None, progress, context)
    }

    /// Advances a send that probably has to wait.
    #[inline(never)]
    fn poll_send_parking(
        &self,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let waker = context.waker().clone();
        let mut state = self.lock();
        if state.sends_wait()
            && let SendProgress::Unsent(_) = progress
        {
            if let SendProgress::Unsent(load) = std::mem::replace(progress, SendProgress::Finished)
            {
                *progress = SendProgress::Parked(state.queue_send(load, waker));
            }
            self.forecast.store(SENDS_WAIT, Ordering::Relaxed);
            return Poll::Pending;
        }
        if state.has_send_budget() {
            state.count_send();
            return self.poll_send_generally(state, Some(waker), progress, context);
        }
        self.poll_send_generally(state, None, progress, context)
    }

    /// Advances a send that was parked and is probably done.
    #[inline(never)]
    fn poll_send_resumed(
        &self,
        key: Key,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let mut state = self.lock();
        if state.collect(key) {
            *progress = SendProgress::Finished;
            return Poll::Ready(Ok(()));
        }
        self.poll_send_generally(state, None, progress, context)
    }

    #[cold]
    #[inline(never)]
    fn poll_send_generally<'a>(
        &'a self,
        state: Guard<'a, T, F>,
        waker: Option<Waker>,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_load(state, waker, progress, context)
            .map_err(|load| SendError(load.into_value()))
    }

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

    /// Ends a send or a reservation whose future is dropped. A value that
    /// nobody took goes with it.
    #[inline(never)]
    pub(crate) fn forget_send(&self, key: Key) {
        let mut wakes = Wakes::default();
        let waiting = self.lock().forget_send(key, &mut wakes);
        // Its value is last: others must be woken even if it panics as it is dropped.
        wakes.wake();
        drop(waiting);
    }

    /// Advances a receive; `parked` names its place in the queue, if any.
    #[inline]
    pub(crate) fn poll_recv(
        &self,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        if let Some(key) = *parked {
            return self.poll_recv_resumed(key, parked, interest, context);
        }
        if self.foresees(RECEIVES_WAIT) {
            return self.poll_recv_parking(parked, interest, context);
        }
        let Some(mut state) = F::try_lock(&self.state) else {
            return self.poll_recv_contended(parked, interest, context);
        };
        match state.just_unbuffer() {
            Some(value) if state.is_drained() => self.recv_last(state, value),
            Some(value) => Poll::Ready(Ok(value)),
            None => self.poll_recv_relieving(state, parked, interest, context),
        }
    }

    /// Ends a receive that emptied the buffer.
    #[inline(never)]
    fn recv_last(&self, mut state: Guard<'_, T, F>, value: T) -> Poll<Result<T, RecvError>> {
        state.give_memory_back();
        self.forecast.store(RECEIVES_WAIT, Ordering::Relaxed);
        drop(state);
        Poll::Ready(Ok(value))
    }

    /// Advances a receive once the lock is free.
    #[inline(never)]
    fn poll_recv_contended(
        &self,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let mut state = self.lock();
        match state.just_unbuffer() {
            Some(value) if state.is_drained() => self.recv_last(state, value),
            Some(value) => Poll::Ready(Ok(value)),
            None => self.poll_recv_relieving(state, parked, interest, context),
        }
    }

    /// Advances a receive that probably meets a sender that waits.
    #[inline(never)]
    fn poll_recv_relieving<'a>(
        &'a self,
        mut state: Guard<'a, T, F>,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        if state.has_recv_budget()
            && let Some((value, peer)) = state.relieve()
        {
            state.count_recv();
            let receives = u8::from(state.next_recv_waits()) * RECEIVES_WAIT;
            self.forecast
                .store(SENDS_WAIT | receives, Ordering::Relaxed);
            drop(state);
            return Poll::Ready(Ok(self.hand_out_to(value, peer)));
        }
        self.poll_recv_generally(state, None, parked, interest, context)
    }

    /// Advances a receive that probably has to wait.
    #[inline(never)]
    fn poll_recv_parking(
        &self,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let waker = context.waker().clone();
        let mut state = self.lock();
        if state.receives_wait() && interest == Interest::Promise {
            *parked = Some(state.queue_recv(waker));
            self.forecast.store(RECEIVES_WAIT, Ordering::Relaxed);
            return Poll::Pending;
        }
        if state.has_recv_budget() {
            state.count_recv();
            return self.poll_recv_generally(state, Some(waker), parked, interest, context);
        }
        self.poll_recv_generally(state, None, parked, interest, context)
    }

    /// Advances a receive that was parked and was probably promised a value.
    #[inline(never)]
    fn poll_recv_resumed(
        &self,
        key: Key,
        parked: &mut Option<Key>,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let mut state = self.lock();
        if let Some(value) = state.fetch(key) {
            *parked = None;
            return Poll::Ready(Ok(value));
        }
        self.poll_recv_generally(state, None, parked, interest, context)
    }

    #[cold]
    #[inline(never)]
    fn poll_recv_generally<'a>(
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

    /// Notes which operations would have to wait now.
    #[inline]
    fn predict(&self, state: &State<T>) {
        let sends = if state.sends_wait() { SENDS_WAIT } else { 0 };
        let receives = if state.receives_wait() {
            RECEIVES_WAIT
        } else {
            0
        };
        self.forecast.store(sends | receives, Ordering::Relaxed);
    }

    /// Whether the operation will probably have to wait, and so needs a clone
    /// of its waker, which is made without the lock. No more than a guess.
    #[inline]
    pub(super) fn foresees(&self, which: u8) -> bool {
        self.forecast.load(Ordering::Relaxed) & which != 0
    }

    /// Ends a parked receive whose future is dropped. A promised value goes to
    /// the next receiver, or stays at the head of the buffer.
    #[inline(never)]
    pub(crate) fn forget_recv(&self, key: Key) {
        let mut wakes = Wakes::default();
        let waiting = self.lock().forget_recv(key, &mut wakes);
        wakes.wake();
        drop(waiting);
    }
}
