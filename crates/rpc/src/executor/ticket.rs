//! How a job that was given to an executor is taken back.

use std::fmt;
use std::sync::Arc;

use crate::context::Cancel;

/// Cancels a job that waits or runs.
pub(crate) struct JobHandle {
    cancel: Cancel,
    ticket: Ticket,
}

impl JobHandle {
    pub(super) fn new(cancel: Cancel, ticket: Ticket) -> Self {
        Self { cancel, ticket }
    }

    /// Of a job that was answered before any executor had it.
    pub(crate) fn of_none() -> Self {
        Self::new(Cancel::Never, Ticket::new())
    }

    /// Cancels it. True if it waited and will never run.
    pub(crate) fn request(&self, reason: &'static str) -> bool {
        self.cancel.request(reason);
        self.ticket.withdraw()
    }
}

/// A job an executor took.
#[derive(Clone, Default)]
pub struct Ticket {
    waiting: Option<(Arc<dyn Waiting>, u64)>,
}

/// A queue that gives up a job before its turn.
pub(super) trait Waiting: Send + Sync {
    /// Drops the job with this number; false if it is not in the queue.
    fn withdraw(&self, number: u64) -> bool;
}

impl Ticket {
    /// Of a job that runs, or that the executor looks at before it starts it.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn waiting(queue: Arc<dyn Waiting>, number: u64) -> Self {
        Self {
            waiting: Some((queue, number)),
        }
    }

    fn withdraw(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|(queue, number)| queue.withdraw(*number))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.waiting.as_ref().map(|(_, number)| number);
        f.debug_struct("Ticket").field("waiting", &number).finish()
    }
}
