use crate::cause::{Cause, CauseKind};
use crate::deadline::Deadline;
use crate::finaliser::FINALISE_WITHIN;
use crate::node::NodeRef;
use crate::outcome::Outcome;
use crate::owner::{self, Limit};
use crate::scoped::Scoped;
use crate::tree::Tree;
use bowline_backend::time::Instant;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs a body that can be cancelled through the handle it is given.
///
/// Cancelling drops the body at its next `Pending`; running code is never interrupted. A body
/// that completes in the poll in which it is cancelled is [`Outcome::Done`]. If an enclosing
/// scope is cancelled too, that one returns and this one never does.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{CauseKind, Root, cancel_scope, sleep_forever};
///
/// let outcome = Root::new().backend(Backend::Smol).block_on(cancel_scope(|scope| async move {
///     scope.cancel("nobody listens");
///     sleep_forever().await
/// }));
/// let cause = outcome.into_result().unwrap_err();
/// assert_eq!(cause.kind(), CauseKind::Explicit);
/// assert_eq!(cause.reason(), "nobody listens");
/// # }
/// ```
#[track_caller]
pub fn cancel_scope<F, Fut>(f: F) -> CancelScopeFuture<F, Fut>
where
    F: FnOnce(CancelHandle) -> Fut,
    Fut: Future,
{
    CancelScopeFuture {
        start: Some(f),
        scoped: Scoped::new(None, Limit::Never, Location::caller(), None),
    }
}

pin_project! {
    /// Future of [`cancel_scope`].
    #[must_use = "a scope runs nothing until it is awaited"]
    pub struct CancelScopeFuture<F, Fut> {
        start: Option<F>,
        #[pin]
        scoped: Scoped<Fut>,
    }
}

impl<F, Fut> Future for CancelScopeFuture<F, Fut>
where
    F: FnOnce(CancelHandle) -> Fut,
    Fut: Future,
{
    type Output = Outcome<Fut::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let start = this.start;
        this.scoped.poll(cx, |node| {
            let start = start.take()?;
            Some(start(CancelHandle::new(node.clone())))
        })
    }
}

impl<F, Fut> fmt::Debug for CancelScopeFuture<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScopeFuture").finish_non_exhaustive()
    }
}

/// A cancel scope before it runs: a handle of it can be given away, a deadline set.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{CancelScope, Root, sleep};
/// use std::time::Duration;
///
/// let scope = CancelScope::new().timeout(Duration::from_secs(5)).name("greeting");
/// let handle = scope.handle();
/// let outcome = Root::new().backend(Backend::Smol).block_on(scope.run(async { "hello" }));
/// assert_eq!(outcome.done(), Some("hello"));
/// assert!(!handle.cancel_called());
/// # }
/// ```
#[doc(alias = "CancellationToken")]
#[must_use = "a scope runs nothing until `run` is awaited"]
pub struct CancelScope {
    node: NodeRef,
    limit: Limit,
    finalise_within: Duration,
}

impl CancelScope {
    /// A scope without deadline or name.
    #[track_caller]
    pub fn new() -> CancelScope {
        CancelScope {
            node: owner::new_scope(Cow::Borrowed(""), Location::caller()),
            limit: Limit::Never,
            finalise_within: FINALISE_WITHIN,
        }
    }

    /// Cancels the body `span` after its first poll. `Duration::MAX` means never.
    pub fn timeout(mut self, span: Duration) -> CancelScope {
        self.limit = Limit::After(span);
        self
    }

    /// Cancels the body at `deadline`; one that has passed lets it be polled once.
    pub fn deadline(mut self, deadline: Instant) -> CancelScope {
        self.limit = Limit::At(deadline);
        self
    }

    /// As [`deadline`](CancelScope::deadline), of one that the clock was just seen not to have come to:
    /// the first poll does not look at it again. One that has passed nevertheless cancels the body
    /// when that waits for the first time.
    pub fn deadline_ahead(mut self, deadline: Instant) -> CancelScope {
        self.limit = Limit::Ahead(deadline);
        self
    }

    /// Hides cancels from outside from the body, and keeps the scopes around it until it is done:
    /// a [`shield`](crate::shield) that has a handle.
    pub fn shielded(self) -> CancelScope {
        self.node.set_mask();
        self
    }

    /// Lets the body go on for `span` after a cancel or the deadline: [`cancelled`](crate::cancelled)
    /// completes and [`check_cancelled`](crate::check_cancelled) fails at once, leaf futures work
    /// until it is over.
    pub fn grace(self, span: Duration) -> CancelScope {
        self.node.set_grace(span);
        self
    }

    /// How long the finalisers that the body leaves behind ([`on_cancel`](crate::on_cancel)) may take
    /// together: 5 s unless set.
    pub fn finalise_within(mut self, span: Duration) -> CancelScope {
        self.finalise_within = span;
        self
    }

    /// Drops a body that has started without the one poll it would get after the cancel.
    pub fn eager_drop(self) -> CancelScope {
        self.node.set_eager();
        self
    }

    /// Names the scope for reports, once: its first name stays.
    pub fn name(self, name: impl Into<Cow<'static, str>>) -> CancelScope {
        self.node.set_name(name.into());
        self
    }

    /// A handle of this scope.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(self.node.clone())
    }

    /// Runs `body` in this scope.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body: what the body had done stays done.
    pub fn run<F: Future>(self, body: F) -> CancelScopeRun<F> {
        let location = self.node.location;
        let scoped = Scoped::new(Some(self.node), self.limit, location, Some(body));
        CancelScopeRun {
            scoped: scoped.finalise_within(self.finalise_within),
        }
    }
}

impl Default for CancelScope {
    #[track_caller]
    fn default() -> CancelScope {
        CancelScope::new()
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScope")
            .field("name", self.node.name())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Future of [`CancelScope::run`].
    #[must_use = "a scope runs nothing until it is awaited"]
    pub struct CancelScopeRun<F> {
        #[pin]
        scoped: Scoped<F>,
    }
}

impl<F: Future> Future for CancelScopeRun<F> {
    type Output = Outcome<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().scoped.poll(cx, |_| None)
    }
}

impl<F> fmt::Debug for CancelScopeRun<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScopeRun").finish_non_exhaustive()
    }
}

/// Cancels a scope or group from anywhere, on any thread.
///
/// Cheap to clone; outlives its scope harmlessly.
#[derive(Clone)]
pub struct CancelHandle {
    node: NodeRef,
}

impl CancelHandle {
    pub(crate) fn new(node: NodeRef) -> CancelHandle {
        CancelHandle { node }
    }

    /// Asks the body to stop: it is dropped at its next `Pending`. True if this call was the
    /// first to cancel the scope; reason, place and time of the first stay. A scope with a grace
    /// goes on until that is over.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.cancel_for(CauseKind::Explicit, reason.into(), Location::caller())
    }

    pub(crate) fn cancel_for(
        &self,
        kind: CauseKind,
        reason: Cow<'static, str>,
        at: &'static Location<'static>,
    ) -> bool {
        self.node
            .cancel(|| Cause::here(kind, reason, at, &self.node))
    }

    /// As [`cancel`](CancelHandle::cancel), with this grace instead of the scope's own.
    ///
    /// After an earlier cancel it can only bring the end of the grace nearer.
    #[track_caller]
    pub fn shutdown(&self, grace: Duration) -> bool {
        let at = Location::caller();
        let (reason, node) = (Cow::Borrowed(""), &self.node);
        node.cancel_within(grace, || Cause::here(CauseKind::Shutdown, reason, at, node))
    }

    /// Sets when the scope is cancelled at the latest, in place of any deadline it had.
    ///
    /// One that has passed is reached at once. [`Deadline::Cancelled`] cancels now, as the
    /// deadline would. Set before the scope runs, it counts from its first poll.
    #[track_caller]
    pub fn set_deadline(&self, deadline: Deadline) {
        match deadline {
            Deadline::Never => self.node.reschedule(Instant::NEVER),
            Deadline::At(instant) => self.node.reschedule(instant),
            Deadline::Cancelled => {
                let (at, node) = (Location::caller(), &self.node);
                node.cancel(|| Cause::here(CauseKind::Deadline, Cow::Borrowed(""), at, node));
            }
        }
    }

    /// When the scope is cancelled at the latest; those around it do not count. A relative
    /// deadline is [`Deadline::Never`] until the scope's first poll.
    pub fn deadline(&self) -> Deadline {
        if self.node.cancel_called() {
            return Deadline::Cancelled;
        }
        Deadline::from(self.node.deadline())
    }

    /// Hides cancels from outside from the scope, and keeps those around it until it is done.
    ///
    /// A cancel from outside that has not dropped the body yet is hidden again: leaf futures in it
    /// go on. A scope, group or combinator in it that was cut by then has ended for good and never
    /// completes, so raise a shield before the cancel, or around code that has no scopes.
    pub fn raise_shield(&self) {
        self.node.raise_mask();
    }

    /// Takes [`raise_shield`](CancelHandle::raise_shield) and [`CancelScope::shielded`] back. If a
    /// scope around it is cancelled, the body is dropped at its next `Pending`.
    pub fn lower_shield(&self) {
        self.node.lower_mask();
    }

    /// Whether the scope itself was cancelled, by a call or its deadline.
    pub fn cancel_called(&self) -> bool {
        self.node.cancel_called()
    }

    /// What runs in the scope or group now, which is the first entry: a [`Tree`] of it alone.
    pub fn tree(&self) -> Tree {
        Tree::below(vec![self.node.clone()])
    }

    /// How many finalisers of the scope were cut off because they took too long together.
    pub fn finalisers_cut_off(&self) -> usize {
        self.node.unfinished()
    }

    /// Whether the scope returned because it was cancelled, its body dropped.
    pub fn cancelled_caught(&self) -> bool {
        self.node.cancelled_caught()
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle")
            .field("name", self.node.name())
            .field("cancel_called", &self.cancel_called())
            .field("cancelled_caught", &self.cancelled_caught())
            .finish_non_exhaustive()
    }
}
