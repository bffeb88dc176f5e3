use super::{Lock, LockGuard, OwnedLockGuard, State};
use crate::ambient;
use crate::node::{NodeRef, Waiting};
use crate::sync::guarded::{After, Guarded};
use crate::sync::leaf::{Claim, leaf_future};
use crate::sync::permits::Want;
use crate::sync::waiters::{Arrival, Waiters};
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
pub(in crate::sync) struct Taking<H, T, M>(Kinds<H, T, M>);

/// The task that waits for a lock, so that it owns it as soon as it is granted.
pub(in crate::sync) enum Asker {
    /// That at whose own node it waits: most do, and nothing has to be kept twice.
    Context,
    Task(Option<NodeRef>),
}

impl Asker {
    fn here(arrival: &Arrival) -> Asker {
        match ambient::is_task(arrival.context.as_ref()) {
            true => Asker::Context,
            false => Asker::Task(ambient::task()),
        }
    }

    /// Who owns what was granted; its context is not needed any more.
    pub(super) fn take(&mut self, context: &mut Option<NodeRef>) -> Option<NodeRef> {
        match self {
            Asker::Context => context.take(),
            Asker::Task(task) => task.take(),
        }
    }
}

impl<H, T, M> Taking<H, T, M> {
    pub(in crate::sync) const fn new() -> Self {
        Taking(PhantomData)
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
    type Extra = Want<Asker>;
    type Output = M::Output;

    fn guarded(handle: &H) -> &Guarded<State<T>> {
        &handle.guarded
    }

    fn waiters(state: &mut State<T>) -> &mut Waiters<Self::Extra> {
        &mut state.permits.waiters
    }

    #[inline(always)]
    fn begin(&mut self, handle: &H, state: &mut State<T>, _: &mut After) -> Option<M::Output> {
        if state.owner.is_some()
            && let Some(refused) = M::reentered()
            && ambient::is_task(state.owner.as_ref())
        {
            return Some(refused);
        }
        let value = state.take()?;
        Some(M::granted(handle, value))
    }

    fn extra(&mut self, _: &mut State<T>, arrival: &Arrival) -> Self::Extra {
        Want {
            count: 1,
            extra: Asker::here(arrival),
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
        let want = state.barge(key, after)?;
        Some(self.finish(handle, state, want, after))
    }

    #[inline]
    fn finish(
        &mut self,
        handle: &H,
        state: &mut State<T>,
        want: Self::Extra,
        after: &mut After,
    ) -> M::Output {
        // Whoever polls has the lock, also if the future moved to another task meanwhile.
        if !ambient::is_task(state.owner.as_ref()) {
            after.discard(None, std::mem::replace(&mut state.owner, ambient::task()));
        }
        if let Asker::Task(task) = want.extra {
            after.discard(None, task);
        }
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
