//! Every receiver sees every value.

use std::sync::Arc;

use crate::first_panic::FirstPanic;
use crate::flavor::Threads;
use crate::flavor::sealed::Sealed;

mod aftermath;
mod item;
mod receiver;
mod sender;
mod state;

pub use receiver::{BroadcastReceiver, BroadcastRecvFuture};
pub use sender::{BroadcastSendFuture, BroadcastSender};

use aftermath::{Aftermath, Batch};
use state::State;

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
/// The last receiver to take a value gets the value itself, the others a clone.
/// Should a waker or the clone panic while a value is received, the value is what
/// the next receive gives.
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
    (
        BroadcastSender::new(Arc::clone(&air)),
        BroadcastReceiver::new(air, place),
    )
}

/// What the ends share. Wakers are woken and values dropped only after the lock
/// was released.
struct Air<T> {
    state: Lock<State<T>>,
}

type Lock<S> = <Threads as Sealed>::Lock<S>;
type Guard<'a, S> = <Threads as Sealed>::Guard<'a, S>;

impl<T> Air<T> {
    fn lock(&self) -> Guard<'_, State<T>> {
        Threads::lock(&self.state)
    }

    /// Releases the lock and does what is left to do, all of it, even if a part
    /// panics; then the first panic goes on.
    ///
    /// Receivers are woken a batch at a time, with the lock free in between, so that
    /// it takes no memory however many they are.
    fn settle(&self, mut state: Guard<'_, State<T>>, after: Aftermath<T>) {
        if after.is_quiet() {
            drop(state);
            drop(after);
            return;
        }
        let mut panic = FirstPanic::default();
        let mut batch = Batch::default();
        let mut place = 0;
        let mut more = after.news && state.rouse(&mut place, &mut batch);
        drop(state);
        panic.catch(|| after.senders.wake());
        loop {
            for waker in batch.take() {
                panic.catch(|| waker.wake());
            }
            if !more {
                break;
            }
            more = self.lock().rouse(&mut place, &mut batch);
        }
        panic.catch(|| drop(after.stale));
        panic.catch(|| drop(after.gone));
        panic.resume();
    }

    fn close(&self) {
        let mut after = Aftermath::default();
        let mut state = self.lock();
        state.close(&mut after);
        self.settle(state, after);
    }
}
