use super::guarded::{After, Guarded};
use super::leaf::{Claim, Leaf, leaf_future};
use super::waiters::{Arrival, Waiters};
use crate::invalid_value::InvalidValue;
use crate::node::Waiting;
use std::fmt;
use std::marker::PhantomData;

/// A place where a fixed number of tasks wait for each other.
///
/// The last to arrive does not wait and lets the others pass; then the barrier is ready for the
/// next round. A waiter that is dropped has left and is not counted, nor is one whose scope was
/// cancelled, so the barrier stays usable.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::Barrier;
/// use bowline_concurrency::{GroupError, Root, task_group};
/// use std::sync::Arc;
///
/// let leaders: Result<usize, GroupError<()>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         let barrier = Arc::new(Barrier::new(3).expect("three is not zero"));
///         let tasks: Vec<_> = (0..3)
///             .map(|_| {
///                 let barrier = barrier.clone();
///                 group.spawn_ok(async move { barrier.wait().await.leader })
///             })
///             .collect();
///         let mut leaders = 0;
///         for task in tasks {
///             leaders += usize::from(task.join().await.unwrap_or(false));
///         }
///         Ok(leaders)
///     }));
/// assert_eq!(leaders.unwrap(), 1);
/// # }
/// ```
pub struct Barrier {
    guarded: Guarded<State>,
}

/// Invariant: fewer than `parties` are queued that are not frozen, apart from waiters that
/// thawed since the last step.
pub(super) struct State {
    parties: usize,
    generation: u64,
    /// The generation that let a settled waiter pass.
    waiters: Waiters<u64>,
}

/// How a round at a [`Barrier`] ended for one of its tasks.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BarrierWait {
    /// True for exactly one task of a round, the last to arrive.
    pub leader: bool,
    /// Which round it was, counted from 0.
    pub generation: u64,
}

/// A snapshot of a [`Barrier`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarrierStatistics {
    /// How many tasks make a round.
    pub parties: usize,
    /// How many have arrived and wait.
    pub waiting: usize,
    /// The round that is waited for.
    pub generation: u64,
}

impl Barrier {
    /// A barrier that lets `parties` tasks pass at a time.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for zero.
    pub const fn new(parties: usize) -> Result<Barrier, InvalidValue> {
        if parties == 0 {
            let what = "the number of tasks at a barrier";
            return Err(InvalidValue::new(what, parties, 1, usize::MAX));
        }
        Ok(Barrier {
            guarded: Guarded::new(State {
                parties,
                generation: 0,
                waiters: Waiters::new(),
            }),
        })
    }

    /// Waits until as many have arrived as the barrier lets pass at a time.
    ///
    /// # Cancel safety
    ///
    /// The waiter has left, as if it had not arrived; once the round is complete it has passed.
    pub fn wait(&self) -> BarrierFuture<'_> {
        BarrierFuture(Leaf::new(self, Arriving(PhantomData)))
    }

    /// How many have arrived, and for which round.
    pub fn statistics(&self) -> BarrierStatistics {
        self.guarded.look(|state| BarrierStatistics {
            parties: state.parties,
            waiting: state.waiters.queued(),
            generation: state.generation,
        })
    }
}

impl State {
    /// Ends the round, in which the caller came last.
    fn complete(&mut self, after: &mut After) -> BarrierWait {
        let generation = self.generation;
        self.generation += 1;
        for _ in 1..self.parties {
            if let Some(key) = self.waiters.first_live() {
                *self.waiters.settle(key, after) = generation;
            }
        }
        BarrierWait {
            leader: true,
            generation,
        }
    }

    /// Whether so many wait who are not frozen. The walk over all is made only where the round
    /// may be complete.
    fn has_live(&self, count: usize) -> bool {
        self.waiters.queued() >= count && self.waiters.live() >= count
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

leaf_future! {
    /// Future of [`Barrier::wait`].
    pub struct BarrierFuture['a](Arriving<'a>) -> BarrierWait;
}

/// Arriving at a barrier.
pub(super) struct Arriving<'a>(PhantomData<&'a Barrier>);

impl<'a> Claim for Arriving<'a> {
    const WAITING: Waiting = Waiting::Barrier;

    type Handle = &'a Barrier;
    type State = State;
    type Extra = u64;
    type Output = BarrierWait;

    fn guarded<'h>(handle: &'h &'a Barrier) -> &'h Guarded<State> {
        &handle.guarded
    }

    fn waiters(state: &mut State) -> &mut Waiters<u64> {
        &mut state.waiters
    }

    #[inline]
    fn begin(
        &mut self,
        _: &&'a Barrier,
        state: &mut State,
        after: &mut After,
    ) -> Option<BarrierWait> {
        state
            .has_live(state.parties - 1)
            .then(|| state.complete(after))
    }

    fn extra(&mut self, _: &mut State, _: &Arrival) -> u64 {
        0
    }

    fn pump(_: &mut State, _: &mut After) {}

    fn retry(
        &mut self,
        _: &&'a Barrier,
        state: &mut State,
        key: usize,
        after: &mut After,
    ) -> Option<BarrierWait> {
        // Only if somebody thawed is the round complete without anybody arriving.
        if !state.has_live(state.parties) {
            return None;
        }
        state.waiters.remove(key, after);
        Some(state.complete(after))
    }

    fn finish(
        &mut self,
        _: &&'a Barrier,
        _: &mut State,
        generation: u64,
        _: &mut After,
    ) -> BarrierWait {
        BarrierWait {
            leader: false,
            generation,
        }
    }

    fn abandon(_: &mut State, _: u64, _: bool, _: &mut After) -> Option<u64> {
        None
    }
}
