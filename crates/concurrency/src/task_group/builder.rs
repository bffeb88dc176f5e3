use super::TaskGroup;
use super::policy::{PanicPolicy, Policy};
use super::run::TaskGroupFuture;
use crate::owner::Limit;
use bowline_backend::time::Instant;
use std::borrow::Cow;
use std::panic::Location;
use std::time::Duration;

/// Live children a group takes unless told otherwise.
const MAX_CHILDREN: usize = 1_048_576;

/// A task group with options; of [`TaskGroup::builder`].
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Policy, Root, TaskGroup, sleep};
/// use std::time::Duration;
///
/// // Two of three answers are enough.
/// let group = TaskGroup::builder().name("ask").policy(Policy::Quorum(2));
/// let answer = Root::new().backend(Backend::Sim).block_on(group.run(|group| async move {
///     for seconds in 1..=3 {
///         group.spawn(async move {
///             sleep(Duration::from_secs(seconds)).await;
///             if seconds == 1 { Err("no answer") } else { Ok(()) }
///         });
///     }
///     Ok(())
/// }));
/// assert!(answer.is_ok());
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a group runs nothing until `run` is awaited"]
pub struct TaskGroupBuilder {
    pub(super) name: Cow<'static, str>,
    pub(super) policy: Policy,
    pub(super) panics: PanicPolicy,
    pub(super) max_children: usize,
    pub(super) limit: Limit,
    pub(super) grace: Duration,
    pub(super) location: &'static Location<'static>,
}

impl TaskGroupBuilder {
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        TaskGroupBuilder {
            name: Cow::Borrowed(""),
            policy: Policy::FailFast,
            panics: PanicPolicy::Resume,
            max_children: MAX_CHILDREN,
            limit: Limit::Never,
            grace: Duration::ZERO,
            location,
        }
    }

    /// Names the group for reports.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// What the end of one child means for the others; [`Policy::FailFast`] unless set.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What to do with a panic of a child; [`PanicPolicy::Resume`] unless set.
    pub fn panics(mut self, policy: PanicPolicy) -> Self {
        self.panics = policy;
        self
    }

    /// How many children may be alive at once; 1 048 576 unless set. With none every spawn is
    /// refused.
    ///
    /// [`spawn`](crate::TaskGroup::spawn) drops what does not fit, and
    /// [`refused`](crate::GroupStatistics::refused) counts it; use
    /// [`admit`](crate::TaskGroup::admit) to wait for room or
    /// [`try_spawn`](crate::TaskGroup::try_spawn) to get the future back.
    pub fn max_children(mut self, count: usize) -> Self {
        self.max_children = count;
        self
    }

    /// Takes every child; nothing holds back those who spawn.
    pub fn unbounded(self) -> Self {
        self.max_children(usize::MAX)
    }

    /// Cancels the group this long after its first poll. Replaces a [`deadline`](Self::deadline).
    pub fn timeout(mut self, span: Duration) -> Self {
        self.limit = Limit::After(span);
        self
    }

    /// Cancels the group at this time. Replaces a [`timeout`](Self::timeout).
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.limit = Limit::At(deadline);
        self
    }

    /// Lets body and children go on for `span` after a cancel of the group, its deadline or a
    /// failure: [`cancelled`](crate::cancelled) completes and
    /// [`check_cancelled`](crate::check_cancelled) fails at once, leaf futures work until it is over.
    ///
    /// A group that foreign code drops has none.
    pub fn grace(mut self, span: Duration) -> Self {
        self.grace = span;
        self
    }

    /// As [`task_group`](crate::task_group), with these options.
    ///
    /// # Panics
    ///
    /// As [`task_group`](crate::task_group).
    pub fn run<T, E, F, Fut>(self, f: F) -> TaskGroupFuture<T, E, F, Fut>
    where
        F: FnOnce(TaskGroup<E>) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send,
        E: Send + 'static,
    {
        TaskGroupFuture::new(self, f)
    }
}
