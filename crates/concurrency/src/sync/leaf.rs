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

    /// The operation, if it needs no wait. Called again after a `None` if the waker had to be
    /// cloned first.
    fn begin(
        &mut self,
        handle: &Self::Handle,
        state: &mut Self::State,
        after: &mut After,
    ) -> Option<Self::Output>;

    /// What to keep in the waiter's place; called once, right after `begin` gave `None`.
    fn extra(&mut self, state: &mut Self::State) -> Self::Extra;

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

/// A waiting operation: it is idle, queued, settled, or finished.
///
/// Invariants:
/// 1. First polled, or not settled, in a cancelled context it is `Pending` and neither takes
///    nor registers anything.
/// 2. Settled, it finishes at its next poll, cancelled or not; dropped instead, it passes on.
/// 3. `key` is set exactly while the waiter has a place.
pub(crate) struct Leaf<C: Claim> {
    handle: C::Handle,
    claim: C,
    key: Option<usize>,
    finished: bool,
}

/// Nothing in it is ever pinned.
impl<C: Claim> Unpin for Leaf<C> {}

enum Advance<T> {
    Finished(T),
    Parked,
    NeedsWaker,
}

impl<C: Claim> Leaf<C> {
    pub(crate) const fn new(handle: C::Handle, claim: C) -> Leaf<C> {
        Leaf {
            handle,
            claim,
            key: None,
            finished: false,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<C::Output> {
        assert!(!self.finished, "a future was polled after it had completed");
        let frozen = match self.key {
            Some(_) => ambient::is_cancelled(),
            None => match ambient::turn() {
                Turn::Go => false,
                Turn::Frozen => return Poll::Pending,
                Turn::Yield => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
        };
        let mut arrival = None;
        loop {
            match self.advance(cx, frozen, &mut arrival) {
                Advance::Finished(output) => return Poll::Ready(output),
                Advance::Parked => {
                    ambient::wait_for(C::WAITING);
                    return Poll::Pending;
                }
                Advance::NeedsWaker => {
                    arrival = Some(Arrival {
                        waker: cx.waker().clone(),
                        context: ambient::current(),
                    });
                }
            }
        }
    }

    /// Whether the waiter has a place, in the queue or settled.
    pub(crate) fn has_place(&self) -> bool {
        self.key.is_some()
    }

    /// For `Debug`.
    pub(crate) fn stage(&self) -> &'static str {
        match (self.finished, self.key) {
            (true, _) => "finished",
            (false, Some(_)) => "waiting",
            (false, None) => "idle",
        }
    }

    fn advance(
        &mut self,
        cx: &Context<'_>,
        frozen: bool,
        arrival: &mut Option<Arrival>,
    ) -> Advance<C::Output> {
        let Leaf {
            handle,
            claim,
            key,
            finished,
        } = self;
        C::guarded(handle).step(|state, after| {
            let Some(at) = *key else {
                if let Some(output) = claim.begin(handle, state, after) {
                    *finished = true;
                    return Advance::Finished(output);
                }
                let Some(arrival) = arrival.take() else {
                    return Advance::NeedsWaker;
                };
                let extra = claim.extra(state);
                *key = Some(C::waiters(state).push_back(arrival, extra));
                // Somebody ahead may have thawed since the last grant.
                C::pump(state, after);
                return Advance::Parked;
            };
            if !C::waiters(state).is_settled(at) {
                C::pump(state, after);
            }
            if C::waiters(state).is_settled(at) {
                *key = None;
                *finished = true;
                let (extra, _) = C::waiters(state).remove(at, after);
                return Advance::Finished(claim.finish(handle, state, extra, after));
            }
            if frozen {
                return Advance::Parked;
            }
            if let Some(output) = claim.retry(handle, state, at, after) {
                *key = None;
                *finished = true;
                return Advance::Finished(output);
            }
            let waiters = C::waiters(state);
            if waiters.knows(at, cx.waker(), ambient::place().0) {
                return Advance::Parked;
            }
            match arrival.take() {
                Some(arrival) => {
                    waiters.renew(at, arrival, after);
                    Advance::Parked
                }
                None => Advance::NeedsWaker,
            }
        })
    }
}

impl<C: Claim> Drop for Leaf<C> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let left = C::guarded(&self.handle).step(|state, after| {
            let (extra, settled) = C::waiters(state).remove(key, after);
            C::abandon(state, extra, settled, after)
        });
        drop(left);
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
