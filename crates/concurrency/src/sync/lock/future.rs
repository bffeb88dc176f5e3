use super::{Lock, LockGuard, OwnedLockGuard, State};
use crate::ambient;
use crate::node::{NodeRef, Waiting};
use crate::sync::guarded::{After, Guarded};
use crate::sync::leaf::{Claim, leaf_future};
use crate::sync::permits::Want;
use crate::sync::waiters::Waiters;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

leaf_future! {
    /// Future of [`Lock::lock`].
    pub struct LockFuture['a, T](Taking<&'a Lock<T>, T, Plain>) -> LockGuard<'a, T>;
}

leaf_future! {
    /// Future of [`Lock::lock_owned`].
    pub struct LockOwnedFuture[T](Taking<Arc<Lock<T>>, T, Plain>) -> OwnedLockGuard<T>;
}

leaf_future! {
    /// Future of [`Lock::lock_checked`].
    pub struct LockCheckedFuture['a, T](Taking<&'a Lock<T>, T, Checked>)
        -> Result<LockGuard<'a, T>, WouldDeadlock>;
}

/// The calling task has the lock already and would wait for itself.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this task has the lock already and would wait for itself for ever")]
pub struct WouldDeadlock;

type Kinds<H, T, M> = PhantomData<fn() -> (H, T, M)>;

/// Taking a lock through a handle of type `H`, in the manner `M`.
pub(in crate::sync) struct Taking<H, T, M> {
    /// The task that asks, from the first attempt until it owns or waits.
    task: Option<NodeRef>,
    kinds: Kinds<H, T, M>,
}

impl<H, T, M> Taking<H, T, M> {
    pub(in crate::sync) const fn new() -> Self {
        Taking {
            task: None,
            kinds: PhantomData,
        }
    }
}

/// How a lock is taken, and what one gets.
pub(in crate::sync) trait Manner<H, T> {
    type Output;

    fn granted(handle: &H, value: T) -> Self::Output;

    /// The answer to a task that holds the lock itself, if it is not to wait.
    fn reentered() -> Option<Self::Output> {
        None
    }
}

/// Whoever holds the lock.
pub(in crate::sync) struct Plain;

/// Not if the calling task holds it.
pub(in crate::sync) struct Checked;

impl<'a, T> Manner<&'a Lock<T>, T> for Plain {
    type Output = LockGuard<'a, T>;

    fn granted(handle: &&'a Lock<T>, value: T) -> Self::Output {
        LockGuard::new(handle, value)
    }
}

impl<T> Manner<Arc<Lock<T>>, T> for Plain {
    type Output = OwnedLockGuard<T>;

    fn granted(handle: &Arc<Lock<T>>, value: T) -> Self::Output {
        OwnedLockGuard::new(handle.clone(), value)
    }
}

impl<'a, T> Manner<&'a Lock<T>, T> for Checked {
    type Output = Result<LockGuard<'a, T>, WouldDeadlock>;

    fn granted(handle: &&'a Lock<T>, value: T) -> Self::Output {
        Ok(LockGuard::new(handle, value))
    }

    fn reentered() -> Option<Self::Output> {
        Some(Err(WouldDeadlock))
    }
}

impl<H: Deref<Target = Lock<T>>, T, M: Manner<H, T>> Claim for Taking<H, T, M> {
    const WAITING: Waiting = Waiting::Lock;

    type Handle = H;
    type State = State<T>;
    type Extra = Want<Option<NodeRef>>;
    type Output = M::Output;

    fn guarded(handle: &H) -> &Guarded<State<T>> {
        &handle.guarded
    }

    fn waiters(state: &mut State<T>) -> &mut Waiters<Self::Extra> {
        &mut state.permits.waiters
    }

    fn begin(&mut self, handle: &H, state: &mut State<T>, _: &mut After) -> Option<M::Output> {
        if self.task.is_none() {
            self.task = ambient::task();
        }
        if let (Some(owner), Some(task)) = (&state.owner, &self.task)
            && Arc::ptr_eq(owner, task)
            && let Some(refused) = M::reentered()
        {
            return Some(refused);
        }
        let value = state.take(&mut self.task)?;
        Some(M::granted(handle, value))
    }

    fn extra(&mut self, _: &mut State<T>) -> Self::Extra {
        Want {
            count: 1,
            extra: self.task.take(),
        }
    }

    fn pump(state: &mut State<T>, after: &mut After) {
        state.pump(after);
    }

    fn retry(
        &mut self,
        handle: &H,
        state: &mut State<T>,
        key: usize,
        after: &mut After,
    ) -> Option<M::Output> {
        let want = state.permits.barge(key, after)?;
        Some(self.finish(handle, state, want, after))
    }

    fn finish(
        &mut self,
        handle: &H,
        state: &mut State<T>,
        want: Self::Extra,
        after: &mut After,
    ) -> M::Output {
        // Whoever polls has the lock, also if the future moved to another task meanwhile.
        let task = ambient::task();
        if task.as_ref().map(|task| task.address()) != state.owner.as_ref().map(|o| o.address()) {
            after.discard(None, std::mem::replace(&mut state.owner, task));
        }
        after.discard(None, want.extra);
        let value = state.value.take();
        let value = value.expect("a lock whose permit is taken has its value");
        M::granted(handle, value)
    }

    fn abandon(
        state: &mut State<T>,
        want: Self::Extra,
        settled: bool,
        after: &mut After,
    ) -> Option<Self::Extra> {
        if settled {
            after.discard(None, state.owner.take());
        }
        state.abandon(settled, after);
        Some(want)
    }
}
