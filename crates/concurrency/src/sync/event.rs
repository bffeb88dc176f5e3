use super::guarded::{After, Guarded};
use super::leaf::{Claim, Leaf, leaf_future};
use super::park;
use super::waiters::{Arrival, Waiters};
use crate::node::Waiting;
use std::fmt;
use std::marker::PhantomData;

/// A flag that tasks wait for.
///
/// [`set`](Event::set) lets everybody pass who waits at that moment, also if
/// [`reset`](Event::reset) follows before they run. Waiters whose scope was cancelled do not
/// pass. For a value that is set once there is [`Once`](super::Once).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::Event;
/// use bowline_concurrency::{GroupError, Root, task_group};
///
/// static READY: Event = Event::new();
///
/// let done: Result<&str, GroupError<()>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         let waiter = group.spawn_ok(async {
///             READY.wait().await;
///             "passed"
///         });
///         READY.set();
///         Ok(waiter.join().await.unwrap_or("lost"))
///     }));
/// assert_eq!(done.unwrap(), "passed");
/// # }
/// ```
pub struct Event {
    guarded: Guarded<State>,
}

/// Invariant: while `set`, nobody is queued who is not frozen.
pub(super) struct State {
    set: bool,
    waiters: Waiters<()>,
}

/// A snapshot of an [`Event`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStatistics {
    /// Whether a newcomer passes.
    pub set: bool,
    /// How many wait.
    pub waiting: usize,
}

impl Event {
    /// An event that is not set.
    pub const fn new() -> Event {
        Event {
            guarded: Guarded::new(State {
                set: false,
                waiters: Waiters::new(),
            }),
        }
    }

    /// Lets pass who waits now and who comes later, until a [`reset`](Event::reset).
    pub fn set(&self) {
        self.guarded.step(|state, after| {
            state.set = true;
            state.waiters.settle_live(after, |()| ());
        });
    }

    /// Makes newcomers wait again. Who was let pass passes.
    pub fn reset(&self) {
        self.guarded.step(|state, _| state.set = false);
    }

    /// Whether a newcomer passes now.
    pub fn is_set(&self) -> bool {
        self.guarded.look(|state| state.set)
    }

    /// Waits until the event is set; returns at once if it is.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened.
    pub fn wait(&self) -> EventWait<'_> {
        EventWait(Leaf::new(self, Passing(PhantomData)))
    }

    /// Parks the thread until the event is set.
    ///
    /// # Panics
    ///
    /// Inside a task.
    #[track_caller]
    pub fn wait_blocking(&self) {
        park::wait_for("wait_blocking", self.wait());
    }

    /// Whether it is set, and how many wait.
    pub fn statistics(&self) -> EventStatistics {
        self.guarded.look(|state| EventStatistics {
            set: state.set,
            waiting: state.waiters.queued(),
        })
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

leaf_future! {
    /// Future of [`Event::wait`].
    pub struct EventWait['a](Passing<'a>) -> ();
}

/// Passing an event.
pub(super) struct Passing<'a>(PhantomData<&'a Event>);

impl<'a> Claim for Passing<'a> {
    const WAITING: Waiting = Waiting::Event;

    type Handle = &'a Event;
    type State = State;
    type Extra = ();
    type Output = ();

    fn guarded<'h>(handle: &'h &'a Event) -> &'h Guarded<State> {
        &handle.guarded
    }

    fn waiters(state: &mut State) -> &mut Waiters<()> {
        &mut state.waiters
    }

    #[inline]
    fn begin(&mut self, _: &&'a Event, state: &mut State, _: &mut After) -> Option<()> {
        state.set.then_some(())
    }

    fn extra(&mut self, _: &mut State, _: &Arrival) {}

    fn pump(state: &mut State, after: &mut After) {
        // Some were frozen when the event was set and are not any more.
        if state.set {
            state.waiters.settle_live(after, |()| ());
        }
    }

    fn finish(&mut self, _: &&'a Event, _: &mut State, (): (), _: &mut After) {}

    fn abandon(_: &mut State, (): (), _: bool, _: &mut After) -> Option<()> {
        None
    }
}
