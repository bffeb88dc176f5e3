use super::busy::Busy;
use super::guarded::{After, Guarded};
use super::leaf::{Claim, Leaf, leaf_future};
use super::permits::{Order, Permits, Want};
use super::waiters::{Arrival, Waiters};
use crate::invalid_value::InvalidValue;
use crate::node::Waiting;
use std::fmt;
use std::marker::PhantomData;

/// A number of permits that tasks take and give back.
///
/// Whoever waits gets its permits in the order of arrival: while one waits for many, who comes
/// later and wants few waits behind it. A permit belongs to nobody in particular; for places
/// that are counted by who has them there is [`CapacityLimiter`](super::CapacityLimiter).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::Semaphore;
/// use bowline_concurrency::{GroupError, Root, checkpoint, task_group};
///
/// static SEATS: Semaphore = Semaphore::new(2);
///
/// let done: Result<(), GroupError<()>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         for _ in 0..5 {
///             group.spawn_ok(async {
///                 let _seat = SEATS.acquire().await;
///                 checkpoint().await;
///             });
///         }
///         Ok(())
///     }));
/// assert!(done.is_ok());
/// assert_eq!(SEATS.statistics().available, 2);
/// # }
/// ```
pub struct Semaphore {
    guarded: Guarded<State>,
    max: usize,
}

/// Invariant: `total` is at most the semaphore's `max`, and is the number of permits that are
/// free, granted or held.
pub(super) struct State {
    permits: Permits<()>,
    total: usize,
}

/// A snapshot of a [`Semaphore`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemaphoreStatistics {
    /// Permits that nobody holds. They may be kept for one who waits for more of them.
    pub available: usize,
    /// All permits, held ones included.
    pub total: usize,
    /// How many wait.
    pub waiting: usize,
}

impl Semaphore {
    /// A semaphore with this many permits; with none all wait until some are added.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::build(permits, usize::MAX)
    }

    /// A semaphore that never has more than `max` permits.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for more permits than `max`.
    pub const fn with_max(permits: usize, max: usize) -> Result<Semaphore, InvalidValue> {
        if permits > max {
            return Err(InvalidValue::new("the number of permits", permits, 0, max));
        }
        Ok(Semaphore::build(permits, max))
    }

    const fn build(permits: usize, max: usize) -> Semaphore {
        Semaphore {
            guarded: Guarded::new(State {
                permits: Permits::new(permits, Order::HandOver),
                total: permits,
            }),
            max,
        }
    }

    /// Waits for one permit.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost; a permit that was granted goes on to the next.
    pub fn acquire(&self) -> Acquire<'_> {
        Acquire(Leaf::new(self, Acquiring::new(1)))
    }

    /// Waits for `count` permits at once; for none it does not wait.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for more than the semaphore can ever have.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Semaphore::acquire).
    pub fn acquire_many(&self, count: usize) -> AcquireMany<'_> {
        AcquireMany(Leaf::new(self, Acquiring::new(count)))
    }

    /// Takes a permit if one is free and nobody waits.
    ///
    /// # Errors
    ///
    /// [`Busy`] otherwise.
    pub fn try_acquire(&self) -> Result<Permit<'_>, Busy> {
        let taken = self.guarded.step(|state, _| state.permits.try_take(1));
        taken
            .then(|| Permit::new(self, 1))
            .ok_or(Busy::new("no permit is free"))
    }

    /// Adds permits and grants them to those who wait.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if there would be more than the semaphore can have; none is added then.
    pub fn add_permits(&self, count: usize) -> Result<(), InvalidValue> {
        self.guarded.step(|state, after| {
            let room = self.max - state.total;
            if count > room {
                let what = "the number of permits to add";
                return Err(InvalidValue::new(what, count, 0, room));
            }
            state.total += count;
            state.permits.give(count, after, |(), _| ());
            Ok(())
        })
    }

    /// How many permits there are, and how many wait.
    pub fn statistics(&self) -> SemaphoreStatistics {
        self.guarded.look(|state| SemaphoreStatistics {
            available: state.permits.free(),
            total: state.total,
            waiting: state.permits.waiters.queued(),
        })
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// Permits of a [`Semaphore`], given back when dropped.
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

impl<'a> Permit<'a> {
    const fn new(semaphore: &'a Semaphore, count: usize) -> Self {
        Permit { semaphore, count }
    }

    /// How many permits these are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Takes the permits out of the semaphore for good; [`Semaphore::add_permits`] brings new
    /// ones.
    pub fn forget(mut self) {
        let count = std::mem::take(&mut self.count);
        self.semaphore.guarded.step(|state, _| state.total -= count);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore
                .guarded
                .step(|state, after| state.permits.give(self.count, after, |(), _| ()));
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

leaf_future! {
    /// Future of [`Semaphore::acquire`].
    pub struct Acquire['a](Acquiring<'a, One>) -> Permit<'a>;
}

leaf_future! {
    /// Future of [`Semaphore::acquire_many`].
    pub struct AcquireMany['a](Acquiring<'a, Many>) -> Result<Permit<'a>, InvalidValue>;
}

/// Acquiring permits.
pub(super) struct Acquiring<'a, M> {
    count: usize,
    kinds: PhantomData<(&'a Semaphore, M)>,
}

impl<M> Acquiring<'_, M> {
    const fn new(count: usize) -> Self {
        Acquiring {
            count,
            kinds: PhantomData,
        }
    }
}

/// How many are asked for, and what one gets.
pub(super) trait Asked<'a> {
    type Output;

    fn granted(permit: Permit<'a>) -> Self::Output;

    /// The answer to a request that can never be met.
    fn refused(count: usize, max: usize) -> Option<Self::Output>;
}

/// One permit; where there can be none, it waits for ever.
pub(super) struct One;

/// Any number.
pub(super) struct Many;

impl<'a> Asked<'a> for One {
    type Output = Permit<'a>;

    fn granted(permit: Permit<'a>) -> Self::Output {
        permit
    }

    fn refused(_: usize, _: usize) -> Option<Self::Output> {
        None
    }
}

impl<'a> Asked<'a> for Many {
    type Output = Result<Permit<'a>, InvalidValue>;

    fn granted(permit: Permit<'a>) -> Self::Output {
        Ok(permit)
    }

    fn refused(count: usize, max: usize) -> Option<Self::Output> {
        let what = "the number of permits to acquire";
        (count > max).then(|| Err(InvalidValue::new(what, count, 0, max)))
    }
}

impl<'a, M: Asked<'a>> Claim for Acquiring<'a, M> {
    const WAITING: Waiting = Waiting::Acquire;

    type Handle = &'a Semaphore;
    type State = State;
    type Extra = Want<()>;
    type Output = M::Output;

    fn guarded<'h>(handle: &'h &'a Semaphore) -> &'h Guarded<State> {
        &handle.guarded
    }

    fn waiters(state: &mut State) -> &mut Waiters<Want<()>> {
        &mut state.permits.waiters
    }

    #[inline(always)]
    fn begin(
        &mut self,
        semaphore: &&'a Semaphore,
        state: &mut State,
        _: &mut After,
    ) -> Option<M::Output> {
        if let Some(refused) = M::refused(self.count, semaphore.max) {
            return Some(refused);
        }
        let taken = self.count == 0 || state.permits.try_take(self.count);
        taken.then(|| M::granted(Permit::new(semaphore, self.count)))
    }

    fn extra(&mut self, _: &mut State, _: &Arrival) -> Want<()> {
        Want {
            count: self.count,
            extra: (),
        }
    }

    fn pump(state: &mut State, after: &mut After) {
        state.permits.pump(after, |(), _| ());
    }

    fn finish(
        &mut self,
        semaphore: &&'a Semaphore,
        _: &mut State,
        want: Want<()>,
        _: &mut After,
    ) -> M::Output {
        M::granted(Permit::new(semaphore, want.count))
    }

    fn abandon(
        state: &mut State,
        want: Want<()>,
        settled: bool,
        after: &mut After,
    ) -> Option<Want<()>> {
        let Want { count, .. } = want;
        state.permits.abandon(count, settled, after, |(), _| ());
        None
    }
}
