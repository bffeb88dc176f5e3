//! The two halves of a shared transport, and whoever wants the whole of them.

use std::future::poll_fn;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::ErrorKind;
use crate::transport::Transport;

/// Both halves, each lent for as long as one poll takes.
///
/// Nothing of the transport's runs under the lock: what is polled is taken out and put back.
///
/// Invariants:
/// 1. While the phase is `Open`, a half is absent only while a [`Loan`] of it lives. The caller
///    sees to it that nobody borrows one half twice: a turn for the sender, a guard for the
///    receiver. Should it happen all the same, from within a codec or stream, it is `Busy`.
/// 2. The phase only ever goes from `Open` to `Closing` to `Aborting`, from either to `Released`,
///    and not back. In none but `Open` is anything lent.
/// 3. Whoever puts a half back wakes the one who closes; in `Aborting` the one who finds both
///    halves there takes them and aborts.
/// 4. After `Released` both halves are absent for good.
pub(super) struct Halves<T: Transport> {
    state: Mutex<State<T>>,
}

struct State<T: Transport> {
    sender: Option<Box<T::SendHalf>>,
    receiver: Option<Box<T::RecvHalf>>,
    phase: Phase,
}

enum Phase {
    Open,
    /// Somebody waits for both halves, to close the whole.
    Closing(Option<Waker>),
    Aborting,
    Released,
}

impl<T: Transport> Halves<T> {
    pub(super) fn new((sender, receiver): (T::SendHalf, T::RecvHalf)) -> Self {
        Halves {
            state: Mutex::new(State {
                sender: Some(Box::new(sender)),
                receiver: Some(Box::new(receiver)),
                phase: Phase::Open,
            }),
        }
    }

    pub(super) fn sender(&self) -> Result<Loan<'_, T, T::SendHalf>, ErrorKind> {
        self.lend(|state| &mut state.sender)
    }

    pub(super) fn receiver(&self) -> Result<Loan<'_, T, T::RecvHalf>, ErrorKind> {
        self.lend(|state| &mut state.receiver)
    }

    fn lend<H>(&self, place: Place<T, H>) -> Result<Loan<'_, T, H>, ErrorKind> {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Open) {
            return Err(ErrorKind::Closed);
        }
        let half = place(&mut state).take().ok_or(ErrorKind::Busy)?;
        Ok(Loan {
            half: Some(half),
            halves: self,
            place,
        })
    }

    /// Lends nothing any more; `None` where somebody else closed or aborted before.
    pub(super) fn begin_close(&self) -> Option<Closing<'_, T>> {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Open) {
            return None;
        }
        state.phase = Phase::Closing(None);
        Some(Closing(self))
    }

    /// Aborts the transport, at once or when the poll that goes on ends; whether nobody closed or
    /// aborted before.
    pub(super) fn abort(&self) -> bool {
        let mut state = self.lock();
        let (is_first, waker) = match &mut state.phase {
            Phase::Open => (true, None),
            Phase::Closing(waker) => (false, waker.take()),
            Phase::Aborting | Phase::Released => return false,
        };
        state.phase = Phase::Aborting;
        let whole = state.take_whole();
        drop(state);
        abort::<T>(whole);
        if let Some(waker) = waker {
            waker.wake();
        }
        is_first
    }

    pub(super) fn into_whole(self) -> Option<T> {
        let state = self.state.into_inner();
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        join::<T>(state.take_whole()?)
    }

    /// For a poll that ends and put its half back: wakes who closes, or aborts.
    fn returned(mut state: MutexGuard<'_, State<T>>) {
        match &mut state.phase {
            Phase::Open | Phase::Released => {}
            Phase::Closing(waker) => {
                let waker = waker.take();
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Phase::Aborting => {
                let whole = state.take_whole();
                drop(state);
                abort::<T>(whole);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Transport> State<T> {
    /// Both halves, if both are here; they are nobody's from now on.
    fn take_whole(&mut self) -> Option<(T::SendHalf, T::RecvHalf)> {
        if self.sender.is_none() || self.receiver.is_none() {
            return None;
        }
        self.phase = Phase::Released;
        let whole = self.sender.take().zip(self.receiver.take());
        whole.map(|(sender, receiver)| (*sender, *receiver))
    }
}

/// The transport of these two halves. They are of one; of two, they would be dropped, which aborts.
fn join<T: Transport>((sender, receiver): (T::SendHalf, T::RecvHalf)) -> Option<T> {
    T::reunite(sender, receiver).ok()
}

fn abort<T: Transport>(whole: Option<(T::SendHalf, T::RecvHalf)>) {
    if let Some(mut whole) = whole.and_then(join::<T>) {
        whole.abort();
    }
}

/// Where a half lies, boxed: what is lent and put back at every poll is a pointer.
type Place<T, H> = fn(&mut State<T>) -> &mut Option<Box<H>>;

/// A half on loan; dropped, it is back.
pub(super) struct Loan<'a, T: Transport, H> {
    half: Option<Box<H>>,
    halves: &'a Halves<T>,
    place: Place<T, H>,
}

impl<T: Transport, H> Deref for Loan<'_, T, H> {
    type Target = H;

    fn deref(&self) -> &H {
        self.half.as_ref().expect("it is here until the drop")
    }
}

impl<T: Transport, H> DerefMut for Loan<'_, T, H> {
    fn deref_mut(&mut self) -> &mut H {
        self.half.as_mut().expect("it is here until the drop")
    }
}

impl<T: Transport, H> Drop for Loan<'_, T, H> {
    fn drop(&mut self) {
        let mut state = self.halves.lock();
        *(self.place)(&mut state) = self.half.take();
        Halves::returned(state);
    }
}

/// A close under way: dropped, it aborts what it did not take.
pub(super) struct Closing<'a, T: Transport>(&'a Halves<T>);

impl<T: Transport> Closing<'_, T> {
    /// The transport, once no poll uses its halves; `None` where it was aborted meanwhile.
    pub(super) async fn whole(self) -> Option<T> {
        poll_fn(|cx| self.poll_whole(cx)).await
    }

    fn poll_whole(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut new = Some(cx.waker().clone());
        let mut state = self.0.lock();
        if !matches!(state.phase, Phase::Closing(_)) {
            drop(state);
            return Poll::Ready(None);
        }
        if let Some(whole) = state.take_whole() {
            drop(state);
            return Poll::Ready(join::<T>(whole));
        }
        if let Phase::Closing(waker) = &mut state.phase {
            mem::swap(waker, &mut new);
        }
        drop(state);
        drop(new);
        Poll::Pending
    }
}

impl<T: Transport> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
