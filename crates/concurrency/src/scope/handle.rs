use crate::branches::Link;
use crate::cause::{Cause, CauseKind};
use crate::node::Waiting;
use crate::task_handle::{JoinError, Place, TaskStatus};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A child of a [`scope`](crate::scope). Its value may borrow what the child did.
///
/// Dropping it neither cancels nor stops the child; its value is then not kept.
pub struct ScopeHandle<T> {
    link: Arc<Link>,
    place: Arc<Place<T>>,
    /// The result was taken: nothing is left to give up.
    spent: bool,
}

impl<T> ScopeHandle<T> {
    pub(super) fn new(link: Arc<Link>, place: Arc<Place<T>>) -> ScopeHandle<T> {
        ScopeHandle {
            link,
            place,
            spent: false,
        }
    }

    /// The child's name, empty if it was given none.
    pub fn name(&self) -> &str {
        self.link.name()
    }

    /// What the child is doing.
    pub fn status(&self) -> TaskStatus {
        self.place.status(|| self.link.is_noticed())
    }

    /// Cancels this child alone. True if this call was the first.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.stop(CauseKind::Explicit, reason.into(), Location::caller())
    }

    fn stop(
        &self,
        kind: CauseKind,
        reason: Cow<'static, str>,
        at: &'static Location<'static>,
    ) -> bool {
        if self.status().has_ended() {
            return false;
        }
        let node = self.link.node();
        let first = node.cancel(|| Cause::here(kind, reason, at, node));
        // In the tree it is woken already.
        self.link.wake();
        first
    }

    /// Waits until the child has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened: the child goes on.
    pub fn wait(&self) -> ScopeWait<'_, T> {
        ScopeWait {
            handle: self,
            key: None,
        }
    }

    /// Waits for the child's value. The error of a child that failed belongs to its scope, which
    /// fails with it also if it was joined.
    ///
    /// # Errors
    ///
    /// [`JoinError`] says why there is no value.
    ///
    /// # Cancel safety
    ///
    /// The child goes on; its value is not kept.
    pub fn join(self) -> ScopeJoin<T> {
        ScopeJoin {
            handle: self,
            key: None,
        }
    }

    /// As [`join`](ScopeHandle::join), but who is dropped before the child has ended cancels it;
    /// the scope waits for it.
    ///
    /// # Errors
    ///
    /// [`JoinError`] says why there is no value.
    ///
    /// # Cancel safety
    ///
    /// The child is cancelled.
    #[track_caller]
    pub fn join_or_cancel(self) -> ScopeJoinOrCancel<T> {
        ScopeJoinOrCancel {
            join: self.join(),
            at: Location::caller(),
        }
    }

    /// The child's result if it has ended, the handle otherwise.
    ///
    /// # Errors
    ///
    /// The handle, if the child has not ended.
    pub fn try_join(self) -> Result<Result<T, JoinError>, ScopeHandle<T>> {
        let result = self.place.take();
        result.ok_or(self)
    }
}

impl<T> Drop for ScopeHandle<T> {
    fn drop(&mut self) {
        if !self.spent {
            drop(self.place.abandon());
        }
    }
}

impl<T> fmt::Debug for ScopeHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeHandle")
            .field("name", &self.name())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Future of [`ScopeHandle::wait`].
#[must_use = "this waits for nothing until it is awaited"]
pub struct ScopeWait<'a, T> {
    handle: &'a ScopeHandle<T>,
    key: Option<usize>,
}

impl<T> Future for ScopeWait<'_, T> {
    type Output = TaskStatus;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskStatus> {
        let this = &mut *self;
        let ended = this
            .handle
            .place
            .poll_ended(Waiting::TaskEnd, &mut this.key, cx);
        ended.map(|()| this.handle.status())
    }
}

impl<T> Drop for ScopeWait<'_, T> {
    fn drop(&mut self) {
        self.handle.place.forget(&mut self.key);
    }
}

impl<T> fmt::Debug for ScopeWait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopeWait").field(self.handle).finish()
    }
}

/// Future of [`ScopeHandle::join`].
#[must_use = "this waits for nothing until it is awaited"]
pub struct ScopeJoin<T> {
    handle: ScopeHandle<T>,
    key: Option<usize>,
}

impl<T> Future for ScopeJoin<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let place = &this.handle.place;
        let result = place.poll_result(Waiting::Join, &mut this.key, cx);
        this.handle.spent |= result.is_ready();
        result
    }
}

impl<T> Drop for ScopeJoin<T> {
    fn drop(&mut self) {
        self.handle.place.forget(&mut self.key);
    }
}

impl<T> fmt::Debug for ScopeJoin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopeJoin").field(&self.handle).finish()
    }
}

/// Future of [`ScopeHandle::join_or_cancel`].
#[must_use = "dropping this cancels the child"]
pub struct ScopeJoinOrCancel<T> {
    join: ScopeJoin<T>,
    at: &'static Location<'static>,
}

impl<T> Future for ScopeJoinOrCancel<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.join).poll(cx)
    }
}

impl<T> Drop for ScopeJoinOrCancel<T> {
    fn drop(&mut self) {
        let nothing = Cow::Borrowed("");
        self.join.handle.stop(CauseKind::Dropped, nothing, self.at);
    }
}

impl<T> fmt::Debug for ScopeJoinOrCancel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopeJoinOrCancel")
            .field(&self.join.handle)
            .finish()
    }
}
