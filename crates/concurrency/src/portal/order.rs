use super::error::PortalError;
use super::ticket::Ticket;
use crate::caught::Caught;
use crate::scope_local::{self as locals, Locals};
use crate::task_group::Slot;
use std::convert::Infallible;
use std::panic::Location;
use std::sync::Arc;

/// A call that was not begun. Dropped, it tells its caller that the portal is closed.
pub(super) trait Order: Send {
    /// Makes it a task, unless it was cancelled.
    fn begin(self: Box<Self>, slot: Slot<Infallible>);

    /// Never begins it, and says why.
    fn refuse(self: Box<Self>, error: PortalError);
}

pub(super) struct CallOrder<F, T: Send + 'static> {
    make: Option<F>,
    ticket: Arc<Ticket<T>>,
    /// The line of the caller, and the scope locals that count there.
    at: &'static Location<'static>,
    locals: Option<Locals>,
}

impl<F, T: Send + 'static> CallOrder<F, T> {
    #[track_caller]
    pub(super) fn new(make: F, ticket: Arc<Ticket<T>>) -> Self {
        CallOrder {
            make: Some(make),
            ticket,
            at: Location::caller(),
            locals: locals::inherited(),
        }
    }
}

impl<F, Fut, T> Order for CallOrder<F, T>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn begin(mut self: Box<Self>, slot: Slot<Infallible>) {
        if let Some(make) = self.make.take_if(|_| self.ticket.leave_queue()) {
            // Made in the body: a panic of the closure is one of the call.
            let body = Caught::new(async move { make().await });
            let task = locals::inside(self.locals.take(), || slot.spawn_ok_at(self.at, body));
            self.ticket.begin(task);
        }
    }

    fn refuse(self: Box<Self>, error: PortalError) {
        self.ticket.refuse(error);
    }
}

impl<F, T: Send + 'static> Drop for CallOrder<F, T> {
    fn drop(&mut self) {
        // Nothing comes of it where the call has begun.
        self.ticket.refuse(PortalError::Closed);
    }
}
