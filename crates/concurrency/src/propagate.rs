use crate::ambient;
use crate::cause::{Cause, CauseKind};
use crate::outcome::Outcome;
use crate::owner::{self, Owner};
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Carries the caller's place into a task that another crate spawns: cancels of the scopes around
/// the caller reach `body` there, and end it as they would end a scope.
///
/// In a closure of [`run_in_thread`](crate::run_in_thread) that is the place of its host: so an
/// executor of another crate, run on that thread, hears its cancels.
///
/// Nothing waits for the body: only a task group does that. Once the scopes around the caller have
/// returned, nothing of theirs reaches it any more.
///
/// # Cancel safety
///
/// Dropping the future drops the body: what the body had done stays done.
#[track_caller]
pub fn propagate<F: Future>(body: F) -> Propagate<F> {
    let node = owner::new_scope(Cow::Borrowed(""), Location::caller());
    if let Some(place) = ambient::standpoint() {
        node.link(&place);
    }
    Propagate {
        owner: Owner::carried(node),
        cause: None,
        body: Some(body),
    }
}

pin_project! {
    /// Future of [`propagate`].
    #[must_use = "nothing runs until this is awaited or spawned"]
    pub struct Propagate<F> {
        owner: Owner,
        cause: Option<Cause>,
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for Propagate<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.body.is_some() {
                this.owner.lose(|| this.body.set(None));
            }
        }
    }
}

impl<F: Future> Future for Propagate<F> {
    type Output = Outcome<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.owner.arrive(cx);
        let mut value = None;
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            match this.owner.inside(|| body.poll(cx)) {
                Poll::Pending if !this.owner.is_cut() => return Poll::Pending,
                Poll::Pending => {
                    *this.cause = this.owner.node().visible_cause();
                    this.owner.cut(|| this.body.set(None));
                }
                Poll::Ready(done) => {
                    value = Some(done);
                    this.owner.inside(|| this.body.set(None));
                }
            }
        }
        if this.owner.poll_finalisers(cx).is_pending() {
            return Poll::Pending;
        }
        let cause = this.cause.take();
        let node = this.owner.node().clone();
        this.owner.leave();
        match value {
            Some(value) => Poll::Ready(Outcome::Done(value)),
            None => Poll::Ready(Outcome::Cancelled(cause.unwrap_or_else(|| {
                // The scopes that were cancelled have returned meanwhile.
                Cause::here(CauseKind::Dropped, Cow::Borrowed(""), node.location, &node)
            }))),
        }
    }
}

impl<F> fmt::Debug for Propagate<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Propagate").finish_non_exhaustive()
    }
}
