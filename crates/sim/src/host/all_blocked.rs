//! Waiting until nothing else can run.

use crate::current;
use crate::state::State;
use crate::task::Waits;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Completes once every other task of the world, of every host, is parked: before the clock jumps
/// to what happens next.
///
/// Of several who wait the first is let go alone; the next one follows when all are parked again.
/// A blocking job that is under way parks who waits for it.
pub fn all_blocked() -> AllBlocked {
    AllBlocked { place: None }
}

/// Future of [`all_blocked`].
#[derive(Debug)]
#[must_use = "this waits for nothing until it is awaited"]
pub struct AllBlocked {
    /// The world, and the place among those who wait in it.
    place: Option<(u64, u64)>,
}

/// Those who wait, in the order in which they came.
///
/// Invariant: who is let go is taken out and woken, so a place that is gone was granted.
#[derive(Default)]
pub(crate) struct Idlers {
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

impl State {
    /// Nothing can run: lets the first one go who waits for that.
    pub(crate) fn release_idler(&mut self) -> bool {
        let Some((_, waker)) = self.idlers.waiting.pop_first() else {
            return false;
        };
        self.woken.push(waker);
        true
    }

    /// A place for one who waits.
    fn queue_idler(&mut self, waker: &Waker) -> u64 {
        let place = self.idlers.next;
        self.idlers.next += 1;
        self.idlers.waiting.insert(place, waker.clone());
        self.waits(Waits::AllBlocked);
        place
    }

    /// Whether the one with this place was let go; keeps its waker otherwise.
    fn is_released(&mut self, place: u64, waker: &Waker) -> bool {
        let Some(kept) = self.idlers.waiting.get_mut(&place) else {
            return true;
        };
        let former = std::mem::replace(kept, waker.clone());
        self.dropped.push(former);
        self.waits(Waits::AllBlocked);
        false
    }
}

impl Future for AllBlocked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some((world, place)) = self.place else {
            let queue = |state: &mut State| (state.id, state.queue_idler(cx.waker()));
            self.place = Some(current::with("all_blocked", queue));
            return Poll::Pending;
        };
        let look = |state: &mut State| state.is_released(place, cx.waker());
        match current::with_world(world, "a wait for all to be blocked", look) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        if let Some((world, place)) = self.place {
            current::if_world(world, |state| {
                let former = state.idlers.waiting.remove(&place);
                state.dropped.extend(former);
            });
        }
    }
}
