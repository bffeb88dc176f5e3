use super::guarded::{After, Guarded};
use super::leaf::{Claim, Leaf, leaf_future};
use super::waiters::{Arrival, Waiters};
use crate::node::Waiting;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// A value that is set once and that many wait for.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::Once;
/// use bowline_concurrency::{GroupError, Root, task_group};
///
/// static ADDRESS: Once<String> = Once::new();
///
/// let length: Result<usize, GroupError<()>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         let waiter = group.spawn_ok(async { ADDRESS.wait().await.len() });
///         assert_eq!(ADDRESS.set("localhost".to_owned()), Ok(()));
///         assert_eq!(ADDRESS.set("elsewhere".to_owned()), Err("elsewhere".to_owned()));
///         Ok(waiter.join().await.unwrap_or(0))
///     }));
/// assert_eq!(length.unwrap(), 9);
/// # }
/// ```
pub struct Once<T> {
    value: OnceLock<T>,
    guarded: Guarded<Waiters<()>>,
}

/// A snapshot of a [`Once`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnceStatistics {
    /// Whether the value is there.
    pub set: bool,
    /// How many wait for it.
    pub waiting: usize,
}

impl<T> Once<T> {
    /// Without a value yet.
    pub const fn new() -> Once<T> {
        Once {
            value: OnceLock::new(),
            guarded: Guarded::new(Waiters::new()),
        }
    }

    /// Sets the value and lets everybody have it who waits.
    ///
    /// # Errors
    ///
    /// The given value, if there is one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.guarded
            .step(|waiters, after| waiters.settle_live(after, |()| ()));
        Ok(())
    }

    /// The value, if it was set.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Waits for the value; returns at once if it was set.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened.
    pub fn wait(&self) -> OnceWait<'_, T> {
        OnceWait(Leaf::new(self, Reading(PhantomData)))
    }

    /// The value, if it was set.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Whether the value is there, and how many wait for it.
    pub fn statistics(&self) -> OnceStatistics {
        OnceStatistics {
            set: self.value.get().is_some(),
            waiting: self.guarded.look(|waiters| waiters.queued()),
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Once::new()
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

leaf_future! {
    /// Future of [`Once::wait`].
    pub struct OnceWait['a, T](Reading<'a, T>) -> &'a T;
}

/// Reading the value. A waiter is settled only after the value was set, so `finish` has it.
pub(super) struct Reading<'a, T>(PhantomData<&'a Once<T>>);

impl<'a, T> Claim for Reading<'a, T> {
    const WAITING: Waiting = Waiting::Once;

    type Handle = &'a Once<T>;
    type State = Waiters<()>;
    type Extra = ();
    type Output = &'a T;

    fn guarded<'h>(handle: &'h &'a Once<T>) -> &'h Guarded<Waiters<()>> {
        &handle.guarded
    }

    fn waiters(state: &mut Waiters<()>) -> &mut Waiters<()> {
        state
    }

    #[inline]
    fn begin(&mut self, once: &&'a Once<T>, _: &mut Waiters<()>, _: &mut After) -> Option<&'a T> {
        once.value.get()
    }

    fn extra(&mut self, _: &mut Waiters<()>, _: &Arrival) {}

    fn pump(_: &mut Waiters<()>, _: &mut After) {}

    fn retry(
        &mut self,
        once: &&'a Once<T>,
        waiters: &mut Waiters<()>,
        key: usize,
        after: &mut After,
    ) -> Option<&'a T> {
        // It was frozen when the value was set.
        let value = once.value.get()?;
        waiters.remove(key, after);
        Some(value)
    }

    fn finish(&mut self, once: &&'a Once<T>, _: &mut Waiters<()>, (): (), _: &mut After) -> &'a T {
        let value = once.value.get();
        value.expect("a waiter is settled after the value was set")
    }

    fn abandon(_: &mut Waiters<()>, (): (), _: bool, _: &mut After) -> Option<()> {
        None
    }
}
