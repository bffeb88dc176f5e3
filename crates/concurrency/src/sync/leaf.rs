//! The one way in which futures of this module wait.

use super::guarded::{After, Guarded};
use super::waiters::{Arrival, Waiters};
use crate::ambient::{self, Turn};
use crate::node::Waiting;
use std::task::{Context, Poll};

/// What a leaf future asks of its primitive. Every method but `guarded` runs under the lock.
pub(crate) trait Claim {
    /// What the task tree says of one who waits.
    const WAITING: Waiting;

    /// How the future refers to the primitive.
    type Handle;
    /// What the primitive's lock protects.
    type State;
    /// Kept in the waiter's place.
    type Extra;
    type Output;

    fn guarded(handle: &Self::Handle) -> &Guarded<Self::State>;

    fn waiters(state: &mut Self::State) -> &mut Waiters<Self::Extra>;

    /// The operation, if it needs no wait. Called again after a `None`, once the waker was cloned.
    ///
    /// Where it is short it is `inline(always)`: called in two places, it would be a call in both.
    fn begin(
        &mut self,
        handle: &Self::Handle,
        state: &mut Self::State,
        after: &mut After,
    ) -> Option<Self::Output>;

    /// What to keep in the waiter's place; called once, right after `begin` gave `None` again.
    fn extra(&mut self, state: &mut Self::State, arrival: &Arrival) -> Self::Extra;

    /// Settles those whose turn has come. Called when a queued waiter is polled: others may have
    /// been frozen, or this one thawed, since the last grant.
    fn pump(state: &mut Self::State, after: &mut After);

    /// The operation of a waiter that is queued still, if it needs no grant; it is removed then.
    fn retry(
        &mut self,
        handle: &Self::Handle,
        state: &mut Self::State,
        key: usize,
        after: &mut After,
    ) -> Option<Self::Output> {
        let _ = (handle, state, key, after);
        None
    }

    /// The outcome of a settled waiter, which has just been removed.
    fn finish(
        &mut self,
        handle: &Self::Handle,
        state: &mut Self::State,
        extra: Self::Extra,
        after: &mut After,
    ) -> Self::Output;

    /// The waiter was dropped and removed: passes on what a settled one was granted, and lets
    /// those pass whom a queued one held up. Returns what is to be dropped without the lock.
    fn abandon(
        state: &mut Self::State,
        extra: Self::Extra,
        settled: bool,
        after: &mut After,
    ) -> Option<Self::Extra>;
}

/// A waiting operation.
///
/// Invariants:
/// 1. First polled, or not settled, in a cancelled context it is `Pending` and neither takes
///    nor registers anything.
/// 2. Settled, it finishes at its next poll, cancelled or not; dropped instead, it passes on.
/// 3. The stage is `Waiting` exactly while the waiter has a place, which is at the key in it.
pub(crate) struct Leaf<C: Claim> {
    handle: C::Handle,
    claim: C,
    stage: Stage,
}

#[derive(Copy, Clone)]
enum Stage {
    Idle,
    Waiting(usize),
    Finished,
}

/// Nothing in it is ever pinned.
impl<C: Claim> Unpin for Leaf<C> {}

impl<C: Claim> Leaf<C> {
    pub(crate) const fn new(handle: C::Handle, claim: C) -> Leaf<C> {
        Leaf {
            handle,
            claim,
            stage: Stage::Idle,
        }
    }

    /// Most operations need no wait, so only that much of it is in line.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<C::Output> {
        match self.stage {
            Stage::Idle => {}
            Stage::Waiting(key) => return self.resume(key, cx),
            Stage::Finished => already_completed(),
        }
        match ambient::turn() {
            Turn::Go => {}
            Turn::Frozen => return Poll::Pending,
            Turn::Yield => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let Leaf { handle, claim, .. } = self;
        let begun = C::guarded(handle).step(|state, after| claim.begin(handle, state, after));
        match begun {
            Some(output) => self.end(output),
            None => self.enqueue(cx),
        }
    }

    /// Whether the waiter has a place, in the queue or settled.
    pub(crate) fn has_place(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }

    /// For `Debug`.
    pub(crate) fn stage(&self) -> &'static str {
        match self.stage {
            Stage::Finished => "finished",
            Stage::Waiting(_) => "waiting",
            Stage::Idle => "idle",
        }
    }

    #[inline]
    fn end(&mut self, output: C::Output) -> Poll<C::Output> {
        self.stage = Stage::Finished;
        Poll::Ready(output)
    }

    /// Takes a place, unless what it waits for has come meanwhile.
    #[inline(never)]
    fn enqueue(&mut self, cx: &Context<'_>) -> Poll<C::Output> {
        let arrival = Arrival::here(cx);
        arrival.wait_for(C::WAITING);
        let mut arrival = Some(arrival);
        let Leaf { handle, claim, .. } = self;
        let begun = C::guarded(handle).step(|state, after| {
            if let Some(output) = claim.begin(handle, state, after) {
                return Ok(output);
            }
            let Some(arrival) = arrival.take() else {
                unreachable!("it arrives once");
            };
            let extra = claim.extra(state, &arrival);
            let key = C::waiters(state).push_back(arrival, extra);
            // Somebody ahead may have thawed since the last grant.
            C::pump(state, after);
            Err(key)
        });
        match begun {
            Err(key) => {
                self.stage = Stage::Waiting(key);
                Poll::Pending
            }
            Ok(output) => {
                if let Some(arrival) = &arrival {
                    arrival.wait_for(Waiting::Nothing);
                }
                self.end(output)
            }
        }
    }

    /// A poll of one that has a place.
    fn resume(&mut self, key: usize, cx: &Context<'_>) -> Poll<C::Output> {
        let (address, frozen) = ambient::position();
        let mut arrival: Option<Arrival> = None;
        loop {
            let Leaf {
                handle,
                claim,
                stage,
            } = self;
            let resumed = C::guarded(handle).step(|state, after| {
                if !C::waiters(state).is_settled(key) {
                    C::pump(state, after);
                }
                if C::waiters(state).is_settled(key) {
                    *stage = Stage::Finished;
                    let (extra, _) = C::waiters(state).remove(key, after);
                    return Resumed::Finished(claim.finish(handle, state, extra, after));
                }
                if frozen {
                    return Resumed::Parked;
                }
                if let Some(output) = claim.retry(handle, state, key, after) {
                    *stage = Stage::Finished;
                    return Resumed::Finished(output);
                }
                let waiters = C::waiters(state);
                if let Some(arrival) = arrival.take() {
                    waiters.renew(key, arrival, after);
                } else if !waiters.knows(key, cx.waker(), address) {
                    return Resumed::Unknown;
                }
                Resumed::Parked
            });
            match resumed {
                Resumed::Finished(output) => return Poll::Ready(output),
                Resumed::Parked => {
                    ambient::wait_for(C::WAITING);
                    return Poll::Pending;
                }
                Resumed::Unknown => arrival = Some(Arrival::here(cx)),
            }
        }
    }
}

/// What became of a waiter that was polled.
enum Resumed<T> {
    Finished(T),
    Parked,
    /// It waits on, and who polls it now has to be noted.
    Unknown,
}

#[cold]
fn already_completed() -> ! {
    panic!("a future was polled after it had completed");
}

impl<C: Claim> Leaf<C> {
    #[cold]
    fn leave(&mut self, key: usize) {
        let left = C::guarded(&self.handle).step(|state, after| {
            let (extra, settled) = C::waiters(state).remove(key, after);
            C::abandon(state, extra, settled, after)
        });
        drop(left);
    }
}

impl<C: Claim> Drop for Leaf<C> {
    #[inline]
    fn drop(&mut self) {
        if let Stage::Waiting(key) = self.stage {
            self.leave(key);
        }
    }
}

/// Declares the public future of one operation around its leaf.
macro_rules! leaf_future {
    (
        $(#[$meta:meta])*
        pub struct $name:ident[$($generics:tt)*]($claim:ty) -> $output:ty;
    ) => {
        $(#[$meta])*
        #[must_use = "this does nothing until it is awaited"]
        pub struct $name<$($generics)*>(pub(in crate::sync) $crate::sync::leaf::Leaf<$claim>);

        impl<$($generics)*> Future for $name<$($generics)*> {
            type Output = $output;

            fn poll(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Self::Output> {
                self.0.poll(cx)
            }
        }

        impl<$($generics)*> std::fmt::Debug for $name<$($generics)*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("stage", &self.0.stage())
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(super) use leaf_future;
