use crate::deadline::Elapsed;
use crate::outcome::Outcome;
use crate::owner::{self, Limit};
use crate::scoped::Scoped;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs `body` to its end, whatever is cancelled around it.
///
/// Inside, outer cancels and deadlines are invisible; the scopes and groups around it do not drop
/// what contains it until it is done, and act on their cancel then. A body that hangs keeps them
/// for ever: [`shield_for`] bounds it. Only scopes of this crate can obey; dropped half-way by
/// foreign code (`select!`, another crate's timeout), the body is lost, and the drop counted and
/// reported to [`Root::on_shield_dropped`](crate::Root::on_shield_dropped).
///
/// Beside a plain `join!` branch the other branch is frozen, not dropped: give each branch a scope
/// of its own. Once begun it has to be awaited: code that keeps it in a variable and awaits something
/// else keeps the scopes around from acting on their cancel, which the root names on standard error
/// after 10 s ([`Root::name_held_after`](crate::Root::name_held_after)). That is work for a task of a
/// group.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done. No cancel does that.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, cancel_scope, checkpoint, shield, sleep_forever};
///
/// let mut closed = false;
/// let outcome = Root::new().backend(Backend::Smol).block_on(cancel_scope(|scope| {
///     let closed = &mut closed;
///     async move {
///         scope.cancel("enough");
///         shield(async {
///             checkpoint().await;
///             *closed = true;
///         })
///         .await;
///         sleep_forever().await
///     }
/// }));
/// assert!(outcome.cause().is_some());
/// assert!(closed);
/// # }
/// ```
#[track_caller]
#[doc(alias = "ignore_cancellation")]
pub fn shield<F: Future>(body: F) -> Shield<F> {
    Shield {
        scoped: masked(Limit::Never, body),
    }
}

/// As [`shield`], for at most `span`, counted from the first poll: the recommended form.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done. No cancel does that.
#[track_caller]
pub fn shield_for<F: Future>(span: Duration, body: F) -> ShieldFor<F> {
    ShieldFor {
        scoped: masked(Limit::After(span), body),
    }
}

#[track_caller]
fn masked<F: Future>(limit: Limit, body: F) -> Scoped<F> {
    let location = Location::caller();
    let node = owner::new_scope(Cow::Borrowed(""), location);
    node.set_mask();
    Scoped::new(Some(node), limit, location, Some(body))
}

pin_project! {
    /// Future of [`shield`].
    #[must_use = "a shield runs nothing until it is awaited"]
    pub struct Shield<F> {
        #[pin]
        scoped: Scoped<F>,
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().scoped.poll(cx, |_| None) {
            Poll::Ready(Outcome::Done(value)) => Poll::Ready(value),
            // Nobody has a handle of its node, which has no deadline either.
            Poll::Ready(Outcome::Cancelled(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<F> fmt::Debug for Shield<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").finish_non_exhaustive()
    }
}

pin_project! {
    /// Future of [`shield_for`].
    #[must_use = "a shield runs nothing until it is awaited"]
    pub struct ShieldFor<F> {
        #[pin]
        scoped: Scoped<F>,
    }
}

impl<F: Future> Future for ShieldFor<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut scoped = self.project().scoped;
        match scoped.as_mut().poll(cx, |_| None) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Outcome::Done(value)) => Poll::Ready(Ok(value)),
            Poll::Ready(Outcome::Cancelled(_)) => Poll::Ready(Err(scoped.elapsed())),
        }
    }
}

impl<F> fmt::Debug for ShieldFor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShieldFor").finish_non_exhaustive()
    }
}
