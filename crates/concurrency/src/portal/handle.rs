use super::Passage;
use super::error::PortalError;
use super::ticket::{self, Answer, Ticket};
use crate::sync::parked;
use crate::task_handle::Join;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A call through a portal that nobody waits for yet.
///
/// Dropping it neither cancels nor stops the call; its result is then not kept.
pub struct PortalHandle<T: Send + 'static> {
    passage: Arc<Passage>,
    ticket: Arc<Ticket<T>>,
}

impl<T: Send + 'static> PortalHandle<T> {
    pub(super) fn new(passage: Arc<Passage>, ticket: Arc<Ticket<T>>) -> PortalHandle<T> {
        PortalHandle { passage, ticket }
    }

    /// Parks the thread until the call has ended.
    ///
    /// # Errors
    ///
    /// [`PortalError`] says why there is no value. On [`PortalError::WouldDeadlock`] a call that
    /// was taken goes on.
    pub fn join_blocking(self) -> Result<T, PortalError> {
        if self.passage.would_deadlock() {
            return Err(PortalError::WouldDeadlock);
        }
        parked(self.join())
    }

    /// Waits for the value of the call, in a task on whatever backend.
    ///
    /// # Errors
    ///
    /// [`PortalError`] says why there is no value.
    ///
    /// # Cancel safety
    ///
    /// The call goes on; its value is not kept.
    pub fn join(self) -> PortalJoin<T> {
        PortalJoin {
            handle: self,
            join: None,
        }
    }

    /// Cancels the call. One that has not begun never does. True if this call was the first.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        let (at, group) = (Location::caller(), &self.passage.group);
        self.ticket.cancel(reason.into(), at, group)
    }
}

impl<T: Send + 'static> fmt::Debug for PortalHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortalHandle").finish_non_exhaustive()
    }
}

/// Future of [`PortalHandle::join`].
#[must_use = "this waits for nothing until it is awaited"]
pub struct PortalJoin<T: Send + 'static> {
    handle: PortalHandle<T>,
    /// Set once the call has begun.
    join: Option<Join<Answer<T>>>,
}

impl<T: Send + 'static> Future for PortalJoin<T> {
    type Output = Result<T, PortalError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.join.is_none() {
            if ticket::is_frozen() {
                return Poll::Pending;
            }
            match this.handle.ticket.poll_begun(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(task)) => drop(task),
            }
            let task = this.handle.ticket.take();
            this.join = task.map(|task| task.join());
        }
        let Some(join) = &mut this.join else {
            unreachable!("nobody else takes the task of a call");
        };
        let joined = Pin::new(join).poll(cx);
        joined.map(|joined| ticket::outcome(joined, &this.handle.passage.group))
    }
}

impl<T: Send + 'static> fmt::Debug for PortalJoin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortalJoin").finish_non_exhaustive()
    }
}
