use super::{JoinError, TaskHandle, TaskStatus};
use crate::cause::{Cause, CauseKind};
use crate::node::{NodeRef, Waiting};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Future of [`TaskHandle::wait`].
#[must_use = "this waits for nothing until it is awaited"]
pub struct Wait<'a, T: Send + 'static> {
    pub(super) handle: &'a TaskHandle<T>,
    pub(super) place: Option<usize>,
}

impl<T: Send + 'static> Future for Wait<'_, T> {
    type Output = TaskStatus;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskStatus> {
        let this = &mut *self;
        let place = &this.handle.node.payload;
        let ended = place.poll_ended(Waiting::TaskEnd, &mut this.place, cx);
        ended.map(|()| this.handle.status())
    }
}

impl<T: Send + 'static> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.handle.node.payload.forget(&mut self.place);
    }
}

impl<T: Send + 'static> fmt::Debug for Wait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wait").field(self.handle).finish()
    }
}

/// Future of [`TaskHandle::join`].
#[must_use = "this waits for nothing until it is awaited"]
pub struct Join<T: Send + 'static> {
    pub(super) handle: TaskHandle<T>,
    pub(super) place: Option<usize>,
}

impl<T: Send + 'static> Future for Join<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let place = &this.handle.node.payload;
        let result = place.poll_result(Waiting::Join, &mut this.place, cx);
        this.handle.spent |= result.is_ready();
        result
    }
}

impl<T: Send + 'static> Drop for Join<T> {
    fn drop(&mut self) {
        self.handle.node.payload.forget(&mut self.place);
    }
}

impl<T: Send + 'static> fmt::Debug for Join<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Join").field(&self.handle).finish()
    }
}

/// Future of [`TaskHandle::join_or_cancel`].
#[must_use = "dropping this cancels the task"]
pub struct JoinOrCancel<T: Send + 'static> {
    pub(super) join: Join<T>,
    pub(super) at: &'static Location<'static>,
}

impl<T: Send + 'static> Future for JoinOrCancel<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.join).poll(cx)
    }
}

impl<T: Send + 'static> Drop for JoinOrCancel<T> {
    fn drop(&mut self) {
        let handle = &self.join.handle;
        if handle.status().has_ended() {
            return;
        }
        let node: NodeRef = handle.node.clone();
        node.cancel(|| Cause::here(CauseKind::Dropped, Cow::Borrowed(""), self.at, &node));
    }
}

impl<T: Send + 'static> fmt::Debug for JoinOrCancel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinOrCancel")
            .field(&self.join.handle)
            .finish()
    }
}
